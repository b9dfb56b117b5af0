//! Our requests that wait for their answers, and until when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// One of our requests; numbered separately on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(super) u64);

/// The calls in flight, with their deadlines in order.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    calls: BTreeMap<CallId, Pending>,
    deadlines: BTreeSet<(Instant, CallId)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// When it expires.
    pub(super) deadline: Option<Instant>,
    /// Where in the stream of bytes to the peer its frame begins.
    pub(super) begins_at: u64,
}

impl InFlight {
    pub(super) fn insert(&mut self, call: CallId, pending: Pending) {
        self.calls.insert(call, pending);
        self.deadlines.extend(pending.deadline.map(|deadline| (deadline, call)));
    }

    /// Ends a call, if it is still waited for.
    pub(super) fn remove(&mut self, call: CallId) -> Option<Pending> {
        let pending = self.calls.remove(&call)?;
        if let Some(deadline) = pending.deadline {
            self.deadlines.remove(&(deadline, call));
        }
        Some(pending)
    }

    /// Ends the next call whose deadline has come.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(CallId, Pending)> {
        let &(deadline, call) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(call).map(|pending| (call, pending))
    }

    /// Ends all calls, in the order in which they were made.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (CallId, Pending)> + use<> {
        self.deadlines.clear();
        std::mem::take(&mut self.calls).into_iter()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant to count from")]
    fn calls_expire_in_the_order_of_their_deadlines() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut calls = InFlight::default();
        for (call, deadline) in [(0, Some(3)), (1, None), (2, Some(1)), (3, Some(2))] {
            calls.insert(CallId(call), Pending { deadline: deadline.map(at), begins_at: 0 });
        }
        assert_eq!(calls.next_deadline(), Some(at(1)));
        assert!(calls.remove(CallId(3)).is_some());
        assert!(calls.pop_expired(at(0)).is_none());
        assert!(matches!(calls.pop_expired(at(3)), Some((CallId(2), _))));
        assert!(matches!(calls.pop_expired(at(3)), Some((CallId(0), _))));
        assert!(calls.pop_expired(at(9)).is_none());
        assert_eq!(calls.next_deadline(), None);
        let left: Vec<_> = calls.drain().map(|(call, _)| call).collect();
        assert_eq!(left, [CallId(1)]);
        assert_eq!(calls.len(), 0);
    }
}
