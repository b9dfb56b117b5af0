//! Counts every lost or refused message, and logs each kind at most once a minute.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native;
use tracing::warn;

use crate::refusal::Refusal;

/// The least time between two logs of one kind of loss.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The counter of answers in RPyC's protocol that left something out. They were served, so they are
/// not a [`Loss`].
pub const ANSWERS_CUT: &str = "answers-cut";

/// The reason why a message or a connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// A message that is not a request.
    Malformed,
    /// A message longer than any request.
    TooLong,
    /// A request beyond a limit on registrations.
    LimitReached,
    /// A request from a source that exceeds its rate.
    RateLimited,
    /// A datagram to an address that this registry does not serve.
    NotForUs,
    /// A request that is invalid, or that the asker has no right to.
    Refused,
    /// A request that arrived before the table was read.
    NotReady,
    /// An answer that could not be sent.
    NotSent,
    /// An answer that waited for the store while too many others did.
    NotQueued,
    /// A TCP client that did not send its request or read its answer in time.
    Deadline,
    /// A TCP connection closed to make room for another.
    Displaced,
    /// A TCP connection that broke, or ended inside a request.
    Broken,
    /// An error of a listening socket.
    Socket,
    /// A request that was shed under overload.
    Overloaded,
    /// A datagram that the system dropped because it had no room for it.
    DroppedBySystem,
}

impl Loss {
    /// Every kind, in the order of their counters.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::TooLong,
        Self::LimitReached,
        Self::RateLimited,
        Self::NotForUs,
        Self::Refused,
        Self::NotReady,
        Self::NotSent,
        Self::NotQueued,
        Self::Deadline,
        Self::Displaced,
        Self::Broken,
        Self::Socket,
        Self::Overloaded,
        Self::DroppedBySystem,
    ];

    /// The name of this kind in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too-long",
            Self::LimitReached => "limit-reached",
            Self::RateLimited => "rate-limited",
            Self::NotForUs => "not-for-us",
            Self::Refused => "refused",
            Self::NotReady => "not-ready",
            Self::NotSent => "not-sent",
            Self::NotQueued => "not-queued",
            Self::Deadline => "deadline",
            Self::Displaced => "displaced",
            Self::Broken => "broken",
            Self::Socket => "socket",
            Self::Overloaded => "overloaded",
            Self::DroppedBySystem => "dropped-by-system",
        }
    }
}

impl From<&Refusal> for Loss {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Address(_)
            | Refusal::Details(_)
            | Refusal::Dialect(_)
            | Refusal::Host(_)
            | Refusal::Name(_)
            | Refusal::Native(_)
            | Refusal::NeedsTcp
            | Refusal::NoNames
            | Refusal::NoRoom
            | Refusal::NoTarget
            | Refusal::Port(_)
            | Refusal::UnknownOperation
            | Refusal::Request(_)
            | Refusal::Unwritable(_) => Self::Malformed,
            Refusal::Overloaded => Self::Overloaded,
            Refusal::TooLong { .. } => Self::TooLong,
            Refusal::NameTooLong { .. }
            | Refusal::KeyTooLong { .. }
            | Refusal::TooManyAddresses { .. }
            | Refusal::TooManyInstances { .. }
            | Refusal::TooManyInstancesOfSource { .. }
            | Refusal::TooManyNames { .. }
            | Refusal::TooManyRegistrations { .. } => Self::LimitReached,
            Refusal::TooOften { .. } => Self::RateLimited,
            Refusal::AddressNotAllowed { .. }
            | Refusal::AddressTaken { .. }
            | Refusal::CookieRequired
            | Refusal::ListingForbidden
            | Refusal::NameTaken { .. }
            | Refusal::NotAnOperator
            | Refusal::UnknownLease
            | Refusal::UnknownTarget => Self::Refused,
        }
    }
}

/// The counters of one registry.
#[derive(Debug)]
pub struct Counters {
    pub(crate) probes: ProbeCounters,
    start: Instant,
    losses: [Counter; Loss::ALL.len()],
}

/// The counts of the probes of one registry.
#[derive(Debug, Default)]
pub(crate) struct ProbeCounters {
    done: AtomicU64,
    failed: AtomicU64,
    unable: AtomicU64,
    instances: AtomicU64,
    in_flight: AtomicU64,
    is_holding_back: AtomicBool,
}

impl ProbeCounters {
    /// Counts a probe that ended, with any result.
    pub(crate) fn done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a probe that the server did not answer.
    pub(crate) fn failed(&self) {
        self.done();
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a probe that could not be made.
    pub(crate) fn unable(&self) {
        self.done();
        self.unable.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, instances: usize, in_flight: usize, is_holding_back: bool) {
        let big = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.instances.store(big(instances), Ordering::Relaxed);
        self.in_flight.store(big(in_flight), Ordering::Relaxed);
        self.is_holding_back.store(is_holding_back, Ordering::Relaxed);
    }

    /// The current counts, for a status reply.
    pub(crate) fn snapshot(&self) -> native::Probes {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        native::Probes {
            instances: read(&self.instances),
            in_flight: read(&self.in_flight),
            done: read(&self.done),
            failed: read(&self.failed),
            unable: read(&self.unable),
            holding_back: self.is_holding_back.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug, Default)]
struct Counter {
    total: AtomicU64,
    /// The total when it was last logged.
    logged: AtomicU64,
    /// When it may be logged again, in nanoseconds since the start.
    quiet_until: AtomicU64,
}

impl Counters {
    /// Counters at zero.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self { probes: ProbeCounters::default(), start, losses: Default::default() }
    }

    /// The number of losses of this kind.
    #[must_use]
    pub fn total(&self, loss: Loss) -> u64 {
        self.counter(loss).map_or(0, |counter| counter.total.load(Ordering::Relaxed))
    }

    /// Counts a loss whose reason the asker has received.
    pub fn count(&self, loss: Loss) {
        if let Some(counter) = self.counter(loss) {
            counter.total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a loss. Logs it with its reason and its source, unless that kind was logged within
    /// the last minute.
    pub fn lost(&self, now: Instant, loss: Loss, source: impl Display, reason: impl Display) {
        self.lost_many(now, loss, 1, source, reason);
    }

    /// Like [`Counters::lost`], for `count` losses found together.
    pub fn lost_many(
        &self,
        now: Instant,
        loss: Loss,
        count: u64,
        source: impl Display,
        reason: impl Display,
    ) {
        let Some(counter) = self.counter(loss) else { return };
        let total = counter.total.fetch_add(count, Ordering::Relaxed) + count;
        if let Some(since_last) = counter.may_log(now.saturating_duration_since(self.start), total)
        {
            warn!(
                kind = loss.as_str(), %source, %reason, count = since_last, total,
                "a message was not served"
            );
        }
    }

    fn counter(&self, loss: Loss) -> Option<&Counter> {
        Loss::ALL.iter().position(|&it| it == loss).and_then(|index| self.losses.get(index))
    }
}

impl Counter {
    /// The number of losses to log now; `None` if this kind was logged recently.
    fn may_log(&self, elapsed: Duration, total: u64) -> Option<u64> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(elapsed);
        let quiet_until = self.quiet_until.load(Ordering::Relaxed);
        let next = now.saturating_add(nanos(LOG_INTERVAL));
        let is_first = now >= quiet_until
            && self
                .quiet_until
                .compare_exchange(quiet_until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        is_first.then(|| total - self.logged.swap(total, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_logged_once_a_minute_with_what_it_stands_for() {
        let counter = Counter::default();
        let at = Duration::from_secs;
        assert_eq!(counter.may_log(at(5), 1), Some(1));
        assert_eq!(counter.may_log(at(6), 2), None);
        assert_eq!(counter.may_log(at(64), 1000), None);
        assert_eq!(counter.may_log(at(65), 1001), Some(1000));
        assert_eq!(counter.may_log(at(66), 1002), None);
    }

    #[test]
    fn every_kind_has_its_own_counter() {
        let now = Instant::now();
        let counters = Counters::new(now);
        counters.lost(now, Loss::Malformed, "a", "b");
        counters.lost(now, Loss::Malformed, "a", "b");
        counters.lost(now, Loss::Socket, "a", "b");
        counters.lost_many(now, Loss::DroppedBySystem, 7, "a", "b");
        let totals: Vec<_> = Loss::ALL.into_iter().map(|loss| counters.total(loss)).collect();
        assert_eq!(totals, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7]);
    }
}
