//! What this side offers to its peer.

mod dispatch;
mod forwarded;
mod function;
mod iterator;
mod method;
mod object;

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use rpyc_protocol::rpc::{Class, Exception};

pub(crate) use dispatch::Ask;
pub use object::{Method, Object};

use crate::{Args, Connection, Parcel, RemoteObject};

/// An object of this side, to be passed to a peer. Cheap to clone; all clones are the same object.
///
/// It is kept while a clone is, or while a peer holds a reference to it. The same object may be
/// passed any number of times and over any number of connections; on one connection it stays the
/// same object to the peer, and comes back as it was.
#[derive(Clone)]
pub struct Local(Arc<dyn Erased>);

impl Local {
    /// Makes an object that can be passed.
    #[must_use]
    pub fn new(object: impl Object) -> Self {
        let class = class(&object.class());
        Self(Arc::new(Offered { class, object }))
    }

    /// Makes a function that the peer can call.
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

    /// Offers an object of another connection's peer.
    pub(crate) fn forwarding(remote: RemoteObject) -> Self {
        Self(Arc::new(forwarded::Forwarded::new(remote)))
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

    /// Where the object is; tells it from all others that are.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>().addr()
    }

    /// Does what is asked of the object.
    pub(crate) async fn serve(
        &self,
        connection: &Connection,
        ask: Ask,
    ) -> Result<Parcel, Exception> {
        let context = Context { connection: connection.clone(), this: self.clone() };
        self.0.serve(&context, ask).await
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

    /// The object that is asked, to be kept or to be passed itself.
    #[must_use]
    pub fn this(&self) -> &Local {
        &self.this
    }

    /// Calls whatever was passed, an object of either side.
    ///
    /// # Errors
    /// What it raises; `TypeError` if it is a value.
    pub async fn call(&self, callee: &Parcel, args: Args) -> Result<Parcel, Exception> {
        match callee {
            Parcel::Local(local) => local.serve(&self.connection, Ask::Call { args }).await,
            Parcel::Remote(remote) => Ok(remote.invoke::<Parcel>(args).await?),
            value => {
                let message = format!("'{}' object is not callable", value.type_name());
                Err(Exception::builtin("TypeError", message))
            }
        }
    }
}

/// The exception for what is not there, or not for the peer; RPyC makes no difference.
#[must_use]
pub fn denied(name: &str) -> Exception {
    Exception::builtin("AttributeError", format!("cannot access '{name}'"))
}

/// An object with its type forgotten.
trait Erased: Send + Sync {
    fn class(&self) -> &Class;
    fn object(&self) -> &dyn Any;
    fn serve<'a>(&'a self, context: &'a Context, ask: Ask) -> Answer<'a>;
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

    fn serve<'a>(&'a self, context: &'a Context, ask: Ask) -> Answer<'a> {
        Box::pin(dispatch::serve(&self.object, context, ask))
    }
}

/// A class by its name; the number is made of the name, so it is the same for all its objects.
fn class(name: &str) -> Class {
    let fnv = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    Class::new(name, name.bytes().fold(0x811c_9dc5, fnv))
}
