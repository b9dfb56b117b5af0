//! One running server.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{Details, LeaseId, Target};

use super::arrival::LatestArrival;
use crate::host::Host;
use crate::host::parse_host;
use crate::store::Ticket;

/// A server at one host and port, with the leases of its names.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Numbers rise with time and are never reused.
    pub(crate) id: u64,
    pub(crate) host: Host,
    pub(crate) port: Port,
    /// The additional properties of a native registration.
    pub(crate) native: Option<Box<Native>>,
    /// When it first registered, in seconds of the wall clock; for display only.
    pub(crate) registered_at: u64,
    marks: AtomicU8,
    /// Leases that have not ended; only the registry changes it.
    pub(super) leases: AtomicU32,
    /// The last change of it that was stored: no renewal is acknowledged until that is durable.
    ticket: AtomicU64,
    /// When its latest registration in RPyC's own protocol arrived.
    pub(super) latest_arrival: LatestArrival,
}

/// The properties that only a native registration has.
#[derive(Debug)]
pub(crate) struct Native {
    /// Proves the identity of the registrant.
    pub(crate) lease: LeaseId,
    /// Where the registration came from.
    pub(crate) registrant: Host,
    /// The idempotency key of the registration.
    pub(crate) key: Option<Box<str>>,
    ttl_ms: u64,
    /// The addresses that its registrant named, the preferred first; empty if it named none.
    pub(crate) addresses: Box<[SocketAddr]>,
    /// `None` if the registrant gave none, as most do.
    details: RwLock<Option<Arc<Details>>>,
}

impl Native {
    pub(crate) fn new(
        lease: LeaseId,
        registrant: Host,
        key: Option<Box<str>>,
        ttl: Duration,
        addresses: Box<[SocketAddr]>,
        details: Details,
    ) -> Self {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let details = RwLock::new(boxed(details));
        Self { lease, registrant, key, ttl_ms, addresses, details }
    }

    /// How long its leases last.
    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    pub(crate) fn details(&self) -> Arc<Details> {
        self.details.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    pub(super) fn set_details(&self, details: Details) {
        *self.details.write().unwrap_or_else(PoisonError::into_inner) = boxed(details);
    }
}

fn boxed(details: Details) -> Option<Arc<Details>> {
    (details != Details::default()).then(|| Arc::new(details))
}

/// A property of an instance as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Its registrant wants it to get no new clients.
    Draining = 1,
    /// Probes find that it does not serve.
    Failing = 2,
    /// An operator has drained its endpoint.
    Held = 8,
    /// No other instance may hold one of its names.
    Exclusive = 16,
}

impl Instance {
    pub(crate) fn new(
        id: u64,
        (host, port): (Host, Port),
        native: Option<Box<Native>>,
        registered_at: u64,
    ) -> Self {
        Self {
            id,
            host,
            port,
            native,
            registered_at,
            marks: AtomicU8::new(0),
            leases: AtomicU32::new(0),
            ticket: AtomicU64::new(0),
            latest_arrival: LatestArrival::default(),
        }
    }

    pub(super) fn ticket(&self) -> Ticket {
        Ticket::new(self.ticket.load(Ordering::Acquire))
    }

    pub(super) fn set_ticket(&self, ticket: Ticket) {
        self.ticket.store(ticket.get(), Ordering::Release);
    }

    /// How many leases it has.
    pub(super) fn lease_count(&self) -> usize {
        usize::try_from(self.leases.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// The bytes of its details and of the other properties that have no fixed size.
    pub(super) fn bytes(&self) -> usize {
        let Some(native) = &self.native else { return 0 };
        let Details { tags, meta, zone, protocol, .. } = &*native.details();
        let words = tags.iter().chain(meta.iter().flat_map(|(key, value)| [key, value]));
        let words = words.chain(zone).chain(protocol).map(String::len);
        let addresses = size_of_val(&*native.addresses);
        words.sum::<usize>() + addresses + native.key.as_ref().map_or(0, |key| key.len())
    }

    pub(crate) fn is_legacy(&self) -> bool {
        self.native.is_none()
    }

    pub(crate) fn has(&self, mark: Mark) -> bool {
        self.marks.load(Ordering::Acquire) & mark as u8 != 0
    }

    /// Sets or clears a mark; returns whether that changed anything.
    pub(super) fn set(&self, mark: Mark, is_set: bool) -> bool {
        let bit = mark as u8;
        let before = if is_set {
            self.marks.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.marks.fetch_and(!bit, Ordering::AcqRel)
        };
        (before & bit != 0) != is_set
    }

    /// The addresses that its registrant named, the preferred first.
    fn named(&self) -> &[SocketAddr] {
        self.native.as_ref().map(|native| &*native.addresses).unwrap_or_default()
    }

    /// Its addresses, the preferred first: those that the registrant named, or host and port.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (Host, Port)> {
        let named = self.named();
        let observed = named.is_empty().then(|| (self.host, self.port.clone()));
        let named = named
            .iter()
            .filter_map(|address| Some((Host::from(*address), Port::tcp(address.port()).ok()?)));
        observed.into_iter().chain(named)
    }

    /// Whether it has no address but its host and port.
    pub(crate) fn is_only_at_host(&self) -> bool {
        match self.named() {
            [] => true,
            [only] => Host::from(*only) == self.host,
            _ => false,
        }
    }

    /// The host that the registration came from.
    pub(crate) fn registrant(&self) -> Host {
        self.native.as_ref().map_or(self.host, |native| native.registrant)
    }

    /// Whether it is registered at this address.
    pub(crate) fn is_at(&self, ip: IpAddr) -> bool {
        self.host.ip() == ip || self.named().iter().any(|address| address.ip() == ip)
    }

    /// Whether `target` selects this instance, regardless of its name.
    pub(crate) fn is_meant_by(&self, target: &Target) -> bool {
        let lease = self.native.as_ref().map(|native| native.lease);
        let ip = target.host.as_deref().map(parse_host);
        (target.lease.is_none() || target.lease == lease)
            && target.instance.is_none_or(|id| self.id == id)
            && ip.is_none_or(|ip| ip.is_some_and(|ip| self.is_at(ip)))
            && target.port.as_ref().is_none_or(|port| self.port == *port)
    }

    /// The details that its registrant gave.
    pub(crate) fn details(&self) -> Arc<Details> {
        self.native.as_ref().map(|native| native.details()).unwrap_or_default()
    }
}
