//! Suspects the registry's own side when most probes fail together.

use std::time::{Duration, Instant};

/// With fewer probed instances than this, no conclusion is possible.
const SAMPLE: usize = 10;

/// The longest time for which failures are held back, at a stretch or with short breaks.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// How much longer than a doubt the quiet after it must be to earn the same time for the next one.
const QUIET_PER_DOUBT: u32 = 10;

/// Counts how many of the passing instances failed their last probe.
///
/// If more than half did, the network or the registry's machine is the more likely cause. The
/// counts use the latest results, so they cover about one interval.
#[derive(Debug, Default)]
pub(super) struct Distrust {
    /// Instances that are not failing and have been probed.
    pub(super) known: usize,
    /// Those of them whose last probe failed.
    pub(super) doubted: usize,
    /// How much of [`LONGEST`] doubts have used. Quiet gives it back slowly, so that servers that
    /// are up for moments only cannot be doubted for ever.
    used: Duration,
    /// When it last looked, and whether it was in doubt then.
    last: Option<(Instant, bool)>,
}

impl Distrust {
    /// Evaluates the counts; returns whether failures are held back.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let is_in_doubt = self.known >= SAMPLE && self.doubted * 2 > self.known;
        if let Some((last, was_in_doubt)) = self.last {
            let passed = now.saturating_duration_since(last);
            self.used = match was_in_doubt {
                true => self.used.saturating_add(passed).min(LONGEST),
                false => self.used.saturating_sub(passed / QUIET_PER_DOUBT),
            };
        }
        self.last = Some((now, is_in_doubt));
        is_in_doubt && self.used < LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_breaks_do_not_prolong_a_doubt() {
        let mut distrust = Distrust { known: 20, ..Distrust::default() };
        let start = Instant::now();
        let mut look = |secs, doubted| {
            distrust.doubted = doubted;
            distrust.look(start + Duration::from_secs(secs))
        };
        assert!(look(0, 20) && look(39, 20));
        assert!(!look(40, 0) && !look(44, 0));
        assert!(look(45, 20) && look(64, 20), "half a second was earned");
        assert!(!look(66, 20), "40 s and 21 s are too much");
        assert!(!look(80, 0) && !look(680, 0));
        assert!(look(681, 20) && look(740, 20), "all of it is earned again");
        assert!(!look(742, 20));
    }
}
