//! One promise: "this name is served here, until then".

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rpyc_protocol::ServiceName;
use rpyc_protocol::brine::{EncodeError, Writer};
use rpyc_protocol::registry::Port;

use super::Host;
use super::clock::Tick;

/// A name served on a port of a host, until a deadline that moves with each renewal.
///
/// Shared between the directory, which renews it, and the registry, which ends it. Ending and
/// renewing race on one atomic, so a renewal that was acknowledged is never lost to a sweep.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Numbers rise with time and are never used again.
    pub(crate) id: u64,
    pub(crate) service: ServiceName,
    /// The number of the service, which rises in the order in which names appear.
    pub(crate) service_id: u64,
    pub(crate) host: Host,
    pub(crate) port: Port,
    pub(crate) since: Instant,
    /// `(host, port)` as brine, written once instead of at every query.
    pub(crate) entry: Box<[u8]>,
    deadline: AtomicU64,
    /// Where the registry's queue holds it; only the registry reads and writes this.
    queued_for: AtomicU64,
}

const ENDED: u64 = 0;

impl Lease {
    pub(crate) fn new(
        id: u64,
        (service, service_id): (ServiceName, u64),
        (host, port): (Host, Port),
        since: Instant,
        deadline: Tick,
    ) -> Result<Self, EncodeError> {
        let mut entry = Vec::new();
        encode_entry(&mut entry, &host.ip().to_string(), &port)?;
        Ok(Self {
            id,
            service,
            service_id,
            host,
            port,
            since,
            entry: entry.into(),
            deadline: AtomicU64::new(deadline.get()),
            queued_for: AtomicU64::new(deadline.get()),
        })
    }

    /// When the lease ends, or `None` once it has been ended.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        Tick::new(self.deadline.load(Ordering::Acquire))
    }

    /// Moves the deadline; tells whether the lease was still there to be renewed.
    pub(crate) fn renew(&self, deadline: Tick) -> bool {
        self.deadline
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |current| {
                (current != ENDED).then_some(current.max(deadline.get()))
            })
            .is_ok()
    }

    /// Ends the lease unless it has been renewed since `deadline` was read; tells whether it did.
    pub(crate) fn end_if_still(&self, deadline: Tick) -> bool {
        self.deadline
            .compare_exchange(deadline.get(), ENDED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    pub(crate) fn end(&self) {
        self.deadline.store(ENDED, Ordering::Release);
    }

    pub(super) fn queued_for(&self) -> Tick {
        Tick::new(self.queued_for.load(Ordering::Relaxed)).unwrap_or(Tick::FIRST)
    }

    pub(super) fn set_queued_for(&self, tick: Tick) {
        self.queued_for.store(tick.get(), Ordering::Relaxed);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.deadline().is_none()
    }
}

/// Appends `(host, port)` as brine.
pub(crate) fn encode_entry(out: &mut Vec<u8>, host: &str, port: &Port) -> Result<(), EncodeError> {
    let mut out = Writer::new(out);
    out.tuple(2)?.str(host)?;
    port.encode(&mut out)
}
