//! Objects of other connections, offered on.

use std::any::Any;
use std::future::IntoFuture;

use rpyc_protocol::rpc::{Action, Class};

use super::{Answer, Ask, Context, Erased};
use crate::connection::Wish;
use crate::{Parcel, RemoteObject};

/// What Python calls the class of classes. Those of a class of its own that it knows it would take for
/// an object of that class.
const CLASS_OF_CLASSES: &str = "builtins.type";

/// An object of another connection's peer: what is asked of it is asked of its owner.
#[derive(Debug)]
pub(super) struct Forwarded {
    class: Class,
    remote: RemoteObject,
}

impl Forwarded {
    pub(super) fn new(remote: RemoteObject) -> Self {
        let is_class = remote.id().is_class();
        let name = if is_class { CLASS_OF_CLASSES } else { remote.class_name() };
        Self { class: super::class(name), remote }
    }

    pub(super) fn remote(&self) -> &RemoteObject {
        &self.remote
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
        Box::pin(async move {
            match wish(ask) {
                Some(wish) => Ok(self.remote.wish::<Parcel>(wish).into_future().await?),
                None => Ok(false.into()),
            }
        })
    }
}

/// The same question, to be put to another peer; none for the one that has no meaning there.
fn wish(ask: Ask) -> Option<Wish> {
    let action = match ask {
        Ask::SetAttr { name, value } => return Some(Wish::SetAttr { name, value: Ok(value) }),
        Ask::Call { args } => return Some(Wish::Call { args }),
        Ask::CallAttr { name, args } => return Some(Wish::CallAttr { name, args }),
        Ask::Cmp { other, comparison } => return Some(Wish::Cmp { other: Ok(other), comparison }),
        Ask::CtxExit { exception } => return Some(Wish::CtxExit { exception }),
        Ask::GetAttr { name } => Action::GetAttr { name },
        Ask::DelAttr { name } => Action::DelAttr { name },
        Ask::Repr => Action::Repr,
        Ask::Str => Action::Str,
        Ask::Hash => Action::Hash,
        Ask::Dir => Action::Dir,
        Ask::Pickle { protocol } => Action::Pickle { protocol },
        Ask::Inspect => Action::Inspect,
        Ask::BuffIter { count } => Action::BuffIter { count },
        // It names a class by numbers of the peer's own.
        Ask::InstanceCheck => return None,
    };
    Some(Wish::Plain(action))
}
