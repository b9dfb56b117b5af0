//! Iterators that the peer can take items from.

use std::borrow::Cow;
use std::sync::Mutex;

use rpyc_protocol::rpc::Exception;
use serde::Serialize;

use super::{Context, Method, Object};
use crate::Parcel;
use crate::lock::lock;

/// An iterator; to Python, a generator.
pub(super) struct Items<I>(Mutex<Option<I>>);

impl<I> Items<I> {
    pub(super) fn new(items: I) -> Self {
        Self(Mutex::new(Some(items)))
    }
}

impl<I> Object for Items<I>
where
    I: Iterator<Item: Serialize> + Send + 'static,
{
    fn class(&self) -> Cow<'_, str> {
        "builtins.generator".into()
    }

    fn methods(&self) -> Cow<'_, [Method]> {
        vec![Method::new("__iter__"), Method::new("__next__")].into()
    }

    async fn iter(&self, context: &Context) -> Result<Parcel, Exception> {
        Ok(context.this().clone().into())
    }

    async fn next(&self, _: &Context) -> Result<Option<Parcel>, Exception> {
        let mut items = lock(&self.0);
        // Once at its end it stays there, as a generator does.
        match items.as_mut().and_then(Iterator::next) {
            Some(item) => Ok(Some(Parcel::new(&item)?)),
            None => {
                *items = None;
                Ok(None)
            }
        }
    }

    async fn repr(&self, _: &Context) -> Result<String, Exception> {
        Ok("<generator object>".to_owned())
    }
}
