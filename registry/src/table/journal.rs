//! The latest changes of the table, numbered, for those who follow it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rpyc_protocol::registry::native::{EventKind, Revision, StoreId};
use tokio::sync::watch;

use super::lease::Lease;

/// Changes that are kept. A watcher that is further behind is told to begin anew.
pub const JOURNAL_LEN: usize = 65_536;

/// One change, numbered.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) kind: EventKind,
    pub(crate) lease: Arc<Lease>,
}

/// The latest changes, shared by all watchers: each has a place in it and nothing else, so that ten
/// thousand of them cost no more memory than their places, and a slow one holds nobody up.
#[derive(Debug)]
pub(crate) struct Journal {
    store: StoreId,
    entries: RwLock<VecDeque<Entry>>,
    newest: watch::Sender<u64>,
    /// How many parts of the registry itself follow it.
    followers_within: AtomicU64,
}

impl Journal {
    /// A journal whose next change has a number above `number`.
    pub(super) fn new(store: StoreId, number: u64) -> Self {
        let (entries, newest) = (RwLock::default(), watch::Sender::new(number));
        Self { store, entries, newest, followers_within: AtomicU64::new(0) }
    }

    /// The state that the table is in.
    pub(crate) fn revision(&self) -> Revision {
        self.at(*self.newest.borrow())
    }

    pub(crate) fn at(&self, number: u64) -> Revision {
        Revision { store: self.store, number }
    }

    /// Follows the number of the newest change.
    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// As [`Journal::newest`], for a part of the registry itself, which does not count as a watcher
    /// and lives as long as this.
    pub(crate) fn newest_for_registry(&self) -> watch::Receiver<u64> {
        self.followers_within.fetch_add(1, Ordering::Relaxed);
        self.newest.subscribe()
    }

    /// How many follow it, parts of the registry aside.
    pub(crate) fn watchers(&self) -> u64 {
        let all = u64::try_from(self.newest.receiver_count()).unwrap_or(u64::MAX);
        all.saturating_sub(self.followers_within.load(Ordering::Relaxed))
    }

    /// Notes changes that have been made; watchers wake once for all of them.
    pub(super) fn note<'l>(
        &self,
        kind: EventKind,
        leases: impl IntoIterator<Item = &'l Arc<Lease>>,
    ) {
        let mut number = *self.newest.borrow();
        let before = number;
        {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            for lease in leases {
                number += 1;
                if entries.len() == JOURNAL_LEN {
                    entries.pop_front();
                }
                entries.push_back(Entry { number, kind, lease: Arc::clone(lease) });
            }
        }
        if number != before {
            self.newest.send_replace(number);
        }
    }

    /// Up to `max` changes after number `after`, oldest first; `None` if they are not kept any more, or
    /// never were made.
    pub(crate) fn after(&self, after: u64, max: usize) -> Option<Vec<Entry>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let newest = *self.newest.borrow();
        let oldest = entries.front().map_or(newest + 1, |entry| entry.number);
        if after > newest || after + 1 < oldest {
            return None;
        }
        // Numbers follow one another without gaps.
        let skipped = usize::try_from(after + 1 - oldest).unwrap_or(usize::MAX);
        Some(entries.iter().skip(skipped).take(max).cloned().collect())
    }
}
