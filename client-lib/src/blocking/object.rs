//! Objects of the peer's.

use std::future::IntoFuture;
use std::time::Duration;

use rpyc_protocol::rpc::Comparison;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{PendingCall, wait};
use crate::remote::Block;
use crate::{Call, CallError, IntoArgs, RemoteObject as Remote};

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
    /// The same object, each of whose calls and fetches may take so long as a whole; `None` for
    /// ever.
    #[must_use]
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        Self { object: self.object.clone(), timeout: Some(timeout.into()) }
    }

    /// The object, for async code.
    #[must_use]
    pub fn as_async(&self) -> &Remote {
        &self.object
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout.unwrap_or_else(|| self.object.default_timeout())
    }

    fn timed<T>(&self, call: Call<T>) -> Call<T> {
        match self.timeout {
            Some(timeout) => call.timeout(timeout),
            None => call,
        }
    }

    fn wait<T: DeserializeOwned>(&self, call: Call<T>) -> Result<T, CallError> {
        wait(self.timed(call).into_future())
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

    /// Calls a method by its name and does not wait for the result: what Python's `rpyc.async_` is
    /// for.
    ///
    /// ```no_run
    /// # fn example(root: rpyc_client::blocking::RemoteObject) -> Result<(), rpyc_client::CallError> {
    /// use rpyc_client::args;
    ///
    /// let doubled = root.spawn_call::<i64>("slowly_double", args![21]);
    /// println!("{}", if doubled.is_ready() { "done" } else { "not yet" });
    /// println!("{}", doubled.wait()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn_call<T: DeserializeOwned + Send + 'static>(
        &self,
        name: &str,
        args: impl IntoArgs,
    ) -> PendingCall<T> {
        PendingCall::new(self.timed(self.object.call(name, args)))
    }

    /// Calls the object itself, as a function, and does not wait for the result.
    pub fn spawn_invoke<T: DeserializeOwned + Send + 'static>(
        &self,
        args: impl IntoArgs,
    ) -> PendingCall<T> {
        PendingCall::new(self.timed(self.object.invoke(args)))
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
    /// The block is left also after an error, which is then the error that is returned.
    ///
    /// # Errors
    /// [`CallError`], or what `act` fails with.
    pub fn with<T, R, E>(&self, act: impl FnOnce(T) -> Result<R, E>) -> Result<R, E>
    where
        T: DeserializeOwned,
        E: From<CallError>,
    {
        let inside = self.wait(self.object.enter())?;
        // Left also if `act` panics.
        let block = Block::of(&self.object);
        let done = act(inside);
        let left = self.wait(self.object.exit());
        block.leave();
        let done = done?;
        left?;
        Ok(done)
    }

    /// Fetches all items: `list(object)`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn to_vec<T: DeserializeOwned>(&self) -> Result<Vec<T>, CallError> {
        wait(self.object.to_vec_within(self.timeout()))
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
        wait(self.object.to_map_within(self.timeout()))
    }

    /// Iterates over it, many items at a time.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn items<T: DeserializeOwned>(
        &self,
    ) -> Result<impl Iterator<Item = Result<T, CallError>>, CallError> {
        let mut items = wait(self.object.items_within(self.timeout()))?;
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
