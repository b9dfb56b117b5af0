//! Changes that wait to be written.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::{Change, Record, Silence, Ticket};

/// The size of a reservation of revisions. A crash skips the rest of one, which does not matter:
/// there are 2^64.
pub(super) const REVISION_BLOCK: u64 = 1 << 32;

/// The size of a reservation of numbers of instances. A crash skips the rest of one; the numbers
/// stay short enough to type, and stay below 2^53 for a hundred million crashes.
pub(super) const INSTANCE_BLOCK: u64 = 100_000_000;

/// The shortest time between two records of how long the run has lasted.
const RAN_STEP: Duration = Duration::from_millis(250);

/// The time between two such records, as a share of the length of the run. So a kill loses at most
/// an eighth of the run, or `RAN_STEP`, and a long run writes next to nothing.
const RAN_SHARE: u32 = 8;

/// The pending write of one instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Put(Box<Record>),
    Heard(Vec<Silence>),
    Removed,
}

/// The numbers that a run may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// The last number that may have been used.
    pub(super) used: u64,
    /// The last number that a durable reservation covers.
    pub(super) reserved: u64,
}

impl Numbers {
    /// Uses numbers up to `number`; returns whether more must be reserved: half a block ahead of
    /// use, so that the reservation is durable long before it is needed.
    fn reserve(&mut self, number: u64, block: u64) -> bool {
        self.used = self.used.max(number);
        let is_short = self.reserved.saturating_sub(self.used) < block / 2;
        if is_short {
            self.reserved = self.used.saturating_add(block);
        }
        is_short
    }
}

/// Changes that are committed together, after all earlier changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// The last change that the group holds.
    pub(super) ticket: Ticket,
    /// One entry for each instance, by its number.
    pub(super) entries: BTreeMap<u64, Entry>,
    /// The last revision that may be used after the commit, if that changes.
    pub(super) revisions: Option<u64>,
    /// The last number of an instance that may be used after the commit, if that changes.
    pub(super) instances: Option<u64>,
    /// How long the run has lasted.
    pub(super) ran: Duration,
}

/// The next work of the writer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Group(Group),
    /// No change came for some time.
    Nothing,
    /// The registry has ended.
    End,
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
    revisions: Numbers,
    instances: Numbers,
    wants_revisions: bool,
    wants_instances: bool,
    ran: Duration,
    /// The length of the run at which it is recorded next.
    next_ran: Duration,
    given: Ticket,
    is_ending: bool,
}

impl Pending {
    /// Without changes. Instances whose numbers may have been used may be in the file.
    pub(super) fn new(revisions: Numbers, instances: Numbers) -> Self {
        let state = State {
            last: Ticket::default(),
            entries: BTreeMap::new(),
            highest_given: instances.used,
            revisions,
            instances,
            wants_revisions: false,
            wants_instances: false,
            ran: Duration::ZERO,
            next_ran: RAN_STEP,
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
        if state.revisions.reserve(revision, REVISION_BLOCK) {
            state.wants_revisions = true;
            self.changed.notify_one();
        }
    }

    /// Records how long the run has lasted. It is written with every group, and alone from time to
    /// time.
    pub(super) fn ran(&self, time: Duration) {
        let mut state = self.lock();
        state.ran = time;
        if state.ran >= state.next_ran {
            self.changed.notify_one();
        }
    }

    /// Ends the queue: the registry has no more changes.
    pub(super) fn end(&self) {
        self.lock().is_ending = true;
        self.changed.notify_one();
    }

    /// Waits for changes, for at most `patience`, and takes all of them.
    pub(super) fn next_group(&self, patience: Duration) -> Next {
        let state = self.lock();
        let is_idle = |state: &mut State| !state.is_wanting() && !state.is_ending;
        let waited = self.changed.wait_timeout_while(state, patience, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_wanting() {
            Next::Group(state.give())
        } else if state.is_ending {
            Next::End
        } else {
            Next::Nothing
        }
    }

    /// The final group, written after all others: it returns the numbers that were not used.
    pub(super) fn last_group(&self) -> Group {
        let state = self.lock();
        Group {
            ticket: state.last,
            entries: BTreeMap::new(),
            revisions: Some(state.revisions.used),
            instances: Some(state.instances.used),
            ran: state.ran,
        }
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
                self.wants_instances |= self.instances.reserve(record.id, INSTANCE_BLOCK);
                self.entries.insert(record.id, Entry::Put(record));
            }
            Change::Heard { id, silent } => match self.entries.get_mut(&id) {
                Some(Entry::Put(record)) => record.silent = silent,
                Some(Entry::Removed) => {}
                Some(Entry::Heard(_)) | None => drop(self.entries.insert(id, Entry::Heard(silent))),
            },
            Change::Removed { id, .. } if id > self.highest_given => drop(self.entries.remove(&id)),
            Change::Removed { id, .. } => drop(self.entries.insert(id, Entry::Removed)),
        }
    }

    fn is_wanting(&self) -> bool {
        self.given < self.last
            || self.wants_revisions
            || self.wants_instances
            || self.ran >= self.next_ran
    }

    fn give(&mut self) -> Group {
        let entries = std::mem::take(&mut self.entries);
        if let Some((highest, _)) = entries.last_key_value() {
            self.highest_given = self.highest_given.max(*highest);
        }
        self.given = self.last;
        self.next_ran = self.ran + RAN_STEP.max(self.ran / RAN_SHARE);
        Group {
            ticket: self.last,
            entries,
            revisions: std::mem::take(&mut self.wants_revisions).then_some(self.revisions.reserved),
            instances: std::mem::take(&mut self.wants_instances).then_some(self.instances.reserved),
            ran: self.ran,
        }
    }
}

#[cfg(test)]
mod tests {
    use rpyc_protocol::ServiceName;
    use rpyc_protocol::registry::Port;

    use super::*;
    use crate::host::Host;

    fn record(id: u64, silent: &[&str], port: u16) -> Box<Record> {
        Box::new(Record {
            id,
            names: vec![ServiceName::new("A").unwrap()],
            host: Host::new([10, 0, 0, 1].into(), 0),
            port: Port::tcp(port).unwrap(),
            registered_at: 0,
            is_draining: false,
            silent: silences(silent),
            native: None,
        })
    }

    fn silences(names: &[&str]) -> Vec<Silence> {
        let silence = |name: &&str| Silence { name: ServiceName::new(name).unwrap(), since_ms: -1 };
        names.iter().map(silence).collect()
    }

    fn heard(id: u64, silent: &[&str]) -> Change {
        Change::Heard { id, silent: silences(silent) }
    }

    fn pending(highest: u64) -> Pending {
        let reserved = |used, block| Numbers { used, reserved: used + block };
        Pending::new(reserved(0, REVISION_BLOCK), reserved(highest, INSTANCE_BLOCK))
    }

    fn removed(id: u64) -> Change {
        let Record { host, port, .. } = *record(id, &[], 1);
        Change::Removed { id, host, port }
    }

    fn group(pending: &Pending) -> Group {
        match pending.next_group(Duration::ZERO) {
            Next::Group(group) => group,
            other => unreachable!("{other:?}"),
        }
    }

    /// The entries of the next group, and its number.
    fn next(pending: &Pending) -> (u64, Vec<(u64, Entry)>) {
        let group = group(pending);
        (group.ticket.get(), group.entries.into_iter().collect())
    }

    #[test]
    fn of_several_changes_of_an_instance_the_last_is_written() {
        let pending = pending(5);
        for change in [
            heard(1, &["A"]),
            heard(1, &[]),
            Change::Put(record(2, &["A"], 1)),
            heard(2, &[]),
            Change::Put(record(3, &[], 1)),
            Change::Put(record(3, &["A"], 2)),
            heard(4, &[]),
            removed(4),
            heard(4, &[]),
        ] {
            pending.add(change);
        }
        let put = |id, silent: &[&str], port| (id, Entry::Put(record(id, silent, port)));
        let heard = Entry::Heard(Vec::new());
        let expected = vec![(1, heard), put(2, &[], 1), put(3, &["A"], 2), (4, Entry::Removed)];
        assert_eq!(next(&pending), (9, expected));
    }

    #[test]
    fn what_came_and_went_unwritten_takes_no_room() {
        let pending = pending(5);
        for id in 6..1000 {
            pending.add(Change::Put(record(id, &[], 1)));
            pending.add(removed(id));
        }
        assert_eq!(next(&pending), (1988, vec![]), "but it is acknowledged");
        pending.add(Change::Put(record(1000, &[], 1)));
        next(&pending);
        pending.add(removed(1000));
        assert_eq!(next(&pending).1, [(1000, Entry::Removed)], "it may have been written");
        assert_eq!(pending.last_group().instances, Some(1000), "their numbers have been used");
    }

    #[test]
    fn revisions_are_reserved_half_a_block_before_they_are_told() {
        let pending = pending(0);
        pending.reserve(REVISION_BLOCK / 2);
        pending.reserve(REVISION_BLOCK / 2 + 1);
        let group = group(&pending);
        assert_eq!(group.revisions, Some(REVISION_BLOCK / 2 + 1 + REVISION_BLOCK));
        pending.reserve(REVISION_BLOCK / 2 + 2);
        pending.end();
        assert_eq!(pending.next_group(Duration::ZERO), Next::End);
        assert_eq!(pending.last_group().revisions, Some(REVISION_BLOCK / 2 + 2));
    }

    #[test]
    fn numbers_of_instances_are_reserved_half_a_block_before_they_are_used() {
        let pending = pending(7);
        pending.add(Change::Put(record(7 + INSTANCE_BLOCK / 2, &[], 1)));
        assert_eq!(group(&pending).instances, None);
        pending.add(Change::Put(record(8 + INSTANCE_BLOCK / 2, &[], 1)));
        pending.add(removed(8 + INSTANCE_BLOCK / 2));
        let reserved = 8 + INSTANCE_BLOCK / 2 + INSTANCE_BLOCK;
        assert_eq!(group(&pending).instances, Some(reserved));
    }

    #[test]
    fn the_length_of_the_run_is_written_ever_less_often() {
        let pending = pending(0);
        let mut written = Vec::new();
        for millis in (0..=3_600_000).step_by(50) {
            pending.ran(Duration::from_millis(millis));
            if pending.lock().is_wanting() {
                written.push(group(&pending).ran);
            }
        }
        assert!(written.len() < 100, "{}", written.len());
        let is_close = |pair: &[Duration]| pair[1] - pair[0] <= RAN_STEP.max(pair[0] / 7);
        assert!(written.windows(2).all(is_close), "{written:?}");
    }
}
