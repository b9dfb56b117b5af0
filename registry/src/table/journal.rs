//! The latest changes of the table, numbered, for those who follow it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{EventKind, Revision, StoreId};
use tokio::sync::watch;

use super::lease::Lease;
use super::topic::Topic;

/// Changes that are kept. A watcher that is further behind is told to begin anew.
pub const JOURNAL_LEN: usize = 65_536;

/// One change, numbered.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) kind: EventKind,
    pub(crate) lease: Arc<Lease>,
    /// The number of the change of this name before it. If that is not kept, at least as much.
    previous: u64,
}

impl Entry {
    /// The same change, told as one of another kind.
    pub(crate) fn told_as(self, kind: EventKind) -> Self {
        Self { kind, ..self }
    }
}

/// The latest changes, shared by all watchers: each has a place in it and nothing else, so that ten
/// thousand of them cost no more memory than their places, and a slow one holds nobody up.
#[derive(Debug)]
pub(crate) struct Journal {
    store: StoreId,
    kept: RwLock<Kept>,
    newest: watch::Sender<u64>,
    /// Those who follow more than one name.
    all: Arc<Topic>,
    watchers: AtomicUsize,
}

/// What was found after a place.
#[derive(Debug)]
pub(crate) struct News {
    /// Oldest first.
    pub(crate) entries: Vec<Entry>,
    /// Up to where that is all.
    pub(crate) place: u64,
    /// Whether there is more behind it.
    pub(crate) has_more: bool,
}

#[derive(Debug)]
struct Kept {
    newest: u64,
    entries: VecDeque<Entry>,
    /// Every name of an entry, and every name that is followed.
    names: HashMap<ServiceName, Trace>,
}

/// Where to find the changes of one name.
#[derive(Debug)]
struct Trace {
    /// The number of the latest; if that is not kept, at least as much. The topic has it as well.
    latest: u64,
    /// Those who follow it, if anybody does.
    topic: Option<Arc<Topic>>,
}

impl Journal {
    /// A journal whose next change has a number above `number`.
    pub(super) fn new(store: StoreId, number: u64) -> Self {
        Self {
            store,
            kept: RwLock::new(Kept {
                newest: number,
                entries: VecDeque::new(),
                names: HashMap::new(),
            }),
            newest: watch::Sender::new(number),
            all: Arc::new(Topic::new(number)),
            watchers: AtomicUsize::new(0),
        }
    }

    /// The state that the table is in.
    pub(crate) fn revision(&self) -> Revision {
        self.at(*self.newest.borrow())
    }

    pub(crate) fn at(&self, number: u64) -> Revision {
        Revision { store: self.store, number }
    }

    /// Follows the number of the newest change. For a part of the registry itself, which wants to
    /// know of all of them and does not count as a watcher.
    pub(crate) fn newest_for_registry(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// How many follow it, parts of the registry aside.
    pub(crate) fn watchers(&self) -> u64 {
        u64::try_from(self.watchers.load(Ordering::Relaxed)).unwrap_or(u64::MAX)
    }

    /// Who is woken when something happens to `name`, or to anything if there is none. To be given back
    /// by [`Journal::unfollow`].
    pub(super) fn follow(&self, name: Option<&ServiceName>) -> Arc<Topic> {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        // Under the lock, so that whoever makes the next change knows of it.
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let Some(name) = name else {
            self.all.join();
            return Arc::clone(&self.all);
        };
        // Nothing that is kept is of a name without a trace.
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

    /// Notes changes that have been made, and wakes those who follow their names.
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
            // Under the lock, so that who sees a number finds the entry.
            self.all.moved_to(number);
            self.newest.send_replace(number);
        }
        topics.iter().for_each(|topic| topic.wake());
        self.all.wake();
    }

    /// Passes over `changes` numbers for what was made before anybody could follow: whoever asks for changes
    /// after an earlier number is told to begin anew.
    pub(super) fn skip(&self, changes: u64) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.newest += changes;
        self.all.moved_to(kept.newest);
        self.newest.send_replace(kept.newest);
    }

    /// Up to `max` changes after number `after`, oldest first; `None` if they are not kept any more, or
    /// never were made.
    pub(crate) fn after(&self, after: u64, max: usize) -> Option<Vec<Entry>> {
        self.news(after, max, |_| true).map(|news| news.entries)
    }

    /// Of up to `max` changes after number `after` those whose names `are_meant`; `None` if not all of
    /// them are kept any more, or some never were made.
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
        // Numbers follow one another without gaps.
        let skipped = usize::try_from(after + 1 - oldest).unwrap_or(usize::MAX);
        let looked_at = kept.entries.iter().skip(skipped).take(max);
        let place = looked_at.clone().next_back().map_or(after, |last| last.number);
        let meant = looked_at.filter(|entry| are_meant(entry.lease.service.as_str()));
        Some(News { entries: meant.cloned().collect(), place, has_more: place < newest })
    }

    /// The changes of the followed `name` after number `after`, or those among the next `max` of all; `None` as in
    /// [`Journal::news`]. Looks at no more than `max` changes, and not at those of other names unless
    /// there are more of this one.
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

    /// How many names it has to do with.
    #[cfg(test)]
    pub(super) fn names(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).names.len()
    }
}

impl Kept {
    /// The number of the oldest entry, or that of the next one if there is none.
    fn oldest(&self) -> u64 {
        self.entries.front().map_or(self.newest + 1, |entry| entry.number)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        let at = number.checked_sub(self.oldest())?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Appends a change; gives those who follow its name.
    fn push(&mut self, number: u64, kind: EventKind, lease: &Arc<Lease>) -> Option<&Arc<Topic>> {
        if self.entries.len() == JOURNAL_LEN {
            self.drop_oldest();
        }
        let before = self.oldest() - 1;
        let trace = self.names.entry(lease.service.name.clone());
        let trace = trace.or_insert_with(|| Trace { latest: before, topic: None });
        let previous = std::mem::replace(&mut trace.latest, number);
        self.newest = number;
        self.entries.push_back(Entry { number, kind, lease: Arc::clone(lease), previous });
        let topic = trace.topic.as_ref()?;
        topic.moved_to(number);
        Some(topic)
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        let name = &oldest.lease.service.name;
        let is_last = |trace: &Trace| trace.latest == oldest.number && trace.topic.is_none();
        if self.names.get(name).is_some_and(is_last) {
            self.names.remove(name);
        }
    }
}
