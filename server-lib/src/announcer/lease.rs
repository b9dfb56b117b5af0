//! A lease that a registry has granted.

use std::net::SocketAddr;

use rpyc_client::native::{Answer, Granted, Native, Target};
use rpyc_client::{Acknowledgement, Registrar, RequestError};

/// A lease that a registry has granted, and the way to that registry.
#[derive(Debug)]
pub(super) struct Lease {
    registrar: Registrar,
    pub(super) granted: Granted,
    pub(super) acknowledgement: Acknowledgement,
    pub(super) is_draining: bool,
    /// Whether the registry has failed to answer since, so that another may be there by now.
    pub(super) is_doubtful: bool,
    /// Whether it was granted since the last announcement, so that it needs no renewal.
    pub(super) is_new: bool,
}

impl Lease {
    /// The lease in `answer`; `registrar` asks just the registry that granted it.
    pub(super) fn new(registrar: Registrar, answer: &Answer<Granted>) -> Self {
        if let Some(why) = &answer.value.unreachable {
            tracing::warn!(registry = %answer.registry, %why, "the registry cannot reach the server");
        }
        Self {
            registrar,
            granted: answer.value.clone(),
            acknowledgement: answer.into(),
            is_draining: false,
            is_doubtful: false,
            is_new: true,
        }
    }

    pub(super) fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    pub(super) fn responder(&self) -> SocketAddr {
        self.acknowledgement.responder
    }

    /// Renews the lease; `false` if another is needed: it has ended, or this machine has another
    /// address than the registry returns, unless the server announces its addresses itself.
    pub(super) async fn renewed(&mut self, has_addresses: bool) -> Result<bool, RequestError> {
        match self.registrar.native().renew(self.granted.lease).await {
            Ok(answer) => {
                self.is_doubtful = false;
                let is_here = answer.source.ip() == self.acknowledgement.source.ip();
                self.granted = answer.value;
                Ok(has_addresses || is_here)
            }
            Err(error) if error.is_unknown_lease() => Ok(false),
            Err(error) => {
                self.is_doubtful = true;
                Err(error)
            }
        }
    }

    pub(super) async fn set_draining(&mut self, is_draining: bool) -> Result<(), RequestError> {
        let native = self.registrar.native();
        if is_draining {
            native.drain(self.target()).await?;
        } else {
            native.undrain(self.target()).await?;
        }
        self.is_draining = is_draining;
        Ok(())
    }

    /// Ends the lease, by a registrar that waits as long as it may take.
    pub(super) async fn end(&self, native: &Native) -> Result<(), RequestError> {
        match native.deregister(self.target()).await {
            Ok(_) => Ok(()),
            // It has ended already, which is as good.
            Err(error) if error.is_unknown_lease() || error.is_unknown_target() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn target(&self) -> Target {
        Target { lease: Some(self.granted.lease), ..Target::default() }
    }
}
