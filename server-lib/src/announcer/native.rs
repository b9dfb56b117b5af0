//! Registrations by a lease, which this project's registry grants.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rpyc_client::native::{Answer, Granted, RegistryProtocol, Target};
use rpyc_client::{Acknowledgement, RegisterError, Registrar, RequestError};

use super::Offer;
use super::lease::Lease;
use super::protocol::{Announced, BRIEF, Protocol};

/// The least time to end a lease: over UDP the registry ends it at the second request, which has
/// the cookie that answers the first.
const LEAST_END: Duration = Duration::from_millis(100);

/// The registration of a server by a lease.
#[derive(Debug)]
pub(super) struct Native {
    offer: Arc<Offer>,
    registrar: Registrar,
    lease: Option<Box<Lease>>,
    /// Asks the registry that was asked for a lease and has not answered.
    unanswered: Option<Registrar>,
}

impl Native {
    pub(super) fn new(offer: Arc<Offer>, registrar: Registrar) -> Self {
        Self { offer, registrar, lease: None, unanswered: None }
    }

    /// The lease that the registry has granted.
    pub(super) fn lease(&self) -> Option<&Lease> {
        self.lease.as_deref()
    }

    /// Forgets the lease, for a registry that grants none any more.
    pub(super) fn forget(&mut self) {
        self.lease = None;
    }

    /// Asks the registry that has answered `found` for a lease, and keeps it.
    pub(super) async fn begin(
        &mut self,
        found: &Answer<RegistryProtocol>,
    ) -> Result<(), RequestError> {
        self.unanswered = Some(found.registrar(&self.registrar));
        let (registrar, answer) = self.register(found).await?;
        self.unanswered = None;
        let ttl = Duration::from_millis(answer.value.ttl_ms);
        let Answer { registry, source, value: Granted { instance, .. }, .. } = &answer;
        tracing::info!(%registry, source = %source.ip(), port = %self.offer.port, instance, ?ttl,
            "registered");
        self.lease = Some(Box::new(Lease::new(registrar, &answer)));
        Ok(())
    }

    /// Asks for a lease, and remembers nothing of it.
    pub(super) async fn register(
        &self,
        found: &Answer<RegistryProtocol>,
    ) -> Result<(Registrar, Answer<Granted>), RequestError> {
        let registrar = found.registrar(&self.registrar);
        let mut answer = registrar.native().register(self.offer.registration()).await?;
        // The answer names the registry as configured, not the one that answered for it.
        answer.registry = found.registry.clone();
        Ok((registrar, answer))
    }

    /// Replaces a lease that has ended, or that is for an address which this machine has lost.
    async fn register_again(offer: &Offer, lease: &mut Lease) -> Result<(), RequestError> {
        let native = lease.registrar().native();
        let mut answer = native.register(offer.registration()).await?;
        answer.registry = lease.acknowledgement.registry.clone();
        let Answer { registry, source, .. } = &answer;
        tracing::info!(%registry, source = %source.ip(), port = %offer.port, "registered again");
        let mut new = Lease::new(lease.registrar().clone(), &answer);
        new.is_new = false;
        let old = std::mem::replace(lease, new);
        if old.granted.lease != answer.value.lease {
            let outcome = old.end(&native).await;
            tracing::debug!(?outcome, "ended the lease before it");
        }
        Ok(())
    }

    async fn renew(&mut self, is_draining: bool) -> Result<Announced, RegisterError> {
        let Some(lease) = &mut self.lease else { return Ok(Announced::default()) };
        let has_addresses = !self.offer.advert.addresses.is_empty();
        if !std::mem::take(&mut lease.is_new) && !lease.renewed(has_addresses).await? {
            Self::register_again(&self.offer, lease).await?;
        }
        if lease.is_draining != is_draining {
            lease.set_draining(is_draining).await?;
        }
        Ok(Announced {
            acknowledgement: Some(lease.acknowledgement.clone()),
            renew_after: Some(Duration::from_millis(lease.granted.renew_ms)),
            instance: Some(lease.granted.instance),
            unreachable: lease.granted.unreachable.clone(),
            replaced: None,
        })
    }

    /// Ends a lease that may exist although its answer was lost or is on its way: the same
    /// registration again is answered with the same lease.
    async fn end_unanswered(&self, limit: Duration) -> Result<(), RegisterError> {
        let Some(registrar) = &self.unanswered else { return Ok(()) };
        let native = registrar.to_builder().timeout(limit).build().native();
        let granted = native.register(self.offer.registration()).await?;
        let lease = Some(granted.value.lease);
        native.deregister(Target { lease, ..Target::default() }).await?;
        Ok(())
    }
}

impl Protocol for Native {
    fn announce(&mut self, is_draining: bool) -> BoxFuture<'_, Result<Announced, RegisterError>> {
        self.renew(is_draining).boxed()
    }

    fn acknowledgement(&self) -> Option<&Acknowledgement> {
        self.lease().map(|lease| &lease.acknowledgement)
    }

    fn end(&self, grace: Duration) -> BoxFuture<'_, Result<(), RegisterError>> {
        async move {
            let Some(lease) = &self.lease else {
                return self.end_unanswered(grace.min(BRIEF)).await;
            };
            let registrar = lease.registrar().to_builder().timeout(grace.max(LEAST_END)).build();
            Ok(lease.end(&registrar.native()).await?)
        }
        .boxed()
    }
}
