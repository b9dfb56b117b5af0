//! Protection against mass expiry.
//!
//! When a whole site stops renewing, the network or the registry is more likely at fault than every
//! server. So if more than a share of the table, or of one service, is lost within one TTL, the
//! overdue leases are kept as suspects. Protection is bounded: each suspect expires one TTL after
//! its deadline at the latest.

use std::collections::{BTreeMap, HashMap};

use super::clock::Tick;

/// When the registry keeps overdue leases, because too many expire together.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Default::default()` stays valid")]
pub struct ProtectionPolicy {
    /// The share of the table, or of one service, that may be lost within one TTL before the rest
    /// is protected. Default 0.15. A value of 1 or more protects nothing.
    pub share: f64,
    /// The least number of instances in the table for protection; with fewer, every lease ends on
    /// time. Default 50.
    pub sample: usize,
    /// The most leases that one sweep ends only because of their deadlines, in random order.
    /// Default 1,000. A lease that has been overdue for a TTL ends regardless.
    pub evictions_per_sweep: usize,
}

impl Default for ProtectionPolicy {
    fn default() -> Self {
        Self { share: 0.15, sample: 50, evictions_per_sweep: 1_000 }
    }
}

/// The least number of overdue leases of a service that can be a pattern. Single servers do fail.
const PATTERN: usize = 2;

/// The leases that expired within the window, by service.
#[derive(Debug, Default)]
pub(super) struct Losses {
    table: Window,
    services: HashMap<u64, Window>,
}

/// The scope of the losses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    /// The whole table.
    Table,
    /// The service with this number.
    Service(u64),
}

impl Losses {
    /// Records a lease that expired, until a time that is one TTL of that lease later.
    pub(super) fn note(&mut self, until: Tick, service: u64) {
        self.table.push(until);
        self.services.entry(service).or_default().push(until);
    }

    /// Drops the losses whose time is over.
    pub(super) fn forget_past(&mut self, now: Tick) {
        self.table.forget_past(now);
        self.services.retain(|_, losses| {
            losses.forget_past(now);
            losses.total > 0
        });
    }

    /// Whether `overdue` of `present` leases, with those lost within the window, are too many.
    pub(super) fn is_too_much(
        &self,
        policy: &ProtectionPolicy,
        of: Of,
        overdue: usize,
        present: usize,
    ) -> bool {
        let lost = match of {
            Of::Table => self.table.total,
            Of::Service(id) => self.services.get(&id).map_or(0, |losses| losses.total),
        };
        let gone = lost + overdue;
        gone >= PATTERN && ratio(gone, present + lost) > policy.share
    }
}

/// Counts by the time at which they end.
#[derive(Debug, Default)]
struct Window {
    counts: BTreeMap<Tick, usize>,
    total: usize,
}

impl Window {
    fn push(&mut self, until: Tick) {
        *self.counts.entry(until).or_default() += 1;
        self.total += 1;
    }

    fn forget_past(&mut self, now: Tick) {
        while let Some(first) = self.counts.first_entry()
            && *first.key() < now
        {
            self.total -= first.remove();
        }
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    let float = |number: usize| u32::try_from(number).map_or(f64::MAX, f64::from);
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_by_one_is_believed_and_many_at_once_are_not() {
        let policy = ProtectionPolicy::default();
        let mut losses = Losses::default();
        assert!(!losses.is_too_much(&policy, Of::Service(1), 1, 1));
        assert!(losses.is_too_much(&policy, Of::Service(1), 2, 2));
        assert!(!losses.is_too_much(&policy, Of::Table, 15, 100));
        assert!(losses.is_too_much(&policy, Of::Table, 16, 100));
        let window = Duration::from_secs(60);
        let at = |secs: u64| Tick::FIRST.after(Duration::from_secs(secs));
        for secs in 0..15 {
            losses.note(at(secs).after(window), 1);
        }
        assert!(!losses.is_too_much(&policy, Of::Table, 0, 85));
        assert!(losses.is_too_much(&policy, Of::Table, 1, 85));
        losses.forget_past(at(63));
        assert!(!losses.is_too_much(&policy, Of::Table, 1, 85));
        losses.forget_past(at(200));
        assert!(losses.services.is_empty());
    }
}
