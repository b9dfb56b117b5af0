//! Proof that a datagram's source is not forged.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::host::Host;

/// The least time for which a cookie is valid.
const LIFETIME: Duration = Duration::from_secs(600);

/// Creates and checks cookies without storing any: each is a keyed hash of the source and the time.
#[derive(Debug)]
pub(crate) struct Cookies {
    start: Instant,
    /// `SipHash` with a secret random key.
    key: RandomState,
}

impl Cookies {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, key: RandomState::new() }
    }

    pub(crate) fn make(&self, now: Instant, source: Host) -> String {
        self.of_age(self.age(now), source)
    }

    pub(crate) fn is_good(&self, now: Instant, source: Host, cookie: &str) -> bool {
        let age = self.age(now);
        // A cookie of the previous age is still valid, so that none expires on its way.
        [Some(age), age.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|age| self.of_age(age, source) == cookie)
    }

    fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / LIFETIME.as_secs()
    }

    fn of_age(&self, age: u64, source: Host) -> String {
        format!("{:016x}", self.key.hash_one((age, source)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_source_and_its_time() {
        let start = Instant::now();
        let cookies = Cookies::new(start);
        let host = |last: u8| Host::new([10, 0, 0, last].into(), 0);
        let cookie = cookies.make(start, host(1));
        assert!(cookies.is_good(start, host(1), &cookie));
        assert!(cookies.is_good(start + LIFETIME, host(1), &cookie));
        assert!(!cookies.is_good(start + 2 * LIFETIME, host(1), &cookie));
        assert!(!cookies.is_good(start, host(2), &cookie));
        assert!(!cookies.is_good(start, host(1), ""));
        assert!(!Cookies::new(start).is_good(start, host(1), &cookie));
    }
}
