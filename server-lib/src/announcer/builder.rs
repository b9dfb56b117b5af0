//! The settings of an announcer.

use std::net::SocketAddr;
use std::time::Duration;

use rpyc_client::{Port, Registrar, Registries, ServiceName};

use super::Announcer;
use super::advert::{Advert, advert_setters};

/// Settings for an [`Announcer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct AnnouncerBuilder {
    pub(super) names: Vec<ServiceName>,
    pub(super) port: Port,
    pub(super) registries: Registries,
    pub(super) bind: Option<SocketAddr>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) grace: Duration,
    pub(super) advert: Advert,
}

impl AnnouncerBuilder {
    pub(super) fn new(names: Vec<ServiceName>, port: Port, registries: Registries) -> Self {
        Self {
            names,
            port,
            registries,
            bind: None,
            interval: Announcer::DEFAULT_INTERVAL,
            timeout: Registrar::DEFAULT_TIMEOUT,
            grace: Announcer::DEFAULT_GRACE,
            advert: Advert::default(),
        }
    }

    /// The address that the server listens on; its port is not used. Default: none.
    ///
    /// Registrations leave from it, and a registry returns to clients the address that a
    /// registration came from. An unspecified address (`0.0.0.0`, `::`) or none lets the system
    /// choose each time, by the way to the registry, so that the announcement follows when the
    /// machine's address changes. A server on an IPv6 address is not announced to IPv4 registries
    /// of [`Registries::nearby`], nor the other way round.
    pub fn bind(mut self, addr: SocketAddr) -> Self {
        self.bind = Some(addr);
        self
    }

    advert_setters!();

    /// What the server speaks. Default: RPyC, which needs no word.
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.advert.details.protocol = Some(protocol.into());
        self
    }

    /// Announces the server only while no other server holds one of its names. Default: beside
    /// others.
    ///
    /// While another server does, the registration is refused and tried again, so that the name is
    /// taken over when it becomes free. RPyC's own registry cannot refuse it, so it gets no
    /// registration.
    pub fn exclusive(mut self) -> Self {
        self.advert.is_exclusive = true;
        self
    }

    pub(crate) fn advert(mut self, advert: Advert) -> Self {
        self.advert = advert;
        self
    }

    /// How often to register again. Default 60 s, as in RPyC. A registry that expects
    /// renewals sooner gets them sooner.
    ///
    /// Registries forget a server that stays silent for their own time, 240 s by default; an
    /// interval near that makes a server vanish with the first datagrams lost, a very short one
    /// loads the registries.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long an acknowledgement is waited for. Default 2 s; see
    /// [`RegistrarBuilder::timeout`](rpyc_client::RegistrarBuilder::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long [`Announcer::run`] may take to unregister. Default 2 s.
    ///
    /// A registry that does not acknowledge in this time keeps the server until it forgets it by
    /// itself. Zero waits for no acknowledgement; a lease still takes up to 100 ms, because its end
    /// over UDP takes two round trips.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The announcer; it does nothing before [`Announcer::run`].
    #[must_use]
    pub fn build(self) -> Announcer {
        Announcer::new(self)
    }
}
