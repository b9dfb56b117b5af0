//! Registrations in RPyC's own protocol.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rpyc_client::{Acknowledgement, RegisterError, Registrar, Registries};

use super::Offer;
use super::protocol::{Announced, BRIEF, Protocol, registrar};

/// The registration of a server in RPyC's own protocol.
#[derive(Debug)]
pub(super) struct Legacy {
    offer: Arc<Offer>,
    registrar: Registrar,
    /// The last acknowledgement, unless the registration was ended since.
    last: Option<Acknowledgement>,
    /// Whether a registration was ever sent.
    was_sent: bool,
}

impl Legacy {
    pub(super) fn new(offer: Arc<Offer>, registrar: Registrar) -> Self {
        Self { offer, registrar, last: None, was_sent: false }
    }

    /// Registers once, and remembers nothing of it.
    pub(super) async fn register(&self) -> Result<Vec<Acknowledgement>, RegisterError> {
        self.registrar.register(&self.offer.names, &self.offer.port).await
    }

    /// Registers with every registry that receives the request, whether or not it acknowledges.
    pub(super) async fn broadcast(&mut self) {
        self.was_sent = true;
        let outcome = self.register().await;
        tracing::debug!(?outcome, "registered with the other registries at this address");
    }

    /// Ends a registration that another has replaced, if it still can be reached.
    pub(super) async fn take_back(&self, old: &Acknowledgement) {
        // The old address is stale, or another registry holds the registration, which receives no
        // more renewals. If this machine no longer has the address, this must fail.
        let outcome = self.unregister(old, BRIEF).await;
        tracing::debug!(source = %old.source, ?outcome, "ended the old registration");
    }

    /// Ends the registration that `last` acknowledged, from the address that it was made from.
    async fn unregister(
        &self,
        last: &Acknowledgement,
        limit: Duration,
    ) -> Result<(), RegisterError> {
        let registries = Registries::from(last.registry.clone());
        let registrar = registrar(registries, Some(last.source), limit);
        registrar.unregister(&self.offer.port).await.map(drop)
    }

    /// RPyC's own registry cannot drain: the server is withdrawn instead.
    async fn withdraw(&mut self) -> Result<Announced, RegisterError> {
        if let Some(last) = &self.last {
            self.unregister(last, self.registrar.timeout()).await?;
            self.last = None;
        }
        Ok(Announced::default())
    }

    async fn renew(&mut self) -> Result<Announced, RegisterError> {
        self.was_sent = true;
        let Some(new) = self.register().await?.pop() else { return Ok(Announced::default()) };
        let old = self.last.replace(new.clone());
        let has_moved = old.as_ref().is_none_or(|old| !is_same(old, &new));
        if has_moved {
            let Acknowledgement { registry, source, .. } = &new;
            tracing::info!(%registry, source = %source.ip(), port = %self.offer.port, "registered");
        }
        let replaced = old.filter(|_| has_moved);
        Ok(Announced { acknowledgement: Some(new), replaced, ..Announced::default() })
    }
}

impl Protocol for Legacy {
    fn announce(&mut self, is_draining: bool) -> BoxFuture<'_, Result<Announced, RegisterError>> {
        if is_draining { self.withdraw().boxed() } else { self.renew().boxed() }
    }

    fn acknowledgement(&self) -> Option<&Acknowledgement> {
        self.last.as_ref()
    }

    fn end(&self, grace: Duration) -> BoxFuture<'_, Result<(), RegisterError>> {
        async move {
            match &self.last {
                Some(last) => self.unregister(last, grace).await,
                None if self.was_sent => {
                    // The registration may exist, with its acknowledgement lost or on its way.
                    let registrar = self.registrar.to_builder().timeout(grace.min(BRIEF)).build();
                    registrar.unregister(&self.offer.port).await.map(drop)
                }
                None => Ok(()),
            }
        }
        .boxed()
    }
}

/// Whether a registry sees two registrations as one: the port is the server's and does not change.
fn is_same(old: &Acknowledgement, new: &Acknowledgement) -> bool {
    old.registry == new.registry && old.source.ip() == new.source.ip()
}
