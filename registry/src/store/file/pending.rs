//! Changes that wait to be written.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::{Change, Record, Ticket};

/// The size of a reservation of revisions. A crash skips the rest of one, which does not matter:
/// there are 2^64.
pub(super) const REVISION_BLOCK: u64 = 1 << 32;

/// The pending write of one instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Put(Box<Record>),
    Heard,
    Removed,
}

/// Changes that are committed together, after all earlier changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// The last change that the group holds.
    pub(super) ticket: Ticket,
    /// One entry for each instance, by its number.
    pub(super) entries: BTreeMap<u64, Entry>,
    /// The last revision that may be used after the commit, if that changes.
    pub(super) reserved: Option<u64>,
}

/// Collects changes from the registry and hands them to the writer in groups.
///
/// Its size is bounded by those of the file and the table, even while the disk is stalled. An
/// instance has one entry; one that was added and removed in between has none.
#[derive(Debug)]
pub(super) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    last: Ticket,
    entries: BTreeMap<u64, Entry>,
    /// The highest number of an instance handed to the writer: the file has none above it.
    highest_given: u64,
    /// The last revision that may have been used.
    sent: u64,
    /// The last revision whose reservation was requested.
    reserved: u64,
    wants_reservation: bool,
    given: Ticket,
    is_ending: bool,
}

impl Pending {
    /// Without changes. Revisions above `sent` and up to `reserved` may be used. Instances up to
    /// `highest_given` may be in the file.
    pub(super) fn new(sent: u64, reserved: u64, highest_given: u64) -> Self {
        let state = State {
            last: Ticket::default(),
            entries: BTreeMap::new(),
            highest_given,
            sent,
            reserved,
            wants_reservation: false,
            given: Ticket::default(),
            is_ending: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Queues a change and numbers it.
    pub(super) fn add(&self, change: Change) -> Ticket {
        let mut state = self.lock();
        state.take(change);
        state.last = state.last.next();
        self.changed.notify_one();
        state.last
    }

    pub(super) fn last_ticket(&self) -> Ticket {
        self.lock().last
    }

    /// Records that revisions up to this one are about to be used.
    pub(super) fn reserve(&self, revision: u64) {
        let mut state = self.lock();
        state.sent = state.sent.max(revision);
        if state.reserved.saturating_sub(state.sent) < REVISION_BLOCK / 2 {
            // Half a block ahead of use, to be durable long before it is needed.
            state.reserved = state.sent.saturating_add(REVISION_BLOCK);
            state.wants_reservation = true;
            self.changed.notify_one();
        }
    }

    /// Ends the queue: the registry has no more changes.
    pub(super) fn end(&self) {
        self.lock().is_ending = true;
        self.changed.notify_one();
    }

    /// Waits for changes and takes all of them; `None` after the last one.
    pub(super) fn next_group(&self) -> Option<Group> {
        let mut state = self.lock();
        loop {
            if state.given < state.last || state.wants_reservation {
                return Some(state.give());
            }
            if state.is_ending {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The final group, written after all others: no revision above `sent` was used.
    pub(super) fn last_group(&self) -> Group {
        let state = self.lock();
        Group { ticket: state.last, entries: BTreeMap::new(), reserved: Some(state.sent) }
    }

    /// Waits for `duration` or for the end; returns whether the end has come.
    pub(super) fn rest(&self, duration: Duration) -> bool {
        let state = self.lock();
        let ends = self.changed.wait_timeout_while(state, duration, |state| !state.is_ending);
        ends.unwrap_or_else(PoisonError::into_inner).0.is_ending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, change: Change) {
        match change {
            Change::Put(record) => {
                self.entries.insert(record.id, Entry::Put(record));
            }
            Change::Heard(id) => match self.entries.entry(id).or_insert(Entry::Heard) {
                Entry::Put(record) => record.restarts = 0,
                Entry::Heard | Entry::Removed => {}
            },
            Change::Removed { id, .. } if id > self.highest_given => drop(self.entries.remove(&id)),
            Change::Removed { id, .. } => drop(self.entries.insert(id, Entry::Removed)),
        }
    }

    fn give(&mut self) -> Group {
        let entries = std::mem::take(&mut self.entries);
        if let Some((highest, _)) = entries.last_key_value() {
            self.highest_given = self.highest_given.max(*highest);
        }
        self.given = self.last;
        let reserved = std::mem::take(&mut self.wants_reservation).then_some(self.reserved);
        Group { ticket: self.last, entries, reserved }
    }
}

#[cfg(test)]
mod tests {
    use rpyc_protocol::ServiceName;
    use rpyc_protocol::registry::Port;

    use super::*;
    use crate::host::Host;

    fn record(id: u64, restarts: u32, port: u16) -> Box<Record> {
        Box::new(Record {
            id,
            names: vec![ServiceName::new("A").unwrap()],
            host: Host::new([10, 0, 0, 1].into(), 0),
            port: Port::tcp(port).unwrap(),
            registered_at: 0,
            is_draining: false,
            restarts,
            native: None,
        })
    }

    fn removed(id: u64) -> Change {
        let Record { host, port, .. } = *record(id, 0, 1);
        Change::Removed { id, host, port }
    }

    /// The entries of the next group, and its number.
    fn next(pending: &Pending) -> (u64, Vec<(u64, Entry)>) {
        let group = pending.next_group().unwrap();
        (group.ticket.get(), group.entries.into_iter().collect())
    }

    #[test]
    fn of_several_changes_of_an_instance_the_last_is_written() {
        let pending = Pending::new(0, REVISION_BLOCK, 5);
        for change in [
            Change::Heard(1),
            Change::Put(record(2, 1, 1)),
            Change::Heard(2),
            Change::Put(record(3, 0, 1)),
            Change::Put(record(3, 0, 2)),
            Change::Heard(4),
            removed(4),
            Change::Heard(4),
        ] {
            pending.add(change);
        }
        let put = |id, port| (id, Entry::Put(record(id, 0, port)));
        let expected = vec![(1, Entry::Heard), put(2, 1), put(3, 2), (4, Entry::Removed)];
        assert_eq!(next(&pending), (8, expected));
    }

    #[test]
    fn what_came_and_went_unwritten_takes_no_room() {
        let pending = Pending::new(0, REVISION_BLOCK, 5);
        for id in 6..1000 {
            pending.add(Change::Put(record(id, 0, 1)));
            pending.add(removed(id));
        }
        assert_eq!(next(&pending), (1988, vec![]), "but it is acknowledged");
        pending.add(Change::Put(record(1000, 0, 1)));
        next(&pending);
        pending.add(removed(1000));
        assert_eq!(next(&pending).1, [(1000, Entry::Removed)], "it may have been written");
    }

    #[test]
    fn revisions_are_reserved_half_a_block_before_they_are_told() {
        let pending = Pending::new(0, REVISION_BLOCK, 0);
        pending.reserve(REVISION_BLOCK / 2);
        pending.reserve(REVISION_BLOCK / 2 + 1);
        let group = pending.next_group().unwrap();
        assert_eq!(group.reserved, Some(REVISION_BLOCK / 2 + 1 + REVISION_BLOCK));
        pending.reserve(REVISION_BLOCK / 2 + 2);
        pending.end();
        assert_eq!(pending.next_group(), None);
        assert_eq!(pending.last_group().reserved, Some(REVISION_BLOCK / 2 + 2));
    }
}
