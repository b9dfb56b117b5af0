//! A method that was got as an attribute.

use std::borrow::Cow;

use rpyc_protocol::rpc::Exception;

use super::{Ask, Context, Local, Method, Object, denied};
use crate::{Args, Parcel};

/// A method together with its object.
#[derive(Debug)]
pub(super) struct BoundMethod {
    pub(super) object: Local,
    pub(super) method: Method,
}

impl Object for BoundMethod {
    fn class(&self) -> Cow<'_, str> {
        "builtins.method".into()
    }

    fn doc(&self) -> Option<Cow<'_, str>> {
        self.method.doc().map(Cow::from)
    }

    async fn get_attr(&self, _: &Context, name: &str) -> Result<Parcel, Exception> {
        match name {
            "__name__" | "__qualname__" => Ok(self.method.name().into()),
            "__self__" => Ok(self.object.clone().into()),
            _ => Err(denied(name)),
        }
    }

    async fn call(&self, context: &Context, args: Args) -> Result<Parcel, Exception> {
        let name = self.method.name().to_owned();
        self.object.serve(context.connection(), Ask::CallAttr { name, args }).await
    }

    async fn repr(&self, _: &Context) -> Result<String, Exception> {
        Ok(format!("<bound method {} of {}>", self.method.name(), self.object.class().name()))
    }
}
