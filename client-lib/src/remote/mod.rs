//! An object of the peer's.

mod fetch;
mod items;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rpyc_protocol::rpc::{Action, Comparison, IdPack};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use fetch::take;
pub use items::Items;

use crate::connection::{Call, Handle, Request};
use crate::parcel::IntoArgs;
use crate::{CallError, Connection, ConvertError, Parcel};

/// An object of the peer's: a service, a module, a list, a function. Cheap to clone.
///
/// It stays at the peer; each operation runs there, and costs a round trip. When the last clone is
/// dropped, the peer is notified that the object is not needed any more.
///
/// ```no_run
/// # async fn example(root: rpyc_client::RemoteObject) -> Result<(), rpyc_client::CallError> {
/// use rpyc_client::{args, kwargs};
///
/// let pay: f64 = root.call("get_salary", args!["Mertz", "David"]).await?;
/// let same: f64 = root.call("get_salary", kwargs! { last: "Mertz", first: "David" }).await?;
/// let title: String = root.attr("title").await?;
/// let staff: Vec<String> = root.attr("staff").await?;
/// root.set_attr("title", "Payroll").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteObject(Arc<Reference>);

/// One reference that the peer counts.
struct Reference {
    handle: Arc<Handle>,
    id: IdPack,
    /// Whether the peer must be notified when this is dropped.
    is_counted: AtomicBool,
}

impl Drop for Reference {
    fn drop(&mut self) {
        if *self.is_counted.get_mut() {
            self.handle.shared.release(&self.id);
        }
    }
}

impl RemoteObject {
    /// Takes over a reference that came.
    pub(crate) fn new(handle: Arc<Handle>, id: IdPack) -> Self {
        Self(Arc::new(Reference { handle, id, is_counted: AtomicBool::new(true) }))
    }

    /// One more handle of an object whose reference another holds for good.
    pub(crate) fn borrowed(handle: Arc<Handle>, id: IdPack) -> Self {
        Self(Arc::new(Reference { handle, id, is_counted: AtomicBool::new(false) }))
    }

    /// Drops the reference without notifying the peer; returns whether there was one.
    pub(crate) fn keep(&self) -> bool {
        self.0.is_counted.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn id(&self) -> &IdPack {
        &self.0.id
    }

    /// Its name for the peer of the connection of this number.
    pub(crate) fn id_on(&self, number: u64) -> Option<&IdPack> {
        (self.0.handle.number == number).then_some(&self.0.id)
    }

    /// Identifies the object among all objects of all connections.
    pub(crate) fn key(&self) -> (u64, IdPack) {
        (self.0.handle.number, self.0.id.clone())
    }

    /// The connection to its owner.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection::from_handle(self.0.handle.clone())
    }

    /// The full name of its class (of the module, if it is one), as the peer wrote it. For looking
    /// at only; nothing is asked.
    #[must_use]
    pub fn class_name(&self) -> &str {
        self.0.id.class_name()
    }

    /// Whether both are the same object.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        other.id_on(self.0.handle.number) == Some(&self.0.id)
    }

    /// Prepares a request to it.
    pub(crate) fn request<T>(&self, action: Result<Action<Parcel>, ConvertError>) -> Call<T> {
        let request = action.map(|action| Request::Object(self.clone(), action));
        Call::new(self.0.handle.clone(), request)
    }

    /// Calls a method by its name: `object.name(args)`, in one round trip.
    pub fn call<T: DeserializeOwned>(&self, name: &str, args: impl IntoArgs) -> Call<T> {
        let args = args.into_args().into_arguments();
        self.request(args.map(|args| Action::CallAttr { name: name.to_owned(), args }))
    }

    /// Calls the object itself, as a function: `object(args)`.
    pub fn invoke<T: DeserializeOwned>(&self, args: impl IntoArgs) -> Call<T> {
        self.request(args.into_args().into_arguments().map(|args| Action::Call { args }))
    }

    /// Gets an attribute: `object.name`.
    pub fn attr<T: DeserializeOwned>(&self, name: &str) -> Call<T> {
        self.request(Ok(Action::GetAttr { name: name.to_owned() }))
    }

    /// Sets an attribute: `object.name = value`.
    pub fn set_attr(&self, name: &str, value: impl Serialize) -> Call<()> {
        let value = Parcel::new(&value);
        self.request(value.map(|value| Action::SetAttr { name: name.to_owned(), value }))
    }

    /// Deletes an attribute: `del object.name`.
    pub fn del_attr(&self, name: &str) -> Call<()> {
        self.request(Ok(Action::DelAttr { name: name.to_owned() }))
    }

    /// Its text, for people: `str(object)`.
    pub fn str(&self) -> Call<String> {
        self.request(Ok(Action::Str))
    }

    /// Its text, for programmers: `repr(object)`.
    pub fn repr(&self) -> Call<String> {
        self.request(Ok(Action::Repr))
    }

    /// Its hash: `hash(object)`.
    pub fn hash(&self) -> Call<i64> {
        self.request(Ok(Action::Hash))
    }

    /// The names of its attributes: `dir(object)`.
    pub fn dir(&self) -> Call<Vec<String>> {
        self.request(Ok(Action::Dir))
    }

    /// Its methods, each with its documentation.
    pub fn methods(&self) -> Call<Vec<(String, Option<String>)>> {
        self.request(Ok(Action::Inspect))
    }

    /// How many items it has: `len(object)`.
    pub fn len(&self) -> Call<usize> {
        self.call("__len__", ())
    }

    /// The item at a key or an index: `object[key]`.
    pub fn item<T: DeserializeOwned>(&self, key: impl Serialize) -> Call<T> {
        self.call("__getitem__", crate::args![key])
    }

    /// Sets the item at a key or an index: `object[key] = value`.
    pub fn set_item(&self, key: impl Serialize, value: impl Serialize) -> Call<()> {
        self.call("__setitem__", crate::args![key, value])
    }

    /// Deletes the item at a key or an index: `del object[key]`.
    pub fn del_item(&self, key: impl Serialize) -> Call<()> {
        self.call("__delitem__", crate::args![key])
    }

    /// Whether it has an item: `item in object`.
    pub fn contains(&self, item: impl Serialize) -> Call<bool> {
        self.call("__contains__", crate::args![item])
    }

    /// Compares it, on the left, with something; none if the peer knows no answer. Whether two are
    /// one object is a local check: [`is_same`](Self::is_same).
    pub fn compare(&self, comparison: Comparison, other: impl Serialize) -> Call<Option<bool>> {
        self.request(Parcel::new(&other).map(|other| Action::Cmp { other, comparison }))
    }

    /// Does `act` as in a `with` block, whose value it is given.
    ///
    /// The block is left also after an error, which is then the error that is returned.
    ///
    /// ```no_run
    /// # async fn example(root: rpyc_client::RemoteObject) -> Result<(), rpyc_client::CallError> {
    /// use rpyc_client::{RemoteObject, args};
    ///
    /// let ledger: RemoteObject = root.call("open_ledger", args![2026]).await?;
    /// let pages: usize = ledger.with(async |page: RemoteObject| page.len().await).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError`], or what `act` fails with.
    ///
    /// # Cancel safety
    /// The block is left if the future is dropped, once the peer has done what it is doing.
    pub async fn with<T, R, E>(&self, act: impl AsyncFnOnce(T) -> Result<R, E>) -> Result<R, E>
    where
        T: DeserializeOwned,
        E: From<CallError>,
    {
        let inside = self.enter().await?;
        let block = Block::of(self);
        let done = act(inside).await;
        let left = self.exit().await;
        block.leave();
        let done = done?;
        left?;
        Ok(done)
    }

    /// Enters it as a `with` block does; returns the value that is bound there.
    ///
    /// To be left with [`exit`](Self::exit), also after an error.
    pub fn enter<T: DeserializeOwned>(&self) -> Call<T> {
        self.call("__enter__", ())
    }

    /// Leaves it as a `with` block does that ends without an exception.
    pub fn exit(&self) -> Call<Parcel> {
        self.request(Ok(Action::CtxExit { exception: Parcel::NONE }))
    }
}

/// A `with` block that is left when this is dropped, unless it has been.
pub(crate) struct Block<'a>(Option<&'a RemoteObject>);

impl<'a> Block<'a> {
    pub(crate) fn of(object: &'a RemoteObject) -> Self {
        Self(Some(object))
    }

    pub(crate) fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        if let Some(object) = self.0 {
            object.exit().post();
        }
    }
}

impl fmt::Debug for RemoteObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteObject").field(&self.class_name()).finish()
    }
}
