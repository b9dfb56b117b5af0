//! How much each party may take in a second.

use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The number of buckets. Parties share one only if an unpredictable hash collides. So forged
/// source addresses cost no memory and cannot aim at another source's bucket.
const BUCKETS: usize = 1 << 16;

/// The longest debt of a party that was charged for more than it had.
const LONGEST_DEBT: Duration = Duration::from_secs(10);

/// A bucket of tokens for each party: so many a second, with bursts of one second's worth.
///
/// A bucket is one number: the time at which it will be full again (the generic cell rate
/// algorithm). It needs no refilling and no sweeping.
#[derive(Debug)]
pub(super) struct Rate<K> {
    start: Instant,
    hasher: RandomState,
    /// When each bucket is full again, in nanoseconds since `start`.
    full_at: Box<[AtomicU64]>,
    per_second: u64,
    party: PhantomData<fn(K)>,
}

impl<K: Hash> Rate<K> {
    /// Gives each party `per_second` tokens a second; 0 means any number.
    pub(super) fn new(start: Instant, per_second: u64) -> Self {
        Self::with_buckets(BUCKETS, start, per_second)
    }

    /// Gives all parties together `per_second` tokens a second; 0 means any number.
    pub(super) fn shared(start: Instant, per_second: u64) -> Self {
        Self::with_buckets(1, start, per_second)
    }

    fn with_buckets(buckets: usize, start: Instant, per_second: u64) -> Self {
        let buckets = if per_second > 0 { buckets } else { 0 };
        let full_at = (0..buckets).map(|_| AtomicU64::new(0)).collect();
        Self { start, hasher: RandomState::new(), full_at, per_second, party: PhantomData }
    }

    /// Takes `tokens` from the bucket of `party`, if it has them.
    pub(super) fn take(&self, now: Instant, party: K, tokens: u64) -> bool {
        let Some(bucket) = self.bucket(party) else { return true };
        let now = self.nanos(now);
        let burst = nanos(Duration::from_secs(1));
        let price = self.price(tokens);
        bucket
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let full_at = full_at.max(now).saturating_add(price);
                (full_at <= now.saturating_add(burst)).then_some(full_at)
            })
            .is_ok()
    }

    /// Takes `tokens` whether or not the bucket has them: `party` must wait until its debt is paid.
    pub(super) fn charge(&self, now: Instant, party: K, tokens: u64) {
        let Some(bucket) = self.bucket(party) else { return };
        let (now, price) = (self.nanos(now), self.price(tokens));
        let most = now.saturating_add(nanos(LONGEST_DEBT));
        // This cannot fail: the update always has a value.
        let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            Some(full_at.max(now).saturating_add(price).min(most.max(full_at)))
        });
    }

    fn bucket(&self, party: K) -> Option<&AtomicU64> {
        let hash = usize::try_from(self.hasher.hash_one(party)).unwrap_or(usize::MAX);
        self.full_at.get(hash.checked_rem(self.full_at.len())?)
    }

    /// The nanoseconds until so many tokens return.
    fn price(&self, tokens: u64) -> u64 {
        let nanos = tokens.saturating_mul(1_000_000_000);
        nanos.checked_div(self.per_second).unwrap_or(0)
    }

    fn nanos(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.start))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let start = Instant::now();
        let rate = Rate::new(start, 100);
        let admitted = |at, tries| (0..tries).filter(|_| rate.take(start + at, 1, 1)).count();
        assert_eq!(admitted(Duration::ZERO, 500), 100);
        assert_eq!(admitted(Duration::from_millis(9), 5), 0);
        assert_eq!(admitted(Duration::from_millis(10), 5), 1);
        assert_eq!(admitted(Duration::from_millis(510), 500), 50);
        assert_eq!(admitted(Duration::from_secs(3600), 500), 100);
    }

    #[test]
    fn a_party_does_not_spend_the_tokens_of_another() {
        let start = Instant::now();
        let rate = Rate::new(start, 10);
        assert_eq!((0..99).filter(|_| rate.take(start, 1, 1)).count(), 10);
        // Some of them may share a bucket, but not all.
        assert!((2..12).any(|party| rate.take(start, party, 1)));
    }

    #[test]
    fn a_charge_may_exceed_the_bucket_and_is_paid_later() {
        let start = Instant::now();
        let rate = Rate::new(start, 100);
        rate.charge(start, 1, 250);
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!rate.take(at(1500), 1, 1));
        assert!(rate.take(at(1520), 1, 1));
        rate.charge(at(1520), 1, u64::MAX);
        assert!(!rate.take(at(9000), 1, 1));
        assert!(rate.take(at(12_000), 1, 1), "no debt is longer than ten seconds");
    }

    #[test]
    fn zero_means_no_limit() {
        let start = Instant::now();
        let rate = Rate::new(start, 0);
        assert!((0..10_000).all(|_| rate.take(start, 1, 1)));
        rate.charge(start, 1, u64::MAX);
        assert!(rate.take(start, 1, 1));
    }
}
