//! Objects of other connections, offered on.

use std::any::Any;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::OnceLock;

use rpyc_protocol::rpc::{Action, Class, Exception};
use tokio::sync::Mutex;

use super::{Answer, Context, Erased};
use crate::{Parcel, RemoteObject};

/// Python's name for the class of classes. Those of a separate class that it knows it would take
/// for an object of that class.
const CLASS_OF_CLASSES: &str = "builtins.type";

/// The class of an object that is not known yet. Python asks for the methods of its objects.
const CLASS_TO_COME: &str = "rpyc_client.Forwarded";

/// What gives an object that is not known yet.
type Coming = Pin<Box<dyn Future<Output = Result<RemoteObject, Exception>> + Send>>;

/// An object of another connection's peer: requests to it go to its owner.
pub(super) struct Forwarded {
    class: Class,
    remote: OnceLock<RemoteObject>,
    /// Resolves to the object; a request that waits for it may be cancelled.
    coming: Mutex<Option<Coming>>,
}

impl Forwarded {
    pub(super) fn new(remote: RemoteObject) -> Self {
        let is_class = remote.id().is_class();
        let name = if is_class { CLASS_OF_CLASSES } else { remote.class_name() };
        let class = super::class(name);
        Self { class, remote: remote.into(), coming: Mutex::new(None) }
    }

    /// The object that `coming` gives, which is awaited with the first request.
    pub(super) fn later(
        coming: impl Future<Output = Result<RemoteObject, Exception>> + Send + 'static,
    ) -> Self {
        let coming = Mutex::new(Some(Box::pin(coming) as Coming));
        Self { class: super::class(CLASS_TO_COME), remote: OnceLock::new(), coming }
    }

    /// The object, if it is known already.
    pub(super) fn remote(&self) -> Option<&RemoteObject> {
        self.remote.get()
    }

    /// The object, once it is known.
    async fn found(&self) -> Result<&RemoteObject, Exception> {
        if let Some(remote) = self.remote.get() {
            return Ok(remote);
        }
        let mut coming = self.coming.lock().await;
        if let Some(remote) = self.remote.get() {
            return Ok(remote);
        }
        let found = match coming.as_mut() {
            Some(coming) => coming.await,
            None => {
                Err(Exception::builtin("ConnectionError", "the object to forward to never came"))
            }
        };
        *coming = None;
        let found = found?;
        Ok(self.remote.get_or_init(|| found))
    }
}

impl Erased for Forwarded {
    fn class(&self) -> &Class {
        &self.class
    }

    fn object(&self) -> &dyn Any {
        self
    }

    fn serve<'a>(&'a self, _: &'a Context, action: Action<Parcel>) -> Answer<'a> {
        Box::pin(async move {
            // It names a class by numbers of the asking peer's own.
            if matches!(action, Action::InstanceCheck { .. }) {
                return Ok(false.into());
            }
            let remote = self.found().await?;
            Ok(remote.request::<Parcel>(Ok(action)).into_future().await?)
        })
    }
}
