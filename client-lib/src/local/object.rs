//! The trait of what can be offered.

use std::borrow::Cow;

use rpyc_protocol::rpc::{Comparison, Exception};

use super::{Context, denied};
use crate::{Args, Parcel};

/// Something that a peer may use: the root of a connection, or whatever is passed in a call.
///
/// Every method answers one request of the peer; a method without a body answers that the object is
/// not to be accessed. Methods may be `async fn`s. Requests of one peer start in the order in which
/// they arrive, and only one that awaits lets later ones begin. What panics raises `RuntimeError`
/// at the peer. When the connection ends, what still awaits is dropped.
///
/// ```
/// use std::borrow::Cow;
/// use std::sync::atomic::{AtomicI64, Ordering};
///
/// use rpyc_client::{Args, Context, Exception, Local, Method, Object, Parcel, denied};
///
/// #[derive(Default)]
/// struct Counter(AtomicI64);
///
/// impl Object for Counter {
///     fn class(&self) -> Cow<'_, str> {
///         "example.Counter".into()
///     }
///
///     fn methods(&self) -> Cow<'_, [Method]> {
///         vec![Method::new("inc").with_doc("Adds to the counter.")].into()
///     }
///
///     async fn call_attr(&self, _: &Context, name: &str, args: Args) -> Result<Parcel, Exception> {
///         match name {
///             "inc" => {
///                 let (by,): (i64,) = args.parse()?;
///                 Ok((self.0.fetch_add(by, Ordering::Relaxed) + by).into())
///             }
///             _ => Err(denied(name)),
///         }
///     }
/// }
///
/// let counter = Local::new(Counter::default());
/// ```
#[expect(unused_variables, reason = "default bodies do not use them")]
pub trait Object: Send + Sync + 'static {
    /// The full name of its class, as the peer sees it. Asked once.
    ///
    /// Python asks for the methods of every object of a class that it does not know, in one more
    /// round trip; see [`Class`](rpyc_protocol::rpc::Class) for those that it does know. Default
    /// `builtins.object`, which is good for an object with plain methods and attributes only.
    fn class(&self) -> Cow<'_, str> {
        "builtins.object".into()
    }

    /// Its methods.
    ///
    /// Each can be got as an attribute, which gives a function that does
    /// [`call_attr`](Self::call_attr). Python's special ones (`__call__`, `__len__`, `__getitem__`,
    /// `__setitem__`, `__delitem__`, `__contains__`, `__iter__`, `__next__`, `__enter__`,
    /// `__exit__`) are named to allow the syntax that they are for.
    fn methods(&self) -> Cow<'_, [Method]> {
        Cow::Borrowed(&[])
    }

    /// Its documentation.
    fn doc(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// Gives an attribute that is none of its [`methods`](Self::methods).
    fn get_attr(
        &self,
        context: &Context,
        name: &str,
    ) -> impl Future<Output = Result<Parcel, Exception>> + Send {
        refuse(name)
    }

    /// Sets an attribute.
    fn set_attr(
        &self,
        context: &Context,
        name: &str,
        value: Parcel,
    ) -> impl Future<Output = Result<(), Exception>> + Send {
        refuse(name)
    }

    /// Deletes an attribute.
    fn del_attr(
        &self,
        context: &Context,
        name: &str,
    ) -> impl Future<Output = Result<(), Exception>> + Send {
        refuse(name)
    }

    /// Does what a call of the object does. Without a body, it is not callable.
    fn call(
        &self,
        context: &Context,
        args: Args,
    ) -> impl Future<Output = Result<Parcel, Exception>> + Send {
        let class = self.class();
        let name = class.rsplit('.').next().unwrap_or_default();
        let message = format!("'{name}' object is not callable");
        std::future::ready(Err(Exception::builtin("TypeError", message)))
    }

    /// Calls an attribute. Without a body, gets the attribute and calls that.
    ///
    /// Special methods that this trait has a method for do not come here.
    fn call_attr(
        &self,
        context: &Context,
        name: &str,
        args: Args,
    ) -> impl Future<Output = Result<Parcel, Exception>> + Send {
        async move {
            let attribute = self.get_attr(context, name).await?;
            context.call(&attribute, args).await
        }
    }

    /// Gives an iterator over its items: [`Local::iterator`](crate::Local::iterator), or
    /// [`Context::this`] if it is one itself.
    fn iter(&self, context: &Context) -> impl Future<Output = Result<Parcel, Exception>> + Send {
        refuse("__iter__")
    }

    /// Gives the next item of an iterator, or none at its end.
    fn next(
        &self,
        context: &Context,
    ) -> impl Future<Output = Result<Option<Parcel>, Exception>> + Send {
        refuse("__next__")
    }

    /// Returns the number of items.
    fn len(&self, context: &Context) -> impl Future<Output = Result<usize, Exception>> + Send {
        refuse("__len__")
    }

    /// Gives the item at a key, or at an index.
    fn get_item(
        &self,
        context: &Context,
        key: Parcel,
    ) -> impl Future<Output = Result<Parcel, Exception>> + Send {
        refuse("__getitem__")
    }

    /// Sets the item at a key.
    fn set_item(
        &self,
        context: &Context,
        key: Parcel,
        value: Parcel,
    ) -> impl Future<Output = Result<(), Exception>> + Send {
        refuse("__setitem__")
    }

    /// Deletes the item at a key.
    fn del_item(
        &self,
        context: &Context,
        key: Parcel,
    ) -> impl Future<Output = Result<(), Exception>> + Send {
        refuse("__delitem__")
    }

    /// Whether it has an item.
    fn contains(
        &self,
        context: &Context,
        item: Parcel,
    ) -> impl Future<Output = Result<bool, Exception>> + Send {
        refuse("__contains__")
    }

    /// Compares it with something; `None` if the two cannot be compared.
    ///
    /// Without a body, an object is equal to itself.
    fn compare(
        &self,
        context: &Context,
        comparison: Comparison,
        other: Parcel,
    ) -> impl Future<Output = Result<Option<bool>, Exception>> + Send {
        let is_same = matches!(&other, Parcel::Local(other) if other.is_same(context.this()));
        let answer = match comparison {
            Comparison::Eq if is_same => Some(true),
            Comparison::Ne if is_same => Some(false),
            _ => None,
        };
        std::future::ready(Ok(answer))
    }

    /// Gives a number that is the same for equal objects. Without a body, one for each object.
    fn hash(&self, context: &Context) -> impl Future<Output = Result<i64, Exception>> + Send {
        // Addresses are below 2^63 on every system; a collision would do no harm.
        std::future::ready(Ok(i64::try_from(context.this().address()).unwrap_or(i64::MAX)))
    }

    /// Its text for programmers. Without a body, its class.
    fn repr(&self, context: &Context) -> impl Future<Output = Result<String, Exception>> + Send {
        std::future::ready(Ok(format!("<{} object>", self.class())))
    }

    /// Its text for people. Without a body, its [`repr`](Self::repr).
    fn str(&self, context: &Context) -> impl Future<Output = Result<String, Exception>> + Send {
        self.repr(context)
    }

    /// Lists its attributes. Without a body, its methods.
    fn dir(
        &self,
        context: &Context,
    ) -> impl Future<Output = Result<Vec<String>, Exception>> + Send {
        let names = self.methods().iter().map(|method| method.name().to_owned()).collect();
        std::future::ready(Ok(names))
    }

    /// Enters a `with` block; returns the value that is bound there.
    fn enter(&self, context: &Context) -> impl Future<Output = Result<Parcel, Exception>> + Send {
        refuse("__enter__")
    }

    /// Leaves a `with` block, by way of an exception of this class if there is one; true swallows
    /// the exception.
    fn exit(
        &self,
        context: &Context,
        exception: Option<Parcel>,
    ) -> impl Future<Output = Result<bool, Exception>> + Send {
        refuse("__exit__")
    }

    /// Gives its content as bytes that Python's `pickle` can load; for `rpyc.classic.obtain`.
    fn pickle(
        &self,
        context: &Context,
        protocol: i64,
    ) -> impl Future<Output = Result<Vec<u8>, Exception>> + Send {
        std::future::ready(Err(Exception::builtin("ValueError", "pickling is disabled")))
    }
}

fn refuse<T>(name: &str) -> std::future::Ready<Result<T, Exception>> {
    std::future::ready(Err(denied(name)))
}

/// A method that the peer learns of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    name: Cow<'static, str>,
    doc: Option<Cow<'static, str>>,
}

impl Method {
    /// A method by its name.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), doc: None }
    }

    /// Adds its documentation.
    #[must_use]
    pub fn with_doc(self, doc: impl Into<Cow<'static, str>>) -> Self {
        Self { doc: Some(doc.into()), ..self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its documentation.
    #[must_use]
    pub fn doc(&self) -> Option<&str> {
        self.doc.as_deref()
    }
}
