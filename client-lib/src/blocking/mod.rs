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
//! All of it panics when called from async code, which it would block. A function that is offered
//! to the peer may use it if it was made by [`function`].

pub mod classic;
mod object;
mod pending;
mod resolver;

use std::fmt::Display;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rpyc_protocol::rpc::Exception;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;

pub use object::RemoteObject;
pub use pending::PendingCall;
pub use resolver::Resolver;

use crate::{Args, CallError, ConnectError, ConnectionBuilder, ConnectionId, Disconnect, Local};

/// Drives all connections. It does hardly anything but I/O, so two threads are enough; blocking
/// work runs on other threads.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("rpyc")
        .enable_all()
        .build()
        .expect("the system lets this program start two threads")
});

fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut output = None;
    {
        // One type for all futures, so that the runtime's loop is compiled once.
        let mut done = pin!(async { output = Some(future.await) });
        let done: Pin<&mut dyn Future<Output = ()>> = done.as_mut();
        RUNTIME.block_on(done);
    }
    output.expect("block_on returns when the future has ended")
}

/// Connects to a server of `name`; see [`crate::connect_by_service`].
///
/// # Errors
/// [`ConnectError`] with the step that failed, and its cause.
pub fn connect_by_service(name: &str) -> Result<Connection, ConnectError> {
    wait(crate::connect_by_service(name)).map(Connection)
}

/// Connects to the server at `address`; see [`crate::connect`].
///
/// # Errors
/// [`ConnectError`] with the reason.
pub fn connect(address: impl Display) -> Result<Connection, ConnectError> {
    wait(crate::connect(address)).map(Connection)
}

/// A function that the peer can call and that may block: it runs on a separate thread.
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

/// A connection; see [`crate::Connection`]. Clones are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection(crate::Connection);

impl ConnectionBuilder {
    /// As [`connect`](Self::connect), for programs without async.
    ///
    /// # Errors
    /// [`ConnectError`] with the reason.
    pub fn connect_blocking(self, address: impl Display) -> Result<Connection, ConnectError> {
        wait(self.connect(address)).map(Connection)
    }

    /// As [`connect_by_service`](Self::connect_by_service), for programs without async.
    ///
    /// # Errors
    /// [`ConnectError`] with the step that failed, and its cause.
    pub fn connect_by_service_blocking(self, name: &str) -> Result<Connection, ConnectError> {
        wait(self.connect_by_service(name)).map(Connection)
    }

    /// As [`over`](Self::over), for programs without async.
    #[must_use = "a connection closes when its last handle is dropped"]
    pub fn over_blocking<S>(self, stream: S) -> Connection
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _runtime = RUNTIME.enter();
        Connection(self.over(stream))
    }
}

impl Connection {
    /// Identifies the connection within this program; see [`crate::Connection::id`].
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.0.id()
    }

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

    /// Waits for the end of the connection and returns its cause. Meanwhile the peer is served.
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
