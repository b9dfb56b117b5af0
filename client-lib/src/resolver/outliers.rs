//! Which servers have failed lately: no clock, no socket.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rpyc_protocol::registry::reply::Endpoint;

/// How long a server is tried last after its first failure; it doubles with each.
const FIRST: Duration = Duration::from_secs(1);

/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

/// One in so many servers may be ejected at a time, and one in any case.
const SHARE: usize = 10;

/// The servers of one name that could not be connected to.
#[derive(Debug, Default)]
pub(super) struct Outliers(HashMap<Endpoint, Failures>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    in_a_row: u32,
    until: Instant,
}

impl Outliers {
    /// Records a failed connection to a server; returns whether it is a new failure. `chance` is
    /// from 0 to 1, and shortens the time so that not all clients come back at once.
    pub(super) fn failed(&mut self, now: Instant, endpoint: &Endpoint, chance: f64) -> bool {
        let failures =
            self.0.entry(endpoint.clone()).or_insert(Failures { in_a_row: 0, until: now });
        let is_news = failures.until <= now;
        // Attempts that were under way at the same time are one failure.
        if is_news {
            let doubled = FIRST.saturating_mul(1 << failures.in_a_row.min(10));
            failures.until = now + doubled.min(LONGEST).mul_f64(1.0 - chance / 4.0);
            failures.in_a_row = failures.in_a_row.saturating_add(1);
        }
        is_news
    }

    pub(super) fn succeeded(&mut self, endpoint: &Endpoint) {
        self.0.remove(endpoint);
    }

    /// Drops servers that no longer exist.
    pub(super) fn retain(&mut self, is_there: impl Fn(&Endpoint) -> bool) {
        self.0.retain(|endpoint, _| is_there(endpoint));
    }

    /// Those of `n` servers that come last: at most a tenth, or one; the worst first.
    pub(super) fn ejected(&self, now: Instant, n: usize) -> Vec<&Endpoint> {
        let mut failing: Vec<_> = self.0.iter().filter(|(_, it)| it.until > now).collect();
        failing.sort_by(|(a, one), (b, other)| {
            let worse = (other.in_a_row, other.until).cmp(&(one.in_a_row, one.until));
            worse.then_with(|| a.host.cmp(&b.host))
        });
        failing.into_iter().map(|(endpoint, _)| endpoint).take((n / SHARE).max(1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use rpyc_protocol::registry::Port;

    use super::*;

    fn at(port: u16) -> Endpoint {
        Endpoint { host: "10.0.0.1".into(), port: Port::tcp(port).unwrap() }
    }

    #[test]
    fn a_failure_is_remembered_longer_each_time_until_a_success() {
        let mut outliers = Outliers::default();
        let start = Instant::now();
        let mut now = start;
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(outliers.failed(now, &at(1), 0.0));
            assert!(!outliers.failed(now, &at(1), 0.0), "at the same time");
            let end = now + Duration::from_secs(seconds);
            assert_eq!(outliers.ejected(end - Duration::from_millis(1), 1), [&at(1)]);
            assert!(outliers.ejected(end, 1).is_empty());
            now = end;
        }
        outliers.succeeded(&at(1));
        assert!(outliers.failed(now, &at(1), 1.0));
        assert!(outliers.ejected(now + Duration::from_millis(750), 1).is_empty());
    }

    #[test]
    fn at_most_a_tenth_and_at_least_one_is_ejected_the_worst_first() {
        let mut outliers = Outliers::default();
        let now = Instant::now();
        for port in 1..=5 {
            outliers.failed(now, &at(port), 0.0);
        }
        let later = now + FIRST;
        outliers.failed(later, &at(3), 0.0);
        outliers.failed(later, &at(4), 0.0);
        let ejected = outliers.ejected(now, 25);
        assert_eq!(ejected.len(), 2);
        assert!(ejected.contains(&&at(3)) && ejected.contains(&&at(4)));
        assert_eq!(outliers.ejected(now, 3).len(), 1);
        outliers.retain(|endpoint| *endpoint == at(5));
        assert_eq!(outliers.ejected(now, 100), [&at(5)]);
    }
}
