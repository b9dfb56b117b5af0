//! Suspects the registry's own side when most probes fail together.

use std::time::{Duration, Instant};

/// With fewer probed instances than this, no conclusion is possible.
const SAMPLE: usize = 10;

/// The longest time for which failures are held back.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

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
    since: Option<Instant>,
}

impl Distrust {
    /// Evaluates the counts; returns whether failures are held back.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        if self.known < SAMPLE || self.doubted * 2 <= self.known {
            self.since = None;
            return false;
        }
        now.saturating_duration_since(*self.since.get_or_insert(now)) < LONGEST
    }
}
