//! How many leases are in each state.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rpyc_protocol::registry::native::State;

use crate::table::lease::Lease;

/// The states that a lease may have.
const STATES: [State; 4] = [State::Passing, State::Suspect, State::Failing, State::Draining];

/// The number of leases in each state, kept so that nobody has to count them.
#[derive(Debug, Default)]
pub(super) struct StateCounts([AtomicU64; STATES.len()]);

impl StateCounts {
    /// Counts a lease in the state that it has now, and no longer in the one before.
    pub(super) fn count(&self, lease: &Lease) {
        let state = lease.state();
        let now = STATES.iter().position(|it| *it == state);
        self.change(lease, now.and_then(|now| u8::try_from(now + 1).ok()).unwrap_or(0));
    }

    /// Counts a lease no longer.
    pub(super) fn discount(&self, lease: &Lease) {
        self.change(lease, 0);
    }

    /// The numbers of leases, without states that no lease has.
    pub(super) fn all(&self) -> BTreeMap<State, u64> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        STATES.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// `state` is an index into [`STATES`], plus one; 0 for none.
    fn change(&self, lease: &Lease, state: u8) {
        let before = lease.counted_as().swap(state, Ordering::Relaxed);
        let counter = |state: u8| self.0.get(usize::from(state).checked_sub(1)?);
        if let Some(counter) = counter(state) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(counter) = counter(before) {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
