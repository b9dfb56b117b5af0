//! Closures that the peer can call.

use std::borrow::Cow;
use std::pin::Pin;

use rpyc_protocol::rpc::Exception;
use serde::Serialize;

use super::{Context, Object, denied};
use crate::{Args, Parcel};

type Outcome = Pin<Box<dyn Future<Output = Result<Parcel, Exception>> + Send>>;

/// A closure; to Python, a function.
pub(super) struct Function(Box<dyn Fn(Args) -> Outcome + Send + Sync>);

impl Function {
    pub(super) fn new<F, R>(function: impl Fn(Args) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<R, Exception>> + Send + 'static,
        R: Serialize,
    {
        Self(Box::new(move |args| {
            let outcome = function(args);
            Box::pin(async move { Ok(Parcel::new(&outcome.await?)?) })
        }))
    }
}

impl Object for Function {
    fn class(&self) -> Cow<'_, str> {
        "builtins.function".into()
    }

    async fn get_attr(&self, _: &Context, name: &str) -> Result<Parcel, Exception> {
        match name {
            "__name__" | "__qualname__" => Ok("function".into()),
            _ => Err(denied(name)),
        }
    }

    async fn call(&self, _: &Context, args: Args) -> Result<Parcel, Exception> {
        (self.0)(args).await
    }

    async fn repr(&self, _: &Context) -> Result<String, Exception> {
        Ok("<function>".to_owned())
    }
}
