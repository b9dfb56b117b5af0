//! The order in which the changes of one host arrived.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When a request arrived.
///
/// RPyC's servers send UNREGISTER and do not wait for an answer. RPyC's own registry serves one
/// request at a time; this one may serve a request after others that arrived later. An UNREGISTER
/// must not end a registration that arrived after it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When the request was received, if known.
    received: Option<Instant>,
    /// When its connection was accepted. This orders connections among themselves.
    accepted: Option<Instant>,
}

impl Arrival {
    /// The arrival of a request that is neither before nor after others.
    pub const UNKNOWN: Self = Self { received: None, accepted: None };

    /// How long the request has waited to be served.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        self.received.map_or(Duration::ZERO, |received| now.saturating_duration_since(received))
    }

    /// The arrival of a datagram that the system received at this time.
    #[must_use]
    pub fn at(received: Instant) -> Self {
        Self { received: Some(received), accepted: None }
    }

    /// The arrival of a request over a connection. Compared with datagrams, it arrived when it was
    /// `received`, however early its connection was accepted.
    #[must_use]
    pub fn over_connection(accepted: Instant, received: Instant) -> Self {
        Self { received: Some(received), accepted: Some(accepted) }
    }
}

/// The arrival of the latest registration of an instance that has been served; shared between
/// threads.
#[derive(Debug, Default)]
pub(super) struct LatestArrival(
    /// Nanoseconds from the start of the registry, shifted left by one bit. The lowest bit is set
    /// for a connection, which is ordered by when it was accepted. 0 before the first registration.
    AtomicU64,
);

/// An arrival in nanoseconds from the start of the registry, computed once for each request.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    /// `u64::MAX` if it is not known.
    pub(super) received: u64,
    /// What [`LatestArrival`] records.
    ordered_by: Option<u64>,
}

impl Stamp {
    #[inline]
    pub(super) fn new(start: Instant, arrival: &Arrival) -> Self {
        let Some(received) = arrival.received else {
            return Self { received: u64::MAX, ordered_by: None };
        };
        let received = nanos(start, received);
        let ordered_by = match arrival.accepted {
            None => received << 1,
            Some(accepted) => nanos(start, accepted) << 1 | 1,
        };
        Self { received, ordered_by: Some(ordered_by) }
    }
}

impl LatestArrival {
    /// Records a registration.
    #[inline]
    pub(super) fn note(&self, stamp: Stamp) {
        if let Some(ordered_by) = stamp.ordered_by {
            self.0.fetch_max(ordered_by, Ordering::AcqRel);
        }
    }

    /// Whether a request arrived before the latest registration that has been served.
    pub(super) fn is_after(&self, start: Instant, arrival: &Arrival) -> bool {
        let latest = self.0.load(Ordering::Acquire);
        let is_connection = latest & 1 == 1;
        let at = arrival.accepted.filter(|_| is_connection).or(arrival.received);
        at.is_some_and(|at| nanos(start, at) < latest >> 1)
    }
}

fn nanos(start: Instant, at: Instant) -> u64 {
    super::clock::nanos(at.saturating_duration_since(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_ordered_by_their_arrival_and_connections_by_their_acceptance() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let datagram = |millis| Arrival::at(at(millis));
        let connection = |accepted, received| Arrival::over_connection(at(accepted), at(received));
        let check = |registered: Arrival, request: Arrival, is_late| {
            let latest = LatestArrival::default();
            assert!(!latest.is_after(start, &request), "nothing is registered yet");
            latest.note(Stamp::new(start, &registered));
            assert_eq!(latest.is_after(start, &request), is_late, "{registered:?} {request:?}");
        };
        check(datagram(5), datagram(4), true);
        check(datagram(5), datagram(5), false);
        check(datagram(5), datagram(6), false);
        check(connection(5, 5), connection(4, 9), true);
        check(connection(4, 9), connection(5, 5), false);
        // A connection that was opened long before sends its UNREGISTER only now.
        check(datagram(5), connection(1, 9), false);
        check(datagram(5), connection(4, 4), true);
        check(connection(5, 5), datagram(4), true);
        check(connection(5, 5), datagram(6), false);
    }

    #[test]
    fn the_latest_arrival_counts_in_whatever_order_registrations_are_served() {
        let start = Instant::now();
        let at = |millis| Arrival::at(start + Duration::from_millis(millis));
        let latest = LatestArrival::default();
        for millis in [3, 9, 5] {
            latest.note(Stamp::new(start, &at(millis)));
        }
        assert!(latest.is_after(start, &at(8)) && !latest.is_after(start, &at(9)));
    }
}
