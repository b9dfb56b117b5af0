//! Keeping one registry told, or one of several of which any will do.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rpyc_client::native::{Answer, Face, Granted};
use rpyc_client::{Acknowledgement, RegisterError, Registrar, Registries, RequestError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Offer;
use super::advert::Advert;
use super::builder::AnnouncerBuilder;
use super::held::Held;
use super::pace::Pace;
use super::status::{State, Status};

/// How long the end of a registration that was never acknowledged is waited to be acknowledged: a
/// registry that was silent so far hardly begins to speak now.
const BRIEF: Duration = Duration::from_millis(300);

/// How long a registry that spoke RPyC's own protocol alone is taken to speak nothing else.
const RETRY_NATIVE: Duration = Duration::from_secs(600);

/// How often is looked whether this machine's address has changed.
const LOOK: Duration = Duration::from_secs(5);

/// One registry, or several of which one is enough, and what it knows.
#[derive(Debug)]
pub(super) struct Target {
    /// Its place in the list of statuses.
    place: usize,
    registrar: Registrar,
    offer: Arc<Offer>,
    pace: Pace,
    wanted: watch::Receiver<bool>,
    standing: Standing,
    /// The registration in RPyC's own protocol that a registry knows of, as far as we know.
    last: Option<Acknowledgement>,
    /// Whether one was ever sent.
    was_sent: bool,
    /// The way to a registry that was asked for a lease and has not answered.
    asked: Option<Registrar>,
}

/// What is known of how the registry is spoken to.
#[derive(Debug)]
enum Standing {
    Unknown,
    /// It speaks RPyC's own protocol alone, or did at that time.
    Legacy(Instant),
    Native(Box<Held>),
}

impl Target {
    pub(super) fn new(
        place: usize,
        registries: Registries,
        offer: Arc<Offer>,
        settings: &AnnouncerBuilder,
        wanted: watch::Receiver<bool>,
    ) -> Self {
        let registrar = registrar(registries, settings.bind, settings.timeout);
        let (pace, standing) = (Pace::new(settings.interval), Standing::Unknown);
        Self {
            place,
            registrar,
            offer,
            pace,
            wanted,
            standing,
            last: None,
            was_sent: false,
            asked: None,
        }
    }

    /// Registers once, and remembers nothing of it. A lease that nobody remembers could not be ended, so
    /// there is one only for what cannot be said otherwise.
    pub(super) async fn register(&self) -> Result<Vec<Acknowledgement>, RegisterError> {
        if self.offer.advert.says_something() {
            let face = self.face().await?;
            if self.is_native(&face) {
                let (_, answer) = self.register_native(&face).await?;
                return Ok(vec![(&answer).into()]);
            }
        }
        self.registrar.register(&self.offer.names, &self.offer.port).await
    }

    /// Registers, renews, again and again, until dropped. What was acknowledged so far is remembered.
    pub(super) async fn keep(&mut self, statuses: &watch::Sender<Vec<Status>>) -> Infallible {
        loop {
            let pause = match self.announce(statuses).await {
                Ok(hint) => self.pace.after_success(hint, fastrand::f64()),
                Err(error) => {
                    self.failed(error, statuses);
                    self.pace.after_failure(fastrand::f64())
                }
            };
            self.rest(pause).await;
        }
    }

    /// Says once what is to be said; tells when the registry wants to hear it again.
    async fn announce(
        &mut self,
        statuses: &watch::Sender<Vec<Status>>,
    ) -> Result<Option<Duration>, RegisterError> {
        let is_draining = *self.wanted.borrow_and_update();
        let is_known = match &self.standing {
            Standing::Unknown => false,
            Standing::Legacy(since) => since.elapsed() < RETRY_NATIVE,
            Standing::Native(held) => !held.is_doubtful,
        };
        let is_new = !is_known && self.find_out().await?;
        let Standing::Native(held) = &mut self.standing else {
            self.announce_legacy(is_draining, statuses).await?;
            return Ok(None);
        };
        if !is_new && !held.renewed(!self.offer.advert.addresses.is_empty()).await? {
            self.register_again().await?;
        }
        let Standing::Native(held) = &mut self.standing else { return Ok(None) };
        if held.is_draining != is_draining {
            held.set_draining(is_draining).await?;
        }
        let acknowledgement = held.acknowledgement.clone();
        let hint = Duration::from_millis(held.granted.renew_ms);
        let Advert { addresses, is_exclusive, .. } = &self.offer.advert;
        let by_many = hears_for_many(&acknowledgement) && addresses.is_empty() && !is_exclusive;
        let (instance, unreachable) = (held.granted.instance, held.granted.unreachable.clone());
        self.report(statuses, |status, now| {
            status.acknowledge(now, acknowledgement);
            (status.is_native, status.is_draining) = (true, is_draining);
            (status.instance, status.unreachable) = (Some(instance), unreachable);
        });
        if by_many && !is_draining {
            // Others may have heard the question, too, and their clients ask as it was asked.
            self.was_sent = true;
            let told = self.registrar.register(&self.offer.names, &self.offer.port).await;
            tracing::debug!(?told, "told whoever else hears it");
        }
        Ok(Some(hint))
    }

    /// Asks what the registry speaks; one that grants leases is registered with, unless it is the one
    /// that has granted one. Tells whether there is a new lease.
    async fn find_out(&mut self) -> Result<bool, RegisterError> {
        let face = self.face().await?;
        let is_native = self.is_native(&face);
        if let Standing::Native(held) = &mut self.standing
            && is_native
            && face.responder == held.responder()
        {
            return Ok(false);
        }
        if is_native {
            self.asked = Some(face.registrar(&self.registrar));
            let (registrar, answer) = self.register_native(&face).await?;
            self.asked = None;
            let Granted { instance, ttl_ms, .. } = answer.value;
            let Answer { registry, source, .. } = &answer;
            tracing::info!(%registry, source = %source.ip(), port = %self.offer.port, instance,
                ttl = ?Duration::from_millis(ttl_ms), "registered");
            self.standing = Standing::Native(Box::new(Held::new(registrar, &answer)));
        } else {
            if self.offer.advert.says_something() && !matches!(self.standing, Standing::Legacy(_)) {
                tracing::info!(registry = %face.registry,
                    "RPyC's own registry, which is told nothing but names and a port");
            }
            self.standing = Standing::Legacy(Instant::now());
        }
        Ok(is_native)
    }

    /// Whether the registry is asked for a lease. RPyC's own stays silent then, which is the right answer
    /// where nothing else will do.
    fn is_native(&self, face: &Answer<Face>) -> bool {
        face.value == Face::Native || self.offer.advert.is_exclusive
    }

    async fn face(&self) -> Result<Answer<Face>, RequestError> {
        // One that remembers nothing, since what a registry speaks may have changed.
        self.registrar.to_builder().build().face().await
    }

    async fn register_native(
        &self,
        face: &Answer<Face>,
    ) -> Result<(Registrar, Answer<Granted>), RequestError> {
        let registrar = face.registrar(&self.registrar);
        let mut answer = registrar.native().register(self.offer.registration()).await?;
        // As it was named, and not as the one that answered for it.
        answer.registry = face.registry.clone();
        Ok((registrar, answer))
    }

    /// Begins a new lease in the place of one that has ended, or that is for an address which this
    /// machine has no more.
    async fn register_again(&mut self) -> Result<(), RegisterError> {
        let Standing::Native(held) = &mut self.standing else { return Ok(()) };
        let native = held.registrar().native();
        let mut answer = native.register(self.offer.registration()).await?;
        answer.registry = held.acknowledgement.registry.clone();
        let Answer { registry, source, .. } = &answer;
        tracing::info!(%registry, source = %source.ip(), port = %self.offer.port, "registered again");
        let new = Held::new(held.registrar().clone(), &answer);
        let old = std::mem::replace(&mut **held, new);
        if old.granted.lease != answer.value.lease {
            let ended = old.end(&native).await;
            tracing::debug!(?ended, "the lease before it");
        }
        Ok(())
    }

    async fn announce_legacy(
        &mut self,
        is_draining: bool,
        statuses: &watch::Sender<Vec<Status>>,
    ) -> Result<(), RegisterError> {
        if is_draining {
            if let Some(last) = &self.last {
                self.unregister(last, self.registrar.timeout()).await?;
                self.last = None;
            }
        } else {
            self.was_sent = true;
            let told = self.registrar.register(&self.offer.names, &self.offer.port).await?;
            for acknowledgement in told {
                self.acknowledged(acknowledgement, statuses).await;
            }
        }
        self.report(statuses, |status, _| {
            (status.is_native, status.is_draining) = (false, is_draining);
            (status.instance, status.unreachable) = (None, None);
        });
        Ok(())
    }

    async fn acknowledged(&mut self, new: Acknowledgement, statuses: &watch::Sender<Vec<Status>>) {
        let old = self.last.replace(new.clone());
        let has_moved = old.as_ref().is_none_or(|old| !is_same(old, &new));
        if has_moved {
            let Acknowledgement { registry, source, .. } = &new;
            tracing::info!(%registry, source = %source.ip(), port = %self.offer.port, "registered");
        }
        self.report(statuses, |status, now| status.acknowledge(now, new));
        if let Some(old) = old
            && has_moved
        {
            // The old address is stale, or served by another registry that will not hear of us
            // again. Where the address is gone, so is the way to take it back.
            let unregistered = self.unregister(&old, BRIEF).await;
            tracing::debug!(source = %old.source, ?unregistered, "took back the old registration");
        }
    }

    /// Waits until there is something to say: the time has come, the server is to be drained, or
    /// this machine is reached by another address.
    async fn rest(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(end.min(Instant::now() + LOOK)) => {}
                // Without a handle nobody can want anything.
                Ok(()) = self.wanted.changed() => return,
            }
            if Instant::now() >= end || self.has_moved() {
                return;
            }
        }
    }

    /// Whether this machine now reaches the registry from another address than the one it told.
    fn has_moved(&self) -> bool {
        let told = match &self.standing {
            Standing::Native(held) => Some(&held.acknowledgement),
            _ => self.last.as_ref(),
        };
        let is_chosen = self.offer.is_bound || !self.offer.advert.addresses.is_empty();
        told.is_some_and(|told| {
            !is_chosen
                && source_to(told.responder).is_some_and(|source| source.ip() != told.source.ip())
        })
    }

    fn failed(&self, error: RegisterError, statuses: &watch::Sender<Vec<Status>>) {
        let is_known = statuses.borrow().get(self.place).is_some_and(Status::is_failing);
        if is_known {
            tracing::debug!(%error, "still not registered");
        } else {
            tracing::warn!(%error, port = %self.offer.port, "not registered; trying again");
        }
        self.report(statuses, |status, now| status.fail(now, error));
    }

    /// Ends the registration, within `grace`; tells whether the registry knows.
    pub(super) async fn withdraw(
        &self,
        grace: Duration,
        statuses: &watch::Sender<Vec<Status>>,
    ) -> bool {
        let (ended, told) = tokio::join!(self.end_lease(grace), self.end_legacy(grace));
        match ended.and(told) {
            Ok(()) => {
                tracing::info!(port = %self.offer.port, "unregistered");
                self.report(statuses, |status, _| status.state = State::Withdrawn);
                true
            }
            Err(error) if !self.was_acknowledged() => {
                tracing::debug!(%error, "not unregistered, nor ever registered as far as known");
                true
            }
            Err(error) => {
                tracing::warn!(%error, port = %self.offer.port, "not unregistered");
                self.report(statuses, |status, now| status.fail(now, error));
                false
            }
        }
    }

    fn was_acknowledged(&self) -> bool {
        self.last.is_some() || matches!(self.standing, Standing::Native(_))
    }

    async fn end_lease(&self, grace: Duration) -> Result<(), RegisterError> {
        let Standing::Native(held) = &self.standing else {
            return self.end_unanswered(grace.min(BRIEF)).await;
        };
        let registrar = held.registrar().to_builder().timeout(grace).build();
        Ok(held.end(&registrar.native()).await?)
    }

    /// Ends a lease that may have been granted, and only its answer be lost or still to come: the same
    /// registration once more is answered with the same lease.
    async fn end_unanswered(&self, limit: Duration) -> Result<(), RegisterError> {
        let Some(registrar) = &self.asked else { return Ok(()) };
        let native = registrar.to_builder().timeout(limit).build().native();
        let granted = native.register(self.offer.registration()).await?;
        let lease = Some(granted.value.lease);
        let target = rpyc_client::native::Target { lease, ..Default::default() };
        native.deregister(target).await?;
        Ok(())
    }

    async fn end_legacy(&self, grace: Duration) -> Result<(), RegisterError> {
        match &self.last {
            Some(last) => self.unregister(last, grace).await,
            None if self.was_sent => {
                // It may have been taken, and only its acknowledgement be lost or still to come.
                let limit = grace.min(BRIEF);
                let registrar = self.registrar.to_builder().timeout(limit).build();
                let told = registrar.unregister(&self.offer.port).await.map(drop);
                // What is known to have been taken is the lease.
                if matches!(self.standing, Standing::Native(_)) { Ok(()) } else { told }
            }
            None => Ok(()),
        }
    }

    /// Tells the registry that acknowledged `last` that it is over, from the same address.
    async fn unregister(
        &self,
        last: &Acknowledgement,
        limit: Duration,
    ) -> Result<(), RegisterError> {
        let registries = Registries::from(last.registry.clone());
        let registrar = registrar(registries, Some(last.source), limit);
        registrar.unregister(&self.offer.port).await.map(drop)
    }

    fn report(
        &self,
        statuses: &watch::Sender<Vec<Status>>,
        change: impl FnOnce(&mut Status, std::time::Instant),
    ) {
        let now = Instant::now().into_std();
        statuses.send_modify(|all| {
            if let Some(status) = all.get_mut(self.place) {
                change(status, now);
            }
        });
    }
}

/// Whether two registrations are one to the registry: the port is the server's and does not change.
fn is_same(old: &Acknowledgement, new: &Acknowledgement) -> bool {
    old.registry == new.registry && old.source.ip() == new.source.ip()
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

fn registrar(registries: Registries, source: Option<SocketAddr>, timeout: Duration) -> Registrar {
    let builder = Registrar::builder(registries).timeout(timeout);
    match source {
        Some(source) => builder.source(source).build(),
        None => builder.build(),
    }
}
