//! How often each source may ask.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::host::Host;

/// The number of buckets. Sources share one only if an unpredictable hash collides. So forged
/// source addresses cost no memory and cannot aim at another source's bucket.
const BUCKETS: usize = 1 << 16;

/// A token bucket for each source: so many requests a second, with bursts of one second's worth.
///
/// A bucket is one number: the time at which it will be full again (the generic cell rate
/// algorithm). It needs no refilling and no sweeping.
#[derive(Debug)]
pub(super) struct Rate {
    start: Instant,
    hasher: RandomState,
    /// When each bucket is full again, in nanoseconds since `start`.
    full_at: Box<[AtomicU64]>,
    /// The nanoseconds until a token returns; `None` admits everything.
    per_token: Option<u64>,
}

impl Rate {
    /// Admits `per_second` requests a second from each source; 0 means any number.
    #[must_use]
    pub(super) fn new(start: Instant, per_second: u32) -> Self {
        let per_token = 1_000_000_000_u64.checked_div(per_second.into());
        let buckets = if per_token.is_some() { BUCKETS } else { 0 };
        let full_at = (0..buckets).map(|_| AtomicU64::new(0)).collect();
        Self { start, hasher: RandomState::new(), full_at, per_token }
    }

    /// Takes a token from the bucket of `source`, if there is one.
    pub(super) fn admit(&self, now: Instant, source: Host) -> bool {
        const BURST: Duration = Duration::from_secs(1);
        let Some(per_token) = self.per_token else { return true };
        let index = usize::try_from(self.hasher.hash_one(source)).unwrap_or(usize::MAX) % BUCKETS;
        let Some(bucket) = self.full_at.get(index) else { return true };
        let elapsed = now.saturating_duration_since(self.start);
        let now = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let emptied_at = now.saturating_add(u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX));
        bucket
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let full_at = full_at.max(now).saturating_add(per_token);
                (full_at <= emptied_at).then_some(full_at)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> Host {
        Host::new([10, 0, 0, last].into(), 0)
    }

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let start = Instant::now();
        let rate = Rate::new(start, 100);
        let admitted = |at, tries| (0..tries).filter(|_| rate.admit(start + at, host(1))).count();
        assert_eq!(admitted(Duration::ZERO, 500), 100);
        assert_eq!(admitted(Duration::from_millis(9), 5), 0);
        assert_eq!(admitted(Duration::from_millis(10), 5), 1);
        assert_eq!(admitted(Duration::from_millis(510), 500), 50);
        assert_eq!(admitted(Duration::from_secs(3600), 500), 100);
    }

    #[test]
    fn a_source_does_not_spend_the_tokens_of_another() {
        let start = Instant::now();
        let rate = Rate::new(start, 10);
        assert_eq!((0..99).filter(|_| rate.admit(start, host(1))).count(), 10);
        // Some of them may share a bucket, but not all.
        assert!((2..12).any(|last| rate.admit(start, host(last))));
    }

    #[test]
    fn zero_means_no_limit() {
        let start = Instant::now();
        let rate = Rate::new(start, 0);
        assert!((0..10_000).all(|_| rate.admit(start, host(1))));
    }
}
