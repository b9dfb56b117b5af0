//! Remembers when the native instances of each endpoint last changed.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use rpyc_protocol::registry::Port;

use crate::host::Host;

/// Several endpoints may share a slot. That costs one of them a second cookie.
const SLOTS: usize = 4096;

/// When a native instance last began or ended at each endpoint, or possibly at another one.
///
/// A registration that left its sender earlier is a late copy: it must neither replace the instance
/// that has begun since nor bring back the one that has ended.
#[derive(Debug)]
pub(super) struct EndpointChanges {
    latest: Box<[Option<Instant>]>,
    hasher: RandomState,
}

impl EndpointChanges {
    pub(super) fn new() -> Self {
        Self { latest: vec![None; SLOTS].into(), hasher: RandomState::new() }
    }

    /// Records a change.
    pub(super) fn note(&mut self, now: Instant, host: &Host, port: &Port) {
        let at = self.slot(host, port);
        if let Some(latest) = self.latest.get_mut(at) {
            *latest = (*latest).max(Some(now));
        }
    }

    /// Whether the endpoint may have changed after `time`.
    pub(super) fn is_after(&self, time: Instant, host: &Host, port: &Port) -> bool {
        self.latest.get(self.slot(host, port)).is_some_and(|latest| *latest > Some(time))
    }

    fn slot(&self, host: &Host, port: &Port) -> usize {
        usize::try_from(self.hasher.hash_one((host, port)) % SLOTS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_latest_change_of_an_endpoint_counts() {
        let mut changes = EndpointChanges::new();
        let (host, port) = (Host::new([10, 0, 0, 1].into(), 0), Port::tcp(1).unwrap());
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        assert!(!changes.is_after(start, &host, &port));
        changes.note(at(2), &host, &port);
        changes.note(at(1), &host, &port);
        assert!(changes.is_after(at(1), &host, &port));
        assert!(!changes.is_after(at(2), &host, &port));
    }
}
