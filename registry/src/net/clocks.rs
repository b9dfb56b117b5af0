//! Converts the stamps of datagrams, which are times of the wall clock, to monotonic time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Readings of both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) now: Instant,
    wall: Duration,
}

impl Clocks {
    /// The longest time that a datagram counts as waiting. It bounds the error if the wall clock is
    /// set forward between the stamp and its reading.
    const LONGEST_WAIT: Duration = Duration::from_secs(2);

    /// The most that the monotonic clock may move between two readings of one moment.
    const ONE_MOMENT: Duration = Duration::from_micros(20);

    /// Reads both clocks.
    pub(crate) fn read() -> Self {
        let mut before = monotonic_clock();
        // Another thread may run between two readings, but seldom twice.
        for _ in 0..3 {
            let wall = wall_clock();
            let now = monotonic_clock();
            if now.saturating_duration_since(before) < Self::ONE_MOMENT {
                return Self { now, wall };
            }
            before = now;
        }
        Self { now: before, wall: wall_clock() }
    }

    /// When a datagram with this stamp arrived, by the monotonic clock; never later than now.
    pub(crate) fn arrival(&self, stamp: Duration) -> Instant {
        let waited = self.wall.saturating_sub(stamp).min(Self::LONGEST_WAIT);
        self.now.checked_sub(waited).unwrap_or(self.now)
    }
}

fn monotonic_clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, since its epoch. The system stamps datagrams with it; it orders the datagrams of
/// several sockets and decides nothing else.
#[expect(clippy::disallowed_methods, reason = "the system stamps datagrams by this clock")]
pub(crate) fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_is_as_long_ago_as_its_stamp_within_bounds() {
        let now = Instant::now() + Duration::from_secs(100);
        let clocks = Clocks { now, wall: Duration::from_secs(1000) };
        let ago = |stamp: Duration| now - clocks.arrival(stamp);
        assert_eq!(ago(Duration::from_millis(999_990)), Duration::from_millis(10));
        assert_eq!(ago(Duration::from_secs(1000)), Duration::ZERO);
        assert_eq!(ago(Duration::from_secs(1003)), Duration::ZERO, "the clock was set back");
        assert_eq!(ago(Duration::from_secs(3)), Duration::from_secs(2), "it was set forward");
    }
}
