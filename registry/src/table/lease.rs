//! One promise: "this name is served here, until then".

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::State;

use super::clock::Tick;
use super::instance::{Instance, Mark};
use crate::store::Ticket;

/// A name served by an instance, until a deadline that moves with each renewal.
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
    pub(crate) instance: Arc<Instance>,
    pub(crate) since: Instant,
    deadline: AtomicU64,
    /// Where the registry's queue holds it; only the registry reads and writes this.
    queued_for: AtomicU64,
    /// The change that began it: until that is durable, no renewal is acknowledged either.
    ticket: AtomicU64,
    suspicion: AtomicU8,
}

/// Why a lease may not be relied on, though it has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// The registry has restarted and has not heard from it since.
    Restarted = 1,
    /// It is overdue, together with too many others to be believed.
    Overdue = 2,
}

const ENDED: u64 = 0;

impl Lease {
    pub(crate) fn new(
        id: u64,
        (service, service_id): (ServiceName, u64),
        instance: Arc<Instance>,
        since: Instant,
        deadline: Tick,
    ) -> Self {
        Self {
            id,
            service,
            service_id,
            instance,
            since,
            deadline: AtomicU64::new(deadline.get()),
            queued_for: AtomicU64::new(deadline.get()),
            ticket: AtomicU64::new(0),
            suspicion: AtomicU8::new(0),
        }
    }

    /// How long it lasts without renewal.
    pub(crate) fn ttl(&self, default: Duration) -> Duration {
        self.instance.native.as_ref().map_or(default, |native| native.ttl)
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

    pub(crate) fn has_ended(&self) -> bool {
        self.deadline().is_none()
    }

    pub(super) fn queued_for(&self) -> Tick {
        Tick::new(self.queued_for.load(Ordering::Relaxed)).unwrap_or(Tick::FIRST)
    }

    pub(super) fn set_queued_for(&self, tick: Tick) {
        self.queued_for.store(tick.get(), Ordering::Relaxed);
    }

    pub(crate) fn ticket(&self) -> Ticket {
        Ticket::new(self.ticket.load(Ordering::Acquire))
    }

    pub(super) fn set_ticket(&self, ticket: Ticket) {
        self.ticket.store(ticket.get(), Ordering::Release);
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

    /// What is said of it, the gravest first.
    pub(crate) fn state(&self) -> State {
        if self.instance.has(Mark::Draining) {
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
