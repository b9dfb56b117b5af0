//! The same for programs without async: every method waits for its answer.
//!
//! One small runtime is shared by all connections and started with the first of them. What the peer
//! asks of this side is served there, whether this side waits for anything or not.
//!
//! ```no_run
//! use rpyc_client::{blocking, kwargs};
//!
//! let payroll = blocking::connect_by_service("PAYROLL")?.root()?;
//! let pay: f64 = payroll.call("get_salary", kwargs! { last: "Mertz", first: "David" })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Panics
//! All of it panics when called from async code, which it would block. A function that is offered to
//! the peer may use it if it was made by [`function`].

use std::fmt::Display;
use std::future::IntoFuture;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rpyc_protocol::ServiceName;
use rpyc_protocol::rpc::{Comparison, Exception};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;

use crate::parcel::IntoArgs;
use crate::{
    Args, Call, CallError, ConnectError, ConnectionBuilder, Disconnect, Finder, Local,
    RegistryAddrError, RemoteObject as Remote, Resolved,
};

/// Drives all connections. It does next to nothing but I/O, so two threads are enough; what blocks
/// is on threads of its own.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("rpyc")
        .enable_all()
        .build()
        .expect("the system lets this program start two threads")
});

fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// Connects to a server of `name`; see [`crate::connect_by_service`].
///
/// # Errors
/// [`ConnectError`] tells which of the steps failed, and how.
pub fn connect_by_service(name: &str) -> Result<Connection, ConnectError> {
    wait(crate::connect_by_service(name)).map(Connection)
}

/// Connects to the server at `address`; see [`crate::connect`].
///
/// # Errors
/// [`ConnectError`] tells why there is no connection.
pub fn connect(address: impl Display) -> Result<Connection, ConnectError> {
    wait(crate::connect(address)).map(Connection)
}

/// A function that the peer can call and that may take its time: it runs on a thread of its own.
pub fn function<R: Serialize + Send + 'static>(
    function: impl Fn(Args) -> Result<R, Exception> + Send + Sync + 'static,
) -> Local {
    let function = Arc::new(function);
    Local::function(move |args| {
        let function = function.clone();
        async move {
            let done = tokio::task::spawn_blocking(move || function(args)).await;
            done.unwrap_or_else(|_panic| Err(Exception::builtin("RuntimeError", "internal error")))
        }
    })
}

/// Keeps who serves the names that it is asked for; see [`crate::Resolver`]. It goes on in the
/// background.
#[derive(Clone, Debug)]
pub struct Resolver(crate::Resolver);

impl From<crate::Resolver> for Resolver {
    fn from(resolver: crate::Resolver) -> Self {
        Self(resolver)
    }
}

impl Resolver {
    /// Asks the registries that the environment names, or else those nearby.
    ///
    /// # Errors
    /// [`RegistryAddrError`] if the environment names none properly.
    pub fn from_env() -> Result<Self, RegistryAddrError> {
        crate::Resolver::from_env().map(Self)
    }

    /// Who serves `name`; see [`crate::Resolver::resolve`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn resolve(&self, name: &str) -> Result<Arc<Resolved>, ConnectError> {
        wait(self.0.resolve(name))
    }

    /// Connects to a server of `name`; see [`crate::Resolver::connect`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(&self, name: &str) -> Result<Connection, ConnectError> {
        wait(self.0.connect(name)).map(Connection)
    }

    /// The resolver, for async code and for what is not here.
    #[must_use]
    pub fn as_async(&self) -> &crate::Resolver {
        &self.0
    }
}

/// A connection; see [`crate::Connection`].
#[derive(Clone, Debug)]
pub struct Connection(crate::Connection);

impl ConnectionBuilder {
    /// As [`connect`](Self::connect), for programs without async.
    ///
    /// # Errors
    /// [`ConnectError`] tells why there is no connection.
    pub fn connect_blocking(self, address: impl Display) -> Result<Connection, ConnectError> {
        wait(self.connect(address)).map(Connection)
    }

    /// As [`connect_by_service`](Self::connect_by_service), for programs without async.
    ///
    /// # Errors
    /// [`ConnectError`] tells which of the steps failed, and how.
    pub fn connect_by_service_blocking(self, name: &str) -> Result<Connection, ConnectError> {
        wait(self.connect_by_service(name)).map(Connection)
    }

    /// As [`connect_through`](Self::connect_through), for programs without async.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect_through_blocking(
        self,
        through: impl Into<Finder>,
        name: &ServiceName,
    ) -> Result<Connection, ConnectError> {
        wait(self.connect_through(through, name)).map(Connection)
    }

    /// As [`over`](Self::over), for programs without async.
    #[must_use = "a connection that nobody holds is closed"]
    pub fn over_blocking<S>(self, stream: S) -> Connection
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _runtime = RUNTIME.enter();
        Connection(self.over(stream))
    }
}

impl Connection {
    /// The object that the peer offers first; see [`crate::Connection::root`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn root(&self) -> Result<RemoteObject, CallError> {
        wait(self.0.root()).map(RemoteObject::from)
    }

    /// Asks the peer for a sign of life; gives the time it took.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn ping(&self) -> Result<Duration, CallError> {
        wait(self.0.ping())
    }

    /// Says goodbye; see [`crate::Connection::close`].
    pub fn close(&self) {
        wait(self.0.close());
    }

    /// Waits for the end of the connection; tells why it ended. Meanwhile the peer is served.
    #[must_use]
    pub fn closed(&self) -> Disconnect {
        wait(self.0.closed())
    }

    /// The connection, for async code.
    #[must_use]
    pub fn as_async(&self) -> &crate::Connection {
        &self.0
    }
}

/// An object of the peer's; see [`crate::RemoteObject`].
#[derive(Clone, Debug)]
pub struct RemoteObject {
    object: Remote,
    timeout: Option<Option<Duration>>,
}

impl From<Remote> for RemoteObject {
    fn from(object: Remote) -> Self {
        Self { object, timeout: None }
    }
}

impl Serialize for RemoteObject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for RemoteObject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Remote::deserialize(deserializer).map(Self::from)
    }
}

impl RemoteObject {
    /// The same object, whose calls wait so long for their answers; `None` for ever.
    #[must_use]
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        Self { object: self.object.clone(), timeout: Some(timeout.into()) }
    }

    /// The object, for async code.
    #[must_use]
    pub fn as_async(&self) -> &Remote {
        &self.object
    }

    fn wait<T: DeserializeOwned>(&self, call: Call<T>) -> Result<T, CallError> {
        let call = match self.timeout {
            Some(timeout) => call.timeout(timeout),
            None => call,
        };
        wait(call.into_future())
    }

    /// The full name of its class, as the peer wrote it.
    #[must_use]
    pub fn class_name(&self) -> &str {
        self.object.class_name()
    }

    /// Calls a method by its name: `object.name(args)`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call<T: DeserializeOwned>(
        &self,
        name: &str,
        args: impl IntoArgs,
    ) -> Result<T, CallError> {
        self.wait(self.object.call(name, args))
    }

    /// Calls the object itself, as a function: `object(args)`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn invoke<T: DeserializeOwned>(&self, args: impl IntoArgs) -> Result<T, CallError> {
        self.wait(self.object.invoke(args))
    }

    /// Gets an attribute: `object.name`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn attr<T: DeserializeOwned>(&self, name: &str) -> Result<T, CallError> {
        self.wait(self.object.attr(name))
    }

    /// Sets an attribute: `object.name = value`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set_attr(&self, name: &str, value: impl Serialize) -> Result<(), CallError> {
        self.wait(self.object.set_attr(name, value))
    }

    /// Deletes an attribute: `del object.name`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn del_attr(&self, name: &str) -> Result<(), CallError> {
        self.wait(self.object.del_attr(name))
    }

    /// Its text, for people: `str(object)`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn str(&self) -> Result<String, CallError> {
        self.wait(self.object.str())
    }

    /// Its text, for programmers: `repr(object)`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn repr(&self) -> Result<String, CallError> {
        self.wait(self.object.repr())
    }

    /// Its hash: `hash(object)`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn hash(&self) -> Result<i64, CallError> {
        self.wait(self.object.hash())
    }

    /// The names of its attributes: `dir(object)`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn dir(&self) -> Result<Vec<String>, CallError> {
        self.wait(self.object.dir())
    }

    /// How many items it has: `len(object)`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn len(&self) -> Result<usize, CallError> {
        self.wait(self.object.len())
    }

    /// Whether it has no items.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_empty(&self) -> Result<bool, CallError> {
        self.len().map(|len| len == 0)
    }

    /// The item at a key or an index: `object[key]`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn item<T: DeserializeOwned>(&self, key: impl Serialize) -> Result<T, CallError> {
        self.wait(self.object.item(key))
    }

    /// Sets the item at a key or an index: `object[key] = value`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set_item(&self, key: impl Serialize, value: impl Serialize) -> Result<(), CallError> {
        self.wait(self.object.set_item(key, value))
    }

    /// Deletes the item at a key or an index: `del object[key]`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn del_item(&self, key: impl Serialize) -> Result<(), CallError> {
        self.wait(self.object.del_item(key))
    }

    /// Whether it has an item: `item in object`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn contains(&self, item: impl Serialize) -> Result<bool, CallError> {
        self.wait(self.object.contains(item))
    }

    /// Compares it, on the left, with something; none if the peer knows no answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn compare(
        &self,
        comparison: Comparison,
        other: impl Serialize,
    ) -> Result<Option<bool>, CallError> {
        self.wait(self.object.compare(comparison, other))
    }

    /// Does `act` as in a `with` block, whose value it is given.
    ///
    /// The block is left also after an error, which is then the one that is told.
    ///
    /// # Errors
    /// [`CallError`], or what `act` fails with.
    pub fn with<T, R, E>(&self, act: impl FnOnce(T) -> Result<R, E>) -> Result<R, E>
    where
        T: DeserializeOwned,
        E: From<CallError>,
    {
        let inside = self.wait(self.object.enter())?;
        let done = act(inside);
        let left = self.wait(self.object.exit());
        let done = done?;
        left?;
        Ok(done)
    }

    /// Fetches all items: `list(object)`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn to_vec<T: DeserializeOwned>(&self) -> Result<Vec<T>, CallError> {
        wait(self.object.to_vec())
    }

    /// Fetches all items of a dict.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn to_map<K, V, M>(&self) -> Result<M, CallError>
    where
        K: DeserializeOwned,
        V: DeserializeOwned,
        M: FromIterator<(K, V)>,
    {
        wait(self.object.to_map())
    }

    /// Iterates over it, many items at a time.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn items<T: DeserializeOwned>(
        &self,
    ) -> Result<impl Iterator<Item = Result<T, CallError>>, CallError> {
        let mut items = wait(self.object.items())?;
        let mut has_failed = false;
        Ok(std::iter::from_fn(move || {
            if has_failed {
                return None;
            }
            let item = wait(items.next()).transpose();
            has_failed = matches!(item, Some(Err(_)));
            item
        }))
    }
}
