//! The settings of an announcer.

use std::net::SocketAddr;
use std::time::Duration;

use rpyc_client::{Port, Registrar, Registries, ServiceName};

use super::advert::Advert;
use super::{Advertised, Announcer};

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
    /// Registrations leave from it, and a registry tells others the address that a registration
    /// came from. An unspecified address (`0.0.0.0`, `::`) or none lets the system choose each time,
    /// by the way to the registry, so that the announcement follows when the machine's address
    /// changes. A server on an IPv6 address is not announced to IPv4 registries of
    /// [`Registries::nearby`], nor the other way round.
    pub fn bind(mut self, addr: SocketAddr) -> Self {
        self.bind = Some(addr);
        self
    }

    /// Adds a tag, by which clients may filter.
    ///
    /// RPyC's own registry is told none of tags, metadata, weight, zone, TTL and addresses.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.advert.details.tags.insert(tag.into());
        self
    }

    /// Adds a key and a value, for clients to filter by and to read.
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.advert.details.meta.insert(key.into(), value.into());
        self
    }

    /// How much of the load the server is to have beside others. Default 1; 0 is none as long as
    /// there are others.
    pub fn weight(mut self, weight: u16) -> Self {
        self.advert.details.weight = Some(weight);
        self
    }

    /// Where the server is: clients prefer their own zone. Default: nowhere in particular.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.advert.details.zone = Some(zone.into());
        self
    }

    /// How long the registry keeps the server without hearing of it. Default: as the registry has it,
    /// 240 s unless told otherwise; it has bounds of its own.
    ///
    /// A short one makes a dead server vanish soon and a busy network look like a dead server.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.advert.ttl = Some(ttl);
        self
    }

    /// Adds an address that the server is reached by, the best first; its port is the server's unless
    /// told. Default: the one that the registry sees.
    pub fn address(mut self, address: impl Into<Advertised>) -> Self {
        self.advert.addresses.push(address.into());
        self
    }

    /// What the server speaks. Default: RPyC, which needs no word.
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.advert.details.protocol = Some(protocol.into());
        self
    }

    /// Announces the server only while nobody else holds one of its names. Default: beside others.
    ///
    /// While somebody does, the registration is refused and tried again, so that the name is taken
    /// over when it becomes free. RPyC's own registry cannot refuse it, so it is not told at all.
    pub fn exclusive(mut self) -> Self {
        self.advert.is_exclusive = true;
        self
    }

    pub(crate) fn advert(mut self, advert: Advert) -> Self {
        self.advert = advert;
        self
    }

    /// How often to register again. Default 60 s, as in RPyC. A registry that wants to hear it sooner
    /// hears it sooner.
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
    /// itself. Zero waits for no acknowledgement.
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
