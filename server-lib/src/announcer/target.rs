//! Keeping one registry informed, or several of which any will do.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rpyc_client::native::{Answer, RegistryProtocol};
use rpyc_client::{Acknowledgement, RegisterError, Registrar, Registries, RequestError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Offer;
use super::advert::Advert;
use super::backoff::Backoff;
use super::builder::AnnouncerBuilder;
use super::legacy::Legacy;
use super::native::Native;
use super::protocol::{Announced, Protocol, registrar};
use super::status::{State, Status};

/// How long a registry that spoke only RPyC's own protocol is assumed to speak nothing else.
const RETRY_NATIVE: Duration = Duration::from_secs(600);

/// How often the announcer checks whether this machine's address has changed.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// One registry, or several of which one is enough, and what it knows.
#[derive(Debug)]
pub(super) struct Target {
    /// Its index in the list of statuses.
    index: usize,
    registrar: Registrar,
    offer: Arc<Offer>,
    backoff: Backoff,
    /// Whether the server shall be drained.
    wanted: watch::Receiver<bool>,
    spoken: Spoken,
    legacy: Legacy,
    native: Native,
}

/// The protocol that the registry speaks.
#[derive(Clone, Copy, Debug)]
enum Spoken {
    Unknown,
    /// It speaks RPyC's own protocol alone, or did at that time.
    Legacy(Instant),
    /// It has granted a lease.
    Native,
}

impl Target {
    pub(super) fn new(
        index: usize,
        registries: Registries,
        offer: Arc<Offer>,
        settings: &AnnouncerBuilder,
        wanted: watch::Receiver<bool>,
    ) -> Self {
        let registrar = registrar(registries, settings.bind, settings.timeout);
        Self {
            index,
            backoff: Backoff::new(settings.interval),
            wanted,
            spoken: Spoken::Unknown,
            legacy: Legacy::new(Arc::clone(&offer), registrar.clone()),
            native: Native::new(Arc::clone(&offer), registrar.clone()),
            registrar,
            offer,
        }
    }

    /// Registers once, and remembers nothing of it. Nothing could end a lease that nothing
    /// remembers, so it takes one only for what RPyC's own protocol cannot express.
    pub(super) async fn register(&self) -> Result<Vec<Acknowledgement>, RegisterError> {
        if self.offer.advert.has_details() {
            let found = self.protocol().await?;
            if self.is_native(&found) {
                let (_, answer) = self.native.register(&found).await?;
                return Ok(vec![(&answer).into()]);
            }
        }
        self.legacy.register().await
    }

    /// Registers and renews until dropped. It remembers what was acknowledged so far.
    pub(super) async fn keep(&mut self, statuses: &watch::Sender<Vec<Status>>) -> Infallible {
        loop {
            let pause = match self.announce(statuses).await {
                Ok(renew_after) => self.backoff.after_success(renew_after, fastrand::f64()),
                Err(error) => {
                    self.failed(error, statuses);
                    self.backoff.after_failure(fastrand::f64())
                }
            };
            self.rest(pause).await;
        }
    }

    /// Announces the server once; returns when the registry expects the next renewal.
    async fn announce(
        &mut self,
        statuses: &watch::Sender<Vec<Status>>,
    ) -> Result<Option<Duration>, RegisterError> {
        let is_draining = *self.wanted.borrow_and_update();
        let is_known = match self.spoken {
            Spoken::Unknown => false,
            Spoken::Legacy(since) => since.elapsed() < RETRY_NATIVE,
            Spoken::Native => self.native.lease().is_some_and(|lease| !lease.is_doubtful),
        };
        if !is_known {
            self.find_out().await?;
        }
        let is_native = matches!(self.spoken, Spoken::Native);
        let protocol: &mut dyn Protocol =
            if is_native { &mut self.native } else { &mut self.legacy };
        let announced = protocol.announce(is_draining).await?;
        let Announced { acknowledgement, renew_after, instance, unreachable, replaced } = announced;
        self.report(statuses, |status, now| {
            if let Some(acknowledgement) = acknowledgement {
                status.acknowledge(now, acknowledgement);
            }
            (status.is_native, status.is_draining) = (is_native, is_draining);
            (status.instance, status.unreachable) = (instance, unreachable);
        });
        if let Some(replaced) = replaced {
            self.legacy.take_back(&replaced).await;
        }
        if is_native && !is_draining && self.is_shared() {
            // Other registries may have received the question too, and their clients ask the same
            // way.
            self.legacy.broadcast().await;
        }
        Ok(renew_after)
    }

    /// Finds out what the registry speaks, and takes a lease from one that grants leases, unless it
    /// is the one that has granted the lease at hand.
    async fn find_out(&mut self) -> Result<(), RegisterError> {
        let found = self.protocol().await?;
        if self.is_native(&found) {
            if self.native.lease().is_none_or(|lease| lease.responder() != found.responder) {
                self.native.begin(&found).await?;
            }
            self.spoken = Spoken::Native;
            return Ok(());
        }
        if self.offer.advert.has_details() && !matches!(self.spoken, Spoken::Legacy(_)) {
            tracing::info!(registry = %found.registry,
                "this is RPyC's own registry, which accepts only names and a port");
        }
        self.native.forget();
        self.spoken = Spoken::Legacy(Instant::now());
        Ok(())
    }

    /// Whether to ask the registry for a lease. RPyC's own does not answer such a request, which is
    /// right for a server that must have its name alone.
    fn is_native(&self, found: &Answer<RegistryProtocol>) -> bool {
        found.value == RegistryProtocol::Native || self.offer.advert.is_exclusive
    }

    async fn protocol(&self) -> Result<Answer<RegistryProtocol>, RequestError> {
        // A new registrar remembers nothing, since what a registry speaks may have changed.
        self.registrar.to_builder().build().protocol().await
    }

    /// Whether the registry that granted the lease shares its address with others, which take what
    /// RPyC's own protocol can express.
    fn is_shared(&self) -> bool {
        let Advert { addresses, is_exclusive, .. } = &self.offer.advert;
        let acknowledgement = self.native.acknowledgement();
        addresses.is_empty() && !is_exclusive && acknowledgement.is_some_and(hears_for_many)
    }

    /// Waits until there is something to announce: a renewal is due, the server shall be drained,
    /// or this machine has another address.
    async fn rest(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(end.min(Instant::now() + CHECK_INTERVAL)) => {}
                // An error means that no handle is left to change it.
                Ok(()) = self.wanted.changed() => return,
            }
            if Instant::now() >= end || self.has_moved() {
                return;
            }
        }
    }

    /// Whether this machine now reaches the registry from another address than the registered one.
    fn has_moved(&self) -> bool {
        let is_native = matches!(self.spoken, Spoken::Native);
        let protocol: &dyn Protocol = if is_native { &self.native } else { &self.legacy };
        let is_chosen = self.offer.is_bound || !self.offer.advert.addresses.is_empty();
        protocol.acknowledgement().is_some_and(|last| {
            !is_chosen
                && source_to(last.responder).is_some_and(|source| source.ip() != last.source.ip())
        })
    }

    fn failed(&self, error: RegisterError, statuses: &watch::Sender<Vec<Status>>) {
        let is_known = statuses.borrow().get(self.index).is_some_and(Status::is_failing);
        if is_known {
            tracing::debug!(%error, "still not registered");
        } else {
            tracing::warn!(%error, port = %self.offer.port, "not registered; trying again");
        }
        self.report(statuses, |status, now| status.fail(now, error));
    }

    /// Ends the registration, within `grace`; returns whether the registry knows.
    pub(super) async fn withdraw(
        &self,
        grace: Duration,
        statuses: &watch::Sender<Vec<Status>>,
    ) -> bool {
        let (lease, legacy) = tokio::join!(self.native.end(grace), self.legacy.end(grace));
        let has_lease = self.native.acknowledgement().is_some();
        let has_legacy = self.legacy.acknowledgement().is_some();
        // Beside a lease, a registration that was never acknowledged was only for other registries.
        let legacy = if has_lease && !has_legacy { Ok(()) } else { legacy };
        match lease.and(legacy) {
            Ok(()) => {
                tracing::info!(port = %self.offer.port, "unregistered");
                self.report(statuses, |status, _| status.state = State::Withdrawn);
                true
            }
            Err(error) if !has_lease && !has_legacy => {
                tracing::debug!(%error, "not unregistered; no registration is known");
                true
            }
            Err(error) => {
                tracing::warn!(%error, port = %self.offer.port, "not unregistered");
                self.report(statuses, |status, now| status.fail(now, error));
                false
            }
        }
    }

    fn report(
        &self,
        statuses: &watch::Sender<Vec<Status>>,
        change: impl FnOnce(&mut Status, std::time::Instant),
    ) {
        let now = Instant::now().into_std();
        statuses.send_modify(|all| {
            if let Some(status) = all.get_mut(self.index) {
                change(status, now);
            }
        });
    }
}

/// Whether the registry answered for an address that others may hear as well.
fn hears_for_many(acknowledgement: &Acknowledgement) -> bool {
    let named = acknowledgement.registry.host();
    let named = named.split_once('%').map_or(named.as_str(), |(ip, _zone)| ip);
    // A host's name stands for one machine.
    named.parse().is_ok_and(|ip: std::net::IpAddr| ip != acknowledgement.responder.ip())
}

/// The address of this machine that datagrams to `responder` leave from; sends nothing.
fn source_to(responder: SocketAddr) -> Option<SocketAddr> {
    let any: SocketAddr = match responder {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(responder).ok()?;
    socket.local_addr().ok()
}
