//! Counts every lost or refused message, and logs a sample of each kind.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native;
use tracing::{info, warn};

use crate::refusal::Refusal;

/// The time for which a kind of loss is logged at most [`LINES`] times.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The most lines about one kind of loss in that time.
const LINES: u64 = 10;

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
            | Refusal::SocketPath(_)
            | Refusal::Unwritable(_) => Self::Malformed,
            Refusal::Overloaded => Self::Overloaded,
            Refusal::TooLong { .. } => Self::TooLong,
            Refusal::NameTooLong { .. }
            | Refusal::KeyTooLong { .. }
            | Refusal::TooManyAddresses { .. }
            | Refusal::TooManyBytes { .. }
            | Refusal::TooManyLegacyBytes { .. }
            | Refusal::TooManyRegistrationsOfSource { .. }
            | Refusal::TooManyInstances { .. }
            | Refusal::TooManyInstancesOfSource { .. }
            | Refusal::TooManyNames { .. }
            | Refusal::TooManyRegistrations { .. } => Self::LimitReached,
            Refusal::TooOften { .. } | Refusal::AnswersTooLong { .. } => Self::RateLimited,
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
    /// When the next interval begins, in nanoseconds since the start.
    next_interval: AtomicU64,
    /// The lines in this interval.
    lines: AtomicU64,
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

    /// Counts a request that was refused with a reply that states the reason. Logs it with its
    /// source, unless that kind was logged too often within the last minute.
    pub fn refused(&self, now: Instant, loss: Loss, source: impl Display, reason: impl Display) {
        if let Some((count, total)) = self.note(now, loss, 1) {
            info!(kind = loss.as_str(), %source, %reason, count, total, "a request was refused");
        }
    }

    /// Counts a loss. Logs it with its reason and its source, unless that kind was logged too often
    /// within the last minute.
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
        if let Some((count, total)) = self.note(now, loss, count) {
            warn!(kind = loss.as_str(), %source, %reason, count, total, "a message was not served");
        }
    }

    /// Counts losses. Returns the number to log now, if any, and the total.
    fn note(&self, now: Instant, loss: Loss, count: u64) -> Option<(u64, u64)> {
        let counter = self.counter(loss)?;
        let total = counter.total.fetch_add(count, Ordering::Relaxed) + count;
        let elapsed = now.saturating_duration_since(self.start);
        counter.may_log(elapsed, total).map(|since_last| (since_last, total))
    }

    fn counter(&self, loss: Loss) -> Option<&Counter> {
        Loss::ALL.iter().position(|&it| it == loss).and_then(|index| self.losses.get(index))
    }
}

impl Counter {
    /// The number of losses to log now; `None` if this kind was logged often enough.
    fn may_log(&self, elapsed: Duration, total: u64) -> Option<u64> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(elapsed);
        let end = self.next_interval.load(Ordering::Relaxed);
        let next = now.saturating_add(nanos(LOG_INTERVAL));
        let is_first = now >= end
            && self
                .next_interval
                .compare_exchange(end, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_first {
            self.lines.store(0, Ordering::Relaxed);
        }
        let is_full = || self.lines.load(Ordering::Relaxed) >= LINES;
        if is_full() || self.lines.fetch_add(1, Ordering::Relaxed) >= LINES {
            return None;
        }
        // Another thread may have logged a later total.
        Some(total.saturating_sub(self.logged.fetch_max(total, Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_logged_ten_times_a_minute_with_the_number_of_losses_since() {
        let counter = Counter::default();
        let at = Duration::from_secs;
        for total in 1..=LINES {
            assert_eq!(counter.may_log(at(5), total), Some(1));
        }
        assert_eq!(counter.may_log(at(6), LINES + 1), None);
        assert_eq!(counter.may_log(at(64), 1000), None);
        assert_eq!(counter.may_log(at(65), 1001), Some(1001 - LINES));
        assert_eq!(counter.may_log(at(66), 1002), Some(1));
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
