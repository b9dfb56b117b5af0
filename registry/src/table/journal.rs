//! The latest changes of the table, numbered, for watchers.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{EventKind, Revision, StoreId};
use tokio::sync::watch;

use super::lease::Lease;
use super::topic::Topic;

/// The number of changes that are kept. A watcher that is further behind gets a reset.
pub const JOURNAL_LEN: usize = 65_536;

/// The most bytes of names and details in the changes that are kept. They may belong to instances
/// that have ended, which nothing else keeps in memory.
const JOURNAL_BYTES: usize = 16 << 20;

/// One change, numbered.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) kind: EventKind,
    pub(crate) lease: Arc<Lease>,
    /// The number of the previous change of this name; an upper bound of it if that was dropped.
    previous: u64,
    /// The bytes of its name and details.
    bytes: usize,
}

impl Entry {
    /// The same change, reported as one of another kind.
    pub(crate) fn with_kind(self, kind: EventKind) -> Self {
        Self { kind, ..self }
    }
}

/// The latest changes, shared by all watchers. A watcher holds only a position in it. So ten
/// thousand watchers cost no more memory than their positions, and a slow one delays no other.
#[derive(Debug)]
pub(crate) struct Journal {
    store: StoreId,
    kept: RwLock<Kept>,
    newest: watch::Sender<u64>,
    /// The topic of watchers of more than one name.
    all: Arc<Topic>,
    watchers: AtomicUsize,
}

/// The changes after a position.
#[derive(Debug)]
pub(crate) struct News {
    /// Oldest first.
    pub(crate) entries: Vec<Entry>,
    /// The number of the last change that was considered.
    pub(crate) place: u64,
    /// Whether there are changes after `place`.
    pub(crate) has_more: bool,
}

#[derive(Debug)]
struct Kept {
    newest: u64,
    entries: VecDeque<Entry>,
    /// The bytes of their names and details.
    bytes: usize,
    /// Every name that has an entry or a watcher.
    names: HashMap<ServiceName, Trace>,
}

/// Where to find the changes of one name.
#[derive(Debug)]
struct Trace {
    /// The number of the latest; an upper bound of it if that was dropped. The topic has a copy.
    latest: u64,
    /// The topic of its watchers, if it has any.
    topic: Option<Arc<Topic>>,
}

impl Journal {
    /// A journal whose next change gets a number above `number`.
    pub(super) fn new(store: StoreId, number: u64) -> Self {
        Self {
            store,
            kept: RwLock::new(Kept {
                newest: number,
                entries: VecDeque::new(),
                bytes: 0,
                names: HashMap::new(),
            }),
            newest: watch::Sender::new(number),
            all: Arc::new(Topic::new(number)),
            watchers: AtomicUsize::new(0),
        }
    }

    /// The current revision of the table.
    pub(crate) fn revision(&self) -> Revision {
        self.at(*self.newest.borrow())
    }

    pub(crate) fn at(&self, number: u64) -> Revision {
        Revision { store: self.store, number }
    }

    /// Follows the number of the newest change. This is for parts of the registry itself, which
    /// follow all changes and do not count as watchers.
    pub(crate) fn newest_for_registry(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// How many watchers there are, parts of the registry not included.
    pub(crate) fn watchers(&self) -> u64 {
        u64::try_from(self.watchers.load(Ordering::Relaxed)).unwrap_or(u64::MAX)
    }

    /// Joins the topic of `name`, or that of all names. [`Journal::unfollow`] leaves it.
    pub(super) fn follow(&self, name: Option<&ServiceName>) -> Arc<Topic> {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        // The lock is held so that the thread that makes the next change sees this follower.
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let Some(name) = name else {
            self.all.join();
            return Arc::clone(&self.all);
        };
        // A name without a trace has no entry among those that are kept.
        let before = kept.oldest() - 1;
        let trace = kept.names.entry(name.clone());
        let trace = trace.or_insert_with(|| Trace { latest: before, topic: None });
        let topic = trace.topic.get_or_insert_with(|| Arc::new(Topic::new(trace.latest)));
        topic.join();
        Arc::clone(topic)
    }

    pub(super) fn unfollow(&self, name: Option<&ServiceName>) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
        let Some(name) = name else {
            self.all.leave();
            return;
        };
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let oldest = kept.oldest();
        let Some(trace) = kept.names.get_mut(name) else { return };
        if trace.topic.as_ref().is_some_and(|topic| topic.leave()) {
            trace.topic = None;
            if trace.latest < oldest {
                kept.names.remove(name);
            }
        }
    }

    /// Records changes that have been made, and wakes the watchers of their names.
    pub(super) fn note<'l>(
        &self,
        kind: EventKind,
        leases: impl IntoIterator<Item = &'l Arc<Lease>>,
    ) {
        let mut topics: Vec<Arc<Topic>> = Vec::new();
        {
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            let before = kept.newest;
            let mut number = before;
            for lease in leases {
                number += 1;
                let topic = kept.push(number, kind, lease);
                if let Some(topic) = topic
                    && topics.last().is_none_or(|last| !Arc::ptr_eq(last, topic))
                {
                    topics.push(Arc::clone(topic));
                }
            }
            if number == before {
                return;
            }
            // The lock is held so that a reader of the number finds its entry.
            self.all.moved_to(number);
            self.newest.send_replace(number);
        }
        topics.iter().for_each(|topic| topic.wake());
        self.all.wake();
    }

    /// Skips `changes` numbers for changes that were made before there could be a watcher. A
    /// watcher that asks for changes after an earlier number gets a reset.
    pub(super) fn skip(&self, changes: u64) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.newest += changes;
        self.all.moved_to(kept.newest);
        self.newest.send_replace(kept.newest);
    }

    /// Up to `max` changes after number `after`, oldest first; `None` if they were dropped,
    /// or if `after` was never reached.
    pub(crate) fn after(&self, after: u64, max: usize) -> Option<Vec<Entry>> {
        self.news(after, max, |_| true).map(|news| news.entries)
    }

    /// Considers up to `max` changes after number `after` and returns those whose names
    /// `are_meant`; `None` if some of them were dropped, or if `after` was never reached.
    pub(crate) fn news(
        &self,
        after: u64,
        max: usize,
        are_meant: impl Fn(&str) -> bool,
    ) -> Option<News> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let newest = kept.newest;
        let oldest = kept.oldest();
        if after > newest || after + 1 < oldest {
            return None;
        }
        // Numbers have no gaps.
        let skipped = usize::try_from(after + 1 - oldest).unwrap_or(usize::MAX);
        let looked_at = kept.entries.iter().skip(skipped).take(max);
        let place = looked_at.clone().next_back().map_or(after, |last| last.number);
        let meant = looked_at.filter(|entry| are_meant(entry.lease.service.as_str()));
        Some(News { entries: meant.cloned().collect(), place, has_more: place < newest })
    }

    /// The changes of the followed `name` after number `after`. If there are more than `max`, those
    /// among the next `max` of all names. `None` as in [`Journal::news`]. Looks at no more than
    /// `max` changes, and at those of other names only in the second case.
    pub(super) fn news_of(
        &self,
        name: &ServiceName,
        topic: &Topic,
        after: u64,
        max: usize,
    ) -> Option<News> {
        {
            let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
            let newest = kept.newest;
            if after > newest {
                return None;
            }
            let (mut entries, mut number) = (Vec::new(), topic.latest());
            while number > after && entries.len() < max {
                let entry = kept.entry(number)?;
                entries.push(entry.clone());
                number = entry.previous;
            }
            if number <= after {
                entries.reverse();
                return Some(News { entries, place: newest, has_more: false });
            }
        }
        self.news(after, max, |other| other == name.as_str())
    }

    /// How many names have a trace.
    #[cfg(test)]
    pub(super) fn names(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).names.len()
    }
}

impl Kept {
    /// The number of the oldest entry, or the next number if there is no entry.
    fn oldest(&self) -> u64 {
        self.entries.front().map_or(self.newest + 1, |entry| entry.number)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        let at = number.checked_sub(self.oldest())?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Appends a change; returns the topic of its name.
    fn push(&mut self, number: u64, kind: EventKind, lease: &Arc<Lease>) -> Option<&Arc<Topic>> {
        let bytes = lease.service.as_str().len() + lease.instance.bytes();
        while self.entries.len() >= JOURNAL_LEN || self.bytes + bytes > JOURNAL_BYTES {
            if !self.drop_oldest() {
                break;
            }
        }
        self.bytes += bytes;
        let before = self.oldest() - 1;
        let trace = self.names.entry(lease.service.name.clone());
        let trace = trace.or_insert_with(|| Trace { latest: before, topic: None });
        let previous = std::mem::replace(&mut trace.latest, number);
        self.newest = number;
        let lease = Arc::clone(lease);
        self.entries.push_back(Entry { number, kind, lease, previous, bytes });
        let topic = trace.topic.as_ref()?;
        topic.moved_to(number);
        Some(topic)
    }

    /// Drops the oldest change; returns whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.entries.pop_front() else { return false };
        self.bytes -= oldest.bytes;
        let name = &oldest.lease.service.name;
        let is_last = |trace: &Trace| trace.latest == oldest.number && trace.topic.is_none();
        if self.names.get(name).is_some_and(is_last) {
            self.names.remove(name);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rpyc_protocol::registry::Port;
    use rpyc_protocol::registry::native::{Details, LeaseId};

    use super::super::clock::{LeaseClock, Tick};
    use super::super::instance::{Instance, Native};
    use super::super::service_id::ServiceId;
    use super::*;
    use crate::host::Host;

    fn lease(id: u64, details: Details) -> Arc<Lease> {
        let host = Host::new([10, 0, 0, 1].into(), 0);
        let ttl = std::time::Duration::from_secs(1);
        let native = Native::new(LeaseId::new(id.into()), host, None, ttl, Box::default(), details);
        let place = (host, Port::tcp(1).unwrap());
        let instance = Arc::new(Instance::new(id, place, Some(Box::new(native)), 0));
        let service_id = Arc::new(ServiceId { name: ServiceName::new("a").unwrap(), number: 1 });
        let since = LeaseClock::new(Instant::now()).since(Instant::now());
        Arc::new(Lease::new(id, service_id, instance, since, Tick::FIRST))
    }

    #[test]
    fn large_registrations_that_have_ended_do_not_stay_for_ever() {
        let journal = Journal::new(StoreId::new(1), 0);
        let kept = || {
            let kept = journal.kept.read().unwrap();
            (kept.entries.len(), kept.bytes)
        };
        let text = |number: u64| format!("{number:0>250}");
        let meta: std::collections::BTreeMap<_, _> = (0..8).map(|n| (text(n), text(n))).collect();
        let large = Details { meta, ..Details::default() };
        for id in 1..=10_000 {
            journal.note(EventKind::Added, [&lease(id, large.clone())]);
        }
        let (len, bytes) = kept();
        assert!(bytes <= JOURNAL_BYTES && bytes > JOURNAL_BYTES / 2, "{bytes} bytes");
        assert!(len > 3_000 && len < 4_200, "{len} changes");
        assert!(journal.after(9_999, 10).is_some() && journal.after(1, 10).is_none());
        for id in 10_001..=100_000 {
            journal.note(EventKind::Added, [&lease(id, Details::default())]);
        }
        assert_eq!(kept(), (JOURNAL_LEN, JOURNAL_LEN), "small changes are kept as before");
    }
}
