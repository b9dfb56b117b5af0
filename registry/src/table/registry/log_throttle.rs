//! The limit on log lines about single changes.

use std::time::Duration;

use rpyc_protocol::registry::Port;
use tracing::{Value, info};

use crate::table::clock::Tick;

/// Changes logged within a second. When every server returns at once, no reader needs more lines,
/// and writing them would take longer than serving the requests.
const LINES: u64 = 100;

const SECOND: Duration = Duration::from_secs(1);

/// A port as a field of the log: a number, or the path as text.
pub(super) fn logged(port: &Port) -> &dyn Value {
    match port {
        Port::Tcp(port) => port,
        Port::Path(path) => path,
    }
}

/// Logs the first changes of every second, and the number of the others.
#[derive(Debug)]
pub(super) struct LogThrottle {
    since: Tick,
    changes: u64,
}

impl LogThrottle {
    pub(super) fn new() -> Self {
        Self { since: Tick::FIRST, changes: 0 }
    }

    /// Whether the next change is logged.
    pub(super) fn admits(&mut self) -> bool {
        self.changes += 1;
        self.changes <= LINES
    }

    /// Begins the next second if this one is over; returns how many changes it left out of the log.
    pub(super) fn turn(&mut self, now: Tick) -> u64 {
        if now.since(self.since) < SECOND {
            return 0;
        }
        let omitted = self.changes.saturating_sub(LINES);
        *self = Self { since: now, changes: 0 };
        if omitted > 0 {
            info!(
                changes = omitted,
                "further changes, not logged one by one: `rpyc-registry watch` shows all"
            );
        }
        omitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_every_second_are_told_and_the_others_counted() {
        let mut log_throttle = LogThrottle::new();
        let told = (0..LINES + 7).filter(|_| log_throttle.admits()).count();
        assert_eq!(u64::try_from(told).unwrap(), LINES);
        let at = |millis| Tick::FIRST.after(Duration::from_millis(millis));
        assert_eq!(log_throttle.turn(at(999)), 0);
        assert!(!log_throttle.admits());
        assert_eq!(log_throttle.turn(at(1000)), 8);
        assert!(log_throttle.admits());
        assert_eq!(log_throttle.turn(at(2000)), 0);
    }
}
