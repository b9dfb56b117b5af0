//! When to register again.

use std::time::Duration;

/// How soon after the first failure to try again.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// The longest pause while no registry acknowledges. Each try lasts some seconds itself; RPyC's
/// servers try every 3 s.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// The shortest time that a registry may want: it is not to keep this program busy.
const SHORTEST: Duration = Duration::from_millis(20);

/// Decides how long to wait after each try; reads neither clock nor randomness.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    interval: Duration,
    retry: Duration,
}

impl Backoff {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, retry: FIRST_RETRY.min(interval) }
    }

    /// How long to wait after an acknowledgement: the interval, or what the registry wants if that
    /// is shorter, or up to a twentieth less, so that servers that started together do not stay
    /// together.
    ///
    /// `chance` is from 0 to 1.
    pub(super) fn after_success(&mut self, hint: Option<Duration>, chance: f64) -> Duration {
        self.retry = FIRST_RETRY.min(self.interval);
        let pause =
            hint.map_or(self.interval, |hint| hint.clamp(SHORTEST, SHORTEST.max(self.interval)));
        pause.mul_f64(1.0 - chance / 20.0)
    }

    /// How long to wait after a failure: twice as long each time, up to a bound, and off by up to a
    /// quarter.
    pub(super) fn after_failure(&mut self, chance: f64) -> Duration {
        let retry = self.retry;
        self.retry = (retry * 2).min(LAST_RETRY).min(self.interval);
        retry.mul_f64(0.75 + chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_come_a_little_early_and_never_late() {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        assert_eq!(backoff.after_success(None, 0.0), Duration::from_secs(60));
        assert_eq!(backoff.after_success(None, 1.0), Duration::from_secs(57));
        let hint = Some(Duration::from_secs(10));
        assert_eq!(backoff.after_success(hint, 0.0), Duration::from_secs(10));
        assert_eq!(backoff.after_success(Some(Duration::MAX), 0.0), Duration::from_secs(60));
        assert_eq!(backoff.after_success(Some(Duration::ZERO), 0.0), SHORTEST);
    }

    #[test]
    fn failures_are_followed_by_growing_gaps_until_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        for millis in [500, 1000, 2000, 4000, 5000, 5000] {
            assert_eq!(backoff.after_failure(0.5), Duration::from_millis(millis));
        }
        backoff.after_success(None, 0.5);
        assert_eq!(backoff.after_failure(0.0), Duration::from_millis(375));
        assert_eq!(backoff.after_failure(1.0), Duration::from_millis(1250));
    }

    #[test]
    fn no_gap_is_longer_than_the_interval() {
        let mut backoff = Backoff::new(Duration::from_millis(100));
        for _ in 0..5 {
            assert_eq!(backoff.after_failure(0.5), Duration::from_millis(100));
        }
    }
}
