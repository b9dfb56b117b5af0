//! Waiting for a state.

use std::time::{Duration, Instant};

/// The timeout of a wait that should take milliseconds: long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

const INTERVAL: Duration = Duration::from_millis(10);

/// Calls `probe` until it returns a value, and fails the test if it returns none `within` that
/// time.
///
/// `what` names the awaited state in the failure.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(INTERVAL);
    }
}
