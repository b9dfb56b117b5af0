//! When most probes fail at once, the prober doubts itself first.

use std::time::{Duration, Instant};

/// With fewer instances than this that could be tried, nothing can be concluded.
const SAMPLE: usize = 10;

/// How long failures are held back at most.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// Counts how many of the instances that are thought to serve failed their last probe.
///
/// If that is more than half, the network or the machine of the registry is the likelier cause. The
/// counts are of the latest results, so they speak of about one interval.
#[derive(Debug, Default)]
pub(super) struct Distrust {
    /// Instances that are not failing and have been probed.
    pub(super) known: usize,
    /// Those of them whose last probe failed.
    pub(super) doubted: usize,
    since: Option<Instant>,
}

impl Distrust {
    /// Looks at the counts; tells whether failures are to be held back.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        if self.known < SAMPLE || self.doubted * 2 <= self.known {
            self.since = None;
            return false;
        }
        now.saturating_duration_since(*self.since.get_or_insert(now)) < LONGEST
    }
}
