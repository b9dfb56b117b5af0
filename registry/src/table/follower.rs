//! Watchers, each at a position in the journal.

use std::sync::Arc;

use rpyc_protocol::ServiceName;

use super::Directory;
use super::journal::News;
use super::topic::Topic;

/// A watcher of one name, or of all, until it is dropped.
#[derive(Debug)]
pub(crate) struct Follower {
    directory: Arc<Directory>,
    name: Option<ServiceName>,
    topic: Arc<Topic>,
}

impl Follower {
    pub(crate) fn new(directory: &Arc<Directory>, name: Option<ServiceName>) -> Self {
        let topic = directory.journal.follow(name.as_ref());
        Self { directory: Arc::clone(directory), name, topic }
    }

    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Waits until there is a change after number `place`.
    ///
    /// Cancel safe.
    pub(crate) async fn moved_from(&self, place: u64) {
        self.topic.moved_from(place).await;
    }

    /// The changes after number `place`, as [`Journal::news_of`](super::journal::Journal).
    pub(crate) fn news(
        &self,
        place: u64,
        max: usize,
        are_meant: impl Fn(&str) -> bool,
    ) -> Option<News> {
        let journal = &self.directory.journal;
        match &self.name {
            Some(name) => journal.news_of(name, &self.topic, place, max),
            None => journal.news(place, max, are_meant),
        }
    }

    /// The highest revision up to which the watcher misses no change after `place`.
    pub(crate) fn known_to(&self, place: u64) -> u64 {
        let newest = self.directory.revision().number;
        // Reads the topic after the revision, so that it misses no change up to it.
        if self.topic.latest() > place { place } else { newest.max(place) }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.directory.journal.unfollow(self.name.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rpyc_protocol::registry::native::{EventKind, StoreId};

    use super::*;
    use crate::store::{MemoryStore, Origin};
    use crate::table::{Registry, TableConfig};

    fn directory() -> Arc<Directory> {
        let (store, origin) = (Box::new(MemoryStore::new()), Origin::empty(StoreId::new(1)));
        let config = TableConfig::default();
        let registry = Registry::new(Instant::now(), config, store, origin, Box::new(|| 4));
        registry.directory()
    }

    #[test]
    fn names_that_nobody_follows_leave_nothing_behind() {
        let directory = directory();
        let name = |number: usize| ServiceName::new(&format!("name{number}")).unwrap();
        let mut followers = Vec::new();
        for round in 0..10 {
            followers = (0..1000)
                .map(|number| Follower::new(&directory, Some(name(round * 500 + number % 700))))
                .collect();
            followers.push(Follower::new(&directory, None));
            // The followers of the previous round have been dropped by now.
            assert_eq!((directory.journal.names(), directory.journal.watchers()), (700, 1001));
        }
        drop(followers);
        assert_eq!((directory.journal.names(), directory.journal.watchers()), (0, 0));
        directory.journal.note(EventKind::Added, []);
        assert_eq!(directory.revision().number, 0, "no leases, no change");
    }
}
