//! One name of one instance, with a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rpyc_protocol::registry::native::State;

use super::clock::{Since, Tick};
use super::instance::{Instance, Mark};
use super::service_id::ServiceId;
use crate::store::Ticket;

/// A name served by an instance, until a deadline that moves with each renewal.
///
/// It is shared between the directory, which renews it, and the registry, which ends it. Ending and
/// renewing race on one atomic, so an acknowledged renewal is never lost to a sweep.
///
/// A table may hold a million leases, so every field counts: a lease takes 72 bytes.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Numbers rise with time and are never reused.
    pub(crate) id: u64,
    pub(crate) service: Arc<ServiceId>,
    pub(crate) instance: Arc<Instance>,
    pub(crate) since: Since,
    deadline: AtomicU64,
    /// The lease's position in a [`Queue`](super::queue::Queue); only the queue reads and writes
    /// it.
    queued: AtomicU64,
    /// The lease's position in its service; only the service reads and writes it.
    position: AtomicU32,
    suspicion: AtomicU8,
    /// The state that it is counted in; only the counts read and write it.
    counted_as: AtomicU8,
}

/// Why a lease may be stale though it has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// It has not been renewed since the registry restarted.
    Restarted = 1,
    /// It is overdue, together with too many others.
    Overdue = 2,
}

const ENDED: u64 = 0;

impl Lease {
    pub(crate) fn new(
        id: u64,
        service: Arc<ServiceId>,
        instance: Arc<Instance>,
        since: Since,
        deadline: Tick,
    ) -> Self {
        Self {
            id,
            service,
            instance,
            since,
            deadline: AtomicU64::new(deadline.get()),
            queued: AtomicU64::new(0),
            position: AtomicU32::new(0),
            suspicion: AtomicU8::new(0),
            counted_as: AtomicU8::new(0),
        }
    }

    /// The number of its service, which rises in the order in which names appear.
    pub(crate) fn service_number(&self) -> u64 {
        self.service.number
    }

    /// The bytes of text in its name, its instance's addresses and its details.
    pub(crate) fn text_bytes(&self) -> usize {
        /// The bytes of an address with its port.
        const ADDRESS: usize = 64;
        let details = self.instance.details();
        let words = [&details.zone, &details.protocol].into_iter().flatten().map(String::len);
        let meta = details.meta.iter().map(|(key, value)| key.len() + value.len());
        let details: usize = words.chain(details.tags.iter().map(String::len)).chain(meta).sum();
        self.service.as_str().len() + ADDRESS * self.instance.addresses().count() + details
    }

    /// How long it lasts without renewal.
    pub(crate) fn ttl(&self, default: Duration) -> Duration {
        self.instance.native.as_ref().map_or(default, |native| native.ttl())
    }

    /// When the lease ends, or `None` if it has ended.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        Tick::new(self.deadline.load(Ordering::Acquire))
    }

    /// Moves the deadline later; returns `false` if the lease had ended.
    pub(crate) fn renew(&self, deadline: Tick) -> bool {
        self.deadline
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |current| {
                (current != ENDED).then_some(current.max(deadline.get()))
            })
            .is_ok()
    }

    /// Moves the deadline to that of a renewal that arrived while the process stood still: a stop
    /// that was credited before it was read is no reason to wait longer. Returns `false` if the
    /// lease had ended.
    pub(crate) fn renew_from_arrival(&self, deadline: Tick) -> bool {
        let set = |current| (current != ENDED).then_some(deadline.get());
        self.deadline.fetch_update(Ordering::AcqRel, Ordering::Acquire, set).is_ok()
    }

    /// Ends the lease unless it has been renewed since `deadline` was read; returns whether it
    /// ended it.
    pub(crate) fn end_if_still(&self, deadline: Tick) -> bool {
        self.deadline
            .compare_exchange(deadline.get(), ENDED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    pub(crate) fn end(&self) {
        self.deadline.store(ENDED, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.deadline().is_none()
    }

    pub(super) fn queued(&self) -> &AtomicU64 {
        &self.queued
    }

    pub(super) fn counted_as(&self) -> &AtomicU8 {
        &self.counted_as
    }

    pub(super) fn position(&self) -> &AtomicU32 {
        &self.position
    }

    /// The change that must be durable before a renewal is acknowledged.
    pub(crate) fn ticket(&self) -> Ticket {
        self.instance.ticket()
    }

    pub(crate) fn suspicion(&self) -> Option<Suspicion> {
        match self.suspicion.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Suspicion::Restarted),
            _ => Some(Suspicion::Overdue),
        }
    }

    pub(super) fn set_suspicion(&self, suspicion: Option<Suspicion>) {
        self.suspicion.store(suspicion.map_or(0, |it| it as u8), Ordering::Release);
    }

    /// The state of the lease: the gravest that applies.
    pub(crate) fn state(&self) -> State {
        if self.instance.has(Mark::Draining) || self.instance.has(Mark::Held) {
            State::Draining
        } else if self.instance.has(Mark::Failing) {
            State::Failing
        } else if self.suspicion().is_some() {
            State::Suspect
        } else {
            State::Passing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_as_small_as_it_says() {
        // The `Arc` adds its two counters.
        assert_eq!(size_of::<Lease>() + 2 * size_of::<usize>(), 72);
    }
}
