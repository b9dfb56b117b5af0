//! The log of what clients do wrong, which they cannot flood.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::lock::lock;

/// How often the lines that were left out are counted up.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// The system does not let clients in.
    CannotAccept,
    /// A client was disconnected for what it sent.
    Disconnected,
    /// A client that had said nothing gave way to another.
    Displaced,
    /// The service itself does not want a client.
    NotWelcome,
    /// No TLS with a client.
    NoTls,
    /// Only reserved places are left.
    Reserved,
    /// A client said nothing for too long.
    Silent,
    /// There are too many clients.
    TooMany,
    /// There are too many clients of one address.
    TooManyOfAddress,
}

impl Topic {
    const ALL: [Self; 9] = [
        Self::CannotAccept,
        Self::Disconnected,
        Self::Displaced,
        Self::NotWelcome,
        Self::NoTls,
        Self::Reserved,
        Self::Silent,
        Self::TooMany,
        Self::TooManyOfAddress,
    ];

    /// How many lines in one period.
    fn lines(self) -> u64 {
        match self {
            // Each has a reason of its own.
            Self::Disconnected | Self::NoTls | Self::NotWelcome => 50,
            Self::CannotAccept => 10,
            _ => 1,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::CannotAccept => "failures to accept clients",
            Self::Disconnected => "clients disconnected for what they sent",
            Self::Displaced => "silent clients disconnected to make room",
            Self::NotWelcome => "clients refused by the service",
            Self::NoTls => "clients without TLS",
            Self::Reserved => "clients hung up on, as only reserved connections were left",
            Self::Silent => "clients disconnected that sent no request",
            Self::TooMany => "clients hung up on, as there were too many connections",
            Self::TooManyOfAddress => {
                "clients hung up on, as there were too many connections of one address"
            }
        }
    }
}

/// Lets a few lines of each topic through in each period, and counts the others.
#[derive(Debug)]
pub(super) struct Throttle(Mutex<Period>);

#[derive(Debug)]
struct Period {
    since: Instant,
    counts: [u64; Topic::ALL.len()],
}

impl Throttle {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Period { since: now, counts: [0; Topic::ALL.len()] }))
    }

    /// Whether to log another line about `topic`.
    pub(super) fn allows(&self, topic: Topic) -> bool {
        let mut period = lock(&self.0);
        let Some(count) = period.counts.get_mut(topic as usize) else { return true };
        *count += 1;
        *count <= topic.lines()
    }

    /// Begins a new period; returns how many lines of each topic were left out of the old one, and
    /// how long that was.
    pub(super) fn turn(&self, now: Instant) -> (Duration, Vec<(Topic, u64)>) {
        let mut period = lock(&self.0);
        let lasted = now.saturating_duration_since(period.since);
        let counts = Topic::ALL.into_iter().zip(std::mem::take(&mut period.counts));
        let left_out = counts
            .filter_map(|(topic, count)| Some((topic, count.checked_sub(topic.lines())?)))
            .filter(|(_, count)| *count > 0)
            .collect();
        period.since = now;
        (lasted, left_out)
    }

    /// Logs how many lines were left out since the last time.
    pub(super) fn report(&self, now: Instant) {
        let (lasted, left_out) = self.turn(now);
        for (topic, count) in left_out {
            tracing::warn!(count, "in {lasted:.0?} more {}", topic.what());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let start = Instant::now();
        let throttle = Throttle::new(start);
        let allowed = |topic| (0..100).filter(|_| throttle.allows(topic)).count();
        assert_eq!((allowed(Topic::TooMany), allowed(Topic::Disconnected)), (1, 50));
        assert!(throttle.allows(Topic::Silent));
        let (lasted, left_out) = throttle.turn(start + PERIOD);
        assert_eq!(
            (lasted, left_out),
            (PERIOD, vec![(Topic::Disconnected, 50), (Topic::TooMany, 99)])
        );
        assert!(throttle.turn(start + PERIOD).1.is_empty());
        assert!(throttle.allows(Topic::TooMany), "a new period");
    }

    #[test]
    fn each_topic_has_its_own_count() {
        for (at, topic) in Topic::ALL.into_iter().enumerate() {
            assert_eq!(topic as usize, at);
        }
    }
}
