//! What this side offers to its peer.

mod dispatch;
mod forwarded;
mod function;
mod iterator;
mod method;
mod object;

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use rpyc_protocol::rpc::{Action, Class, Exception};

use forwarded::Forwarded;
pub use object::{Method, Object};

use crate::{Args, Connection, IntoArgs, Parcel, Peer, RemoteObject};

/// An object of this side, to be passed to a peer. Cheap to clone; all clones are the same object.
///
/// It is kept while a clone is, or while a peer holds a reference to it. The same object may be
/// passed any number of times and over any number of connections; on one connection it stays the
/// same object to the peer, and comes back as itself.
#[derive(Clone)]
pub struct Local(Arc<dyn Erased>);

impl Local {
    /// Makes an object that can be passed.
    #[must_use]
    pub fn new(object: impl Object) -> Self {
        let class = class_of(&object);
        Self(Arc::new(Offered { class, object }))
    }

    /// Makes a function that the peer can call, of an async closure.
    ///
    /// To Python it is a function; nothing else can be done with it than to call it.
    ///
    /// ```
    /// use rpyc_client::Local;
    ///
    /// let add = Local::function(|args| async move {
    ///     let (left, right): (i64, i64) = args.parse()?;
    ///     Ok(left + right)
    /// });
    /// ```
    pub fn function<F, R>(function: impl Fn(Args) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<R, Exception>> + Send + 'static,
        R: serde::Serialize,
    {
        Self::new(function::Function::new(function))
    }

    /// Makes a function that the peer can call and that needs nothing awaited.
    ///
    /// It must not take long, as nothing else of the connection is served meanwhile. For what
    /// blocks there is [`blocking::function`](crate::blocking::function).
    ///
    /// ```
    /// use rpyc_client::Local;
    ///
    /// let add = Local::sync_function(|args| {
    ///     let (left, right): (i64, i64) = args.parse()?;
    ///     Ok(left + right)
    /// });
    /// ```
    pub fn sync_function<R: serde::Serialize>(
        function: impl Fn(Args) -> Result<R, Exception> + Send + Sync + 'static,
    ) -> Self {
        Self::new(function::Function::new(move |args| {
            let parcel = function(args).and_then(|result| Ok(Parcel::new(&result)?));
            std::future::ready(parcel)
        }))
    }

    /// Makes an iterator that the peer can take items from, once.
    ///
    /// To Python it is a generator, and `rpyc.buffiter` takes many items in one round trip.
    ///
    /// ```
    /// use rpyc_client::Local;
    ///
    /// let squares = Local::iterator((0..10).map(|number| number * number));
    /// ```
    pub fn iterator<I>(items: I) -> Self
    where
        I: IntoIterator<IntoIter: Send + 'static, Item: serde::Serialize>,
    {
        Self::new(iterator::Items::new(items.into_iter()))
    }

    /// Offers on an object of another connection's peer: requests to it go to its owner,
    /// with all that the owner allows.
    ///
    /// A [`RemoteObject`] that is passed over another connection is offered so by itself. As the
    /// [root](crate::ConnectionBuilder::serving) of a connection it makes this program a gateway,
    /// between networks or between the versions of RPyC, which do not understand each other.
    ///
    /// It comes back unwrapped: to this program as the remote object, to either side as its own
    /// object.
    ///
    /// A class is offered on as an object: it can be called and has its attributes, but Python's
    /// `isinstance` does not work with it, since each peer numbers its classes independently.
    #[must_use]
    pub fn forwarding(object: RemoteObject) -> Self {
        Self(Arc::new(Forwarded::new(object)))
    }

    /// As [`forwarding`](Self::forwarding), for an object that is known only later: `object` is
    /// awaited with the first request for it.
    ///
    /// A gateway needs it to offer each side's root to the other: one of the two connections must
    /// be made first. It keeps the other connection open until its own has ended.
    ///
    /// ```no_run
    /// # async fn example(near: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    /// use rpyc_client::{Connection, Exception, Local};
    ///
    /// let (sender, client) = tokio::sync::oneshot::channel::<Connection>();
    /// let root_of_client = Local::forwarding_later(async {
    ///     let gone = |_| Exception::builtin("ConnectionError", "the client is gone");
    ///     Ok(client.await.map_err(gone)?.root().await?)
    /// });
    /// let far = Connection::builder().serving(root_of_client).connect("localhost:18861").await?;
    /// let root_of_server = Local::forwarding(far.root().await?);
    /// let (client, driver) = Connection::builder().serving(root_of_server).accept(near);
    /// let _ = sender.send(client);
    /// driver.await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn forwarding_later(
        object: impl Future<Output = Result<RemoteObject, Exception>> + Send + 'static,
    ) -> Self {
        Self(Arc::new(Forwarded::later(object)))
    }

    /// Whether both are the same object.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.address() == other.address()
    }

    /// The object as what it is in this program.
    #[must_use]
    pub fn downcast_ref<T: Object>(&self) -> Option<&T> {
        self.0.object().downcast_ref()
    }

    pub(crate) fn class(&self) -> &Class {
        self.0.class()
    }

    /// The object of another connection that it stands for, if it does.
    pub(crate) fn forwarded(&self) -> Option<&RemoteObject> {
        self.0.object().downcast_ref().and_then(Forwarded::remote)
    }

    /// The address of the object; no other live object has the same.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>().addr()
    }

    /// Performs a request to the object.
    pub(crate) async fn serve(
        &self,
        connection: &Connection,
        action: Action<Parcel>,
    ) -> Result<Parcel, Exception> {
        let context = Context { connection: connection.clone(), this: self.clone() };
        self.0.serve(&context, action).await
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Local").field(&self.class().name()).finish()
    }
}

/// What an object knows while it does what the peer asks.
#[derive(Clone, Debug)]
pub struct Context {
    connection: Connection,
    this: Local,
}

impl Context {
    /// The connection over which it is asked; to call back, or to say goodbye.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The peer that asks: its address, and what the system or TLS know about it.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        self.connection.peer()
    }

    /// The object that is asked, to be kept or to be passed itself.
    #[must_use]
    pub fn this(&self) -> &Local {
        &self.this
    }

    /// Calls whatever was passed, an object of either side.
    ///
    /// # Errors
    /// What it raises; `TypeError` if it is a value.
    ///
    /// # Cancel safety
    /// Dropping the future gives the call up.
    pub async fn call(&self, callee: &Parcel, args: impl IntoArgs) -> Result<Parcel, Exception> {
        let args = args.into_args();
        match callee {
            Parcel::Local(local) => {
                let args = args.into_arguments()?;
                local.serve(&self.connection, Action::Call { args }).await
            }
            Parcel::Remote(remote) => Ok(remote.invoke::<Parcel>(args).await?),
            value => {
                let message = format!("'{}' object is not callable", value.type_name());
                Err(Exception::builtin("TypeError", message))
            }
        }
    }
}

/// The exception for an attribute that is missing or hidden from the peer; RPyC makes no
/// difference.
#[must_use]
pub fn denied(name: &str) -> Exception {
    Exception::builtin("AttributeError", format!("cannot access '{name}'"))
}

/// An object with its type forgotten.
trait Erased: Send + Sync {
    fn class(&self) -> &Class;
    fn object(&self) -> &dyn Any;
    fn serve<'a>(&'a self, context: &'a Context, action: Action<Parcel>) -> Answer<'a>;
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Parcel, Exception>> + Send + 'a>>;

struct Offered<T> {
    class: Class,
    object: T,
}

impl<T: Object> Erased for Offered<T> {
    fn class(&self) -> &Class {
        &self.class
    }

    fn object(&self) -> &dyn Any {
        &self.object
    }

    fn serve<'a>(&'a self, context: &'a Context, action: Action<Parcel>) -> Answer<'a> {
        Box::pin(dispatch::serve(&self.object, context, action))
    }
}

thread_local! {
    /// The class of the last object of each type: a million objects share one name.
    static CLASSES: RefCell<HashMap<TypeId, Class>> = RefCell::default();
}

fn class_of<T: Object>(object: &T) -> Class {
    let name = object.class();
    let known = CLASSES.try_with(|classes| {
        let mut classes = classes.borrow_mut();
        match classes.get(&TypeId::of::<T>()) {
            Some(known) if known.name() == name => known.clone(),
            _ => {
                let new = class(&name);
                classes.insert(TypeId::of::<T>(), new.clone());
                new
            }
        }
    });
    // The table is gone when the thread is about to end.
    known.unwrap_or_else(|_gone| class(&name))
}

/// A class by its name; the number is made of the name, so it is the same for all its objects.
fn class(name: &str) -> Class {
    let fnv = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    Class::new(name, name.bytes().fold(0x811c_9dc5, fnv))
}
