//! Iteration over an object of the peer's, many items at a time.

use std::collections::VecDeque;
use std::time::Duration;

use rpyc_protocol::rpc::Action;
use serde::de::DeserializeOwned;

use super::RemoteObject;
use crate::connection::{Call, TimeLimit};
use crate::{CallError, Parcel};

/// How many items come in the first answer. The number doubles with each.
const FIRST: usize = 32;

/// How many items come in one answer at most.
const MOST: usize = 1024;

/// The items of an object of the peer's, as they come; several travel in one message.
///
/// It is what [`RemoteObject::items`] gives.
///
/// ```no_run
/// # async fn example(log: rpyc_client::RemoteObject) -> Result<(), rpyc_client::CallError> {
/// let mut lines = log.items().await?;
/// while let Some(line) = lines.next::<String>().await? {
///     println!("{line}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Items {
    iterator: RemoteObject,
    ready: VecDeque<Parcel>,
    chunk: usize,
    is_done: bool,
    timeout: Option<Duration>,
}

impl Items {
    /// The next item, or none at the end. The timeout of the connection bounds all round trips that
    /// it takes.
    ///
    /// # Errors
    /// [`CallError`]. If an item is of another type, it is lost and the next one can be taken.
    ///
    /// # Cancel safety
    /// Items that are on their way are lost if the future is dropped.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CallError> {
        let limit = TimeLimit::from_now(self.timeout);
        if self.ready.is_empty() && !self.is_done {
            let items = self.iterator.take_items(self.chunk).timeout(self.timeout).await?;
            let items = items.into_members().map_err(|other| {
                let message = format!("items that are a {}", other.type_name());
                CallError::Result(crate::ConvertError::new(message))
            })?;
            self.is_done = items.is_empty();
            self.ready = items.into();
            self.chunk = (self.chunk * 2).min(MOST);
        }
        match self.ready.pop_front() {
            Some(item) => super::take(item, limit).await.map(Some),
            None => Ok(None),
        }
    }
}

impl RemoteObject {
    /// Starts to iterate over it: `iter(object)`.
    ///
    /// # Errors
    /// [`CallError`]; an exception of the name `AttributeError` or `TypeError` if it cannot be
    /// iterated over.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn items(&self) -> Result<Items, CallError> {
        self.items_within(self.default_timeout()).await
    }

    /// As [`items`](Self::items), with another timeout, which is that of each item too.
    pub(crate) async fn items_within(&self, timeout: Option<Duration>) -> Result<Items, CallError> {
        let iterator = self.call("__iter__", ()).timeout(timeout).await?;
        Ok(Items { iterator, ready: VecDeque::new(), chunk: FIRST, is_done: false, timeout })
    }

    /// The next items of an iterator, a tuple of at most so many.
    pub(crate) fn take_items(&self, count: usize) -> Call<Parcel> {
        self.request(Ok(Action::BuffIter { count }))
    }
}
