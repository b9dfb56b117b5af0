//! What one watcher is told, and from where on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::registry::native::{
    Cursor, Event, EventKind, Filter, Instance, Reply, Revision,
};

use crate::table::{Asker, Directory, Entry, Extent, Names, Selection};

/// Changes that a watcher is told at a time.
const BATCH: usize = 1024;

/// The most bytes of instances that a watcher is told at a time while it learns what is there.
const PAGE_BYTES: usize = 32 << 10;

/// A watcher's place in what happens. It keeps nothing else, so that ten thousand cost little and a slow
/// one holds nobody up.
#[derive(Debug)]
pub struct Watch {
    directory: Arc<Directory>,
    asker: Asker,
    names: Names,
    id: Option<u64>,
    place: Place,
    newest: tokio::sync::watch::Receiver<u64>,
}

/// Where a watcher is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// It asked to go on from a revision that is not known here.
    Lost,
    /// It is being told what is there; what happened after the revision comes then.
    Learning { after: Cursor, from: u64 },
    /// It knows everything up to this revision.
    Following(u64),
}

/// Why a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry is going")]
#[non_exhaustive]
pub struct WatchError;

impl Watch {
    pub(super) fn new(
        directory: &Arc<Directory>,
        asker: Asker,
        names: Names,
        since: Option<Revision>,
        id: Option<u64>,
    ) -> Self {
        let now = directory.revision();
        let place = match since {
            None => Place::beginning(now.number),
            Some(since) if since.store == now.store && since.number <= now.number => {
                Place::Following(since.number)
            }
            Some(_) => Place::Lost,
        };
        let newest = directory.journal.newest();
        Self { directory: Arc::clone(directory), asker, names, id, place, newest }
    }

    /// Waits until there is something to tell.
    ///
    /// # Errors
    /// [`WatchError`] if the table is no more.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn changed(&mut self) -> Result<(), WatchError> {
        match self.place {
            Place::Lost | Place::Learning { .. } => Ok(()),
            Place::Following(number) => {
                let newer = self.newest.wait_for(|newest| *newest > number).await;
                newer.map(drop).map_err(|_closed| WatchError)
            }
        }
    }

    /// Writes the next lines; tells whether there is more to tell at once.
    pub fn lines(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        match self.place {
            Place::Lost => {
                let newest = self.directory.revision().number;
                self.write(out, newest, EventKind::Reset, None, None);
                self.place = Place::beginning(newest);
                true
            }
            Place::Learning { after, from } => {
                self.learn(now, after, from, out);
                true
            }
            Place::Following(number) => self.follow(now, number, out),
        }
    }

    /// Writes that nothing has happened.
    pub fn nothing_new(&self, out: &mut Vec<u8>) {
        if let Place::Following(number) = self.place {
            self.write(out, number, EventKind::Current, None, None);
        }
    }

    fn learn(&mut self, now: Instant, after: Cursor, from: u64, out: &mut Vec<u8>) {
        let filter = Filter::default();
        let selection = Selection {
            names: &self.names,
            only: None,
            target: None,
            filter: &filter,
            with_hidden: true,
            is_full: true,
        };
        let extent = Extent { after, limit: usize::MAX, budget: PAGE_BYTES };
        let found = self.directory.select(now, &self.asker, &selection, extent);
        for service in found.services {
            for instance in service.instances {
                let name = Some(service.name.clone());
                self.write(out, from, EventKind::Added, name, Some(instance));
            }
        }
        self.place = match found.next {
            Some(after) => Place::Learning { after, from },
            None => {
                self.write(out, from, EventKind::Current, None, None);
                Place::Following(from)
            }
        };
    }

    fn follow(&mut self, now: Instant, number: u64, out: &mut Vec<u8>) -> bool {
        let Some(entries) = self.directory.journal.after(number, BATCH) else {
            self.place = Place::Lost;
            return true;
        };
        let Some(last) = entries.last().map(|entry| entry.number) else { return false };
        self.place = Place::Following(last);
        for entry in coalesce(&entries) {
            let lease = &entry.lease;
            if !self.names.include(lease.service.as_str()) {
                continue;
            }
            let Some(instance) = self.directory.view(now, &self.asker, lease, true) else {
                continue;
            };
            let name = Some(lease.service.as_str().to_owned());
            self.write(out, entry.number, entry.kind, name, Some(instance));
        }
        entries.len() == BATCH
    }

    fn write(
        &self,
        out: &mut Vec<u8>,
        number: u64,
        kind: EventKind,
        name: Option<String>,
        instance: Option<Instance>,
    ) {
        let event = Some(Box::new(Event { kind, name, instance }));
        let revision = self.directory.journal.at(number);
        let line = Reply { id: self.id, event, ..Reply::new(revision) };
        out.extend(line.to_bytes());
        out.push(b'\n');
    }
}

impl Place {
    fn beginning(from: u64) -> Self {
        Self::Learning { after: Cursor::default(), from }
    }
}

/// Of several changes of one lease the last, in order.
fn coalesce(entries: &[Entry]) -> Vec<Entry> {
    let mut spans: HashMap<u64, (EventKind, usize)> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let span = spans.entry(entry.lease.id).or_insert((entry.kind, at));
        span.1 = at;
    }
    let told = entries.iter().enumerate().filter_map(|(at, entry)| {
        let (first, last) = *spans.get(&entry.lease.id)?;
        let is_last = at == last;
        let kind = match (first, entry.kind) {
            // Whoever learned what is there meanwhile has been told of it all the same.
            (_, EventKind::Removed) => EventKind::Removed,
            (EventKind::Added, _) => EventKind::Added,
            (_, kind) => kind,
        };
        is_last.then(|| Entry { kind, ..entry.clone() })
    });
    told.collect()
}
