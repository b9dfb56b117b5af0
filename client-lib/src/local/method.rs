//! A method that was got as an attribute.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rpyc_protocol::rpc::{Action, Comparison, Exception};

use super::{Context, Local, Method, Object, denied};
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
        let args = args.into_arguments()?;
        self.object.serve(context.connection(), Action::CallAttr { name, args }).await
    }

    /// Each request for a method makes a new one, so methods are equal if object and name are.
    async fn compare(
        &self,
        _: &Context,
        comparison: Comparison,
        other: Parcel,
    ) -> Result<Option<bool>, Exception> {
        let Parcel::Local(other) = other else { return Ok(None) };
        let Some(other) = other.downcast_ref::<Self>() else { return Ok(None) };
        let is_same =
            self.object.is_same(&other.object) && self.method.name() == other.method.name();
        Ok(match comparison {
            Comparison::Eq => Some(is_same),
            Comparison::Ne => Some(!is_same),
            _ => None,
        })
    }

    async fn hash(&self, _: &Context) -> Result<i64, Exception> {
        let mut hasher = DefaultHasher::new();
        (self.object.address(), self.method.name()).hash(&mut hasher);
        Ok(hasher.finish().cast_signed())
    }

    async fn repr(&self, context: &Context) -> Result<String, Exception> {
        let object = self.object.serve(context.connection(), Action::Repr).await?;
        let class = self.object.class().name();
        let class = class.rsplit('.').next().unwrap_or(class);
        let object: String = object.parse()?;
        Ok(format!("<bound method {class}.{} of {object}>", self.method.name()))
    }
}
