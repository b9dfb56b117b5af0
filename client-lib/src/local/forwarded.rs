//! Objects of another connection's peer, offered on.

use std::any::Any;

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{Boxed, Class, Exception};

use super::dispatch::value;
use super::{Answer, Ask, Context, Erased, class};
use crate::{CallError, Parcel, RemoteObject, args};

/// Whatever is asked of it is asked of its owner, who alone decides what is answered. To this side's
/// peer it is of the class that it is of there.
#[derive(Debug)]
pub(super) struct Forwarded {
    class: Class,
    remote: RemoteObject,
}

impl Forwarded {
    pub(super) fn new(remote: RemoteObject) -> Self {
        Self { class: class(remote.class_name()), remote }
    }

    async fn answer(&self, ask: Ask) -> Result<Parcel, CallError> {
        let remote = &self.remote;
        match ask {
            Ask::GetAttr { name } => remote.attr(&name).await,
            Ask::DelAttr { name } => remote.del_attr(&name).await.map(Parcel::from),
            Ask::SetAttr { name, value } => remote.set_attr(&name, value).await.map(Parcel::from),
            Ask::Call { args } => remote.invoke(args).await,
            Ask::CallAttr { name, args } => remote.call(&name, args).await,
            Ask::Repr => remote.repr().await.map(Parcel::from),
            Ask::Str => remote.str().await.map(Parcel::from),
            Ask::Cmp { other, comparison } => {
                let answer = remote.compare(comparison, other).await?;
                Ok(Parcel::Value(answer.map_or(Value::NotImplemented, Value::Bool)))
            }
            Ask::Hash => remote.hash().await.map(Parcel::from),
            Ask::Dir => {
                let names = remote.dir().await?;
                Ok(value(Boxed::names(names.iter().map(String::as_str))))
            }
            Ask::Pickle { protocol } => remote.pickle(protocol).await,
            Ask::Inspect => {
                let methods = remote.methods().await?;
                let methods = methods.iter().map(|(name, doc)| (name.as_str(), doc.as_deref()));
                Ok(value(Boxed::methods(methods)))
            }
            Ask::BuffIter { count } => remote.take_items(count).await,
            Ask::CtxExit { exception } if exception.is_none() => {
                remote.call("__exit__", args![(), (), ()]).await
            }
            Ask::CtxExit { exception } => {
                remote.call("__exit__", args![exception, exception, ()]).await
            }
            Ask::InstanceCheck => Ok(false.into()),
        }
    }
}

impl Erased for Forwarded {
    fn class(&self) -> &Class {
        &self.class
    }

    fn object(&self) -> &dyn Any {
        self
    }

    fn serve<'a>(&'a self, _: &'a Context, ask: Ask) -> Answer<'a> {
        Box::pin(async move { self.answer(ask).await.map_err(Exception::from) })
    }
}
