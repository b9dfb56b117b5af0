//! The notifications of one watcher, and its position in the journal.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::registry::native::{Cursor, EventKind, Filter, Revision};
use rpyc_protocol::{FoldedName, ServiceName};

use super::envelope::JSON_SIZES;
use super::notification_cache::{NotificationCache, write_own};
use crate::table::{Asker, Directory, Entry, Extent, Follower, Names, Selection};

/// The most changes in one batch of notifications.
const BATCH: usize = 1024;

/// The most bytes of one batch of notifications, unless one alone has more. A watcher that does not
/// read costs no more memory.
const BATCH_BYTES: usize = 64 << 10;

/// The most bytes of instances in one batch of the initial state.
const PAGE_BYTES: usize = 32 << 10;

/// A watcher's position in the journal. It holds no queue, so ten thousand watchers cost little and
/// a slow one delays no other.
#[derive(Debug)]
pub struct Watch {
    follower: Follower,
    notifications: Arc<NotificationCache>,
    asker: Asker,
    scope: WatchScope,
    id: Option<u64>,
    position: Position,
}

/// The names that a watch follows, in little memory.
#[derive(Debug)]
enum WatchScope {
    One(ServiceName),
    Like(Box<Names>),
}

/// The position of a watcher.
#[derive(Clone, Copy, Debug)]
enum Position {
    /// It resumes from a revision that this table does not know.
    Lost,
    /// It is receiving the instances that exist; the changes after revision `from` follow.
    Initial { after: Cursor, from: u64 },
    /// It has every change up to this revision.
    Following(u64),
}

impl Watch {
    pub(super) fn new(
        (directory, notifications): (&Arc<Directory>, &Arc<NotificationCache>),
        asker: Asker,
        names: Names,
        since: Option<Revision>,
        id: Option<u64>,
    ) -> Self {
        let (scope, name) = match names {
            Names::One(name) => (WatchScope::One(name.to_name()), Some(name.to_name())),
            names @ Names::Like { .. } => (WatchScope::Like(Box::new(names)), None),
        };
        // Created before the revision is read, so that it misses no later change.
        let follower = Follower::new(directory, name);
        let now = directory.revision();
        let position = match since {
            None => Position::beginning(now.number),
            Some(since) if since.store == now.store && since.number <= now.number => {
                Position::Following(since.number)
            }
            Some(_) => Position::Lost,
        };
        Self { follower, notifications: Arc::clone(notifications), asker, scope, id, position }
    }

    /// Waits until there is something to send.
    ///
    /// # Cancel safety
    /// Cancel safe. After a poll, poll it again when it wakes, or drop it: it may have to wake
    /// other watchers.
    pub async fn changed(&self) {
        if let Position::Following(number) = self.position {
            self.follower.moved_from(number).await;
        }
    }

    /// Writes the next notifications. Returns whether to call it again at once.
    pub fn lines(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        match self.position {
            Position::Lost => {
                let newest = self.follower.directory().revision().number;
                self.note_position(newest, EventKind::Reset, out);
                self.position = Position::beginning(newest);
                true
            }
            Position::Initial { after, from } => {
                self.write_initial(now, after, from, out);
                true
            }
            Position::Following(number) => self.follow(now, number, out),
        }
    }

    /// Writes that nothing has changed, and up to which revision.
    pub fn nothing_new(&mut self, out: &mut Vec<u8>) {
        if let Position::Following(number) = self.position {
            // Changes of other names move the position too, so that the watcher does not fall
            // behind.
            let number = self.follower.known_to(number);
            self.position = Position::Following(number);
            self.note_position(number, EventKind::Current, out);
        }
    }

    fn write_initial(&mut self, now: Instant, after: Cursor, from: u64, out: &mut Vec<u8>) {
        let directory = self.follower.directory();
        let one = match &self.scope {
            // A folded name is always valid.
            WatchScope::One(name) => FoldedName::new(name.as_str()).ok().map(Names::One),
            WatchScope::Like(_) => None,
        };
        let names = match (&one, &self.scope) {
            (Some(one), _) => one,
            (None, WatchScope::Like(names)) => names,
            (None, WatchScope::One(_)) => return,
        };
        let filter = Filter::default();
        let selection = Selection {
            names,
            among: None,
            only: None,
            filter: &filter,
            with_hidden: true,
            is_full: true,
        };
        let extent = Extent { after, limit: usize::MAX, budget: PAGE_BYTES, sizes: JSON_SIZES };
        let page = directory.select(now, &self.asker, &selection, extent);
        let revision = directory.journal.at(from);
        for service in page.services {
            for instance in service.instances {
                let content = Some((service.name.clone(), instance));
                write_own(self.id, revision, EventKind::Added, content, out);
            }
        }
        self.position = match page.next {
            Some(after) => Position::Initial { after, from },
            None => {
                self.note_position(from, EventKind::Current, out);
                Position::Following(from)
            }
        };
    }

    fn follow(&mut self, now: Instant, number: u64, out: &mut Vec<u8>) -> bool {
        let directory = self.follower.directory();
        let are_meant = |name: &str| match &self.scope {
            WatchScope::One(one) => one.as_str() == name,
            WatchScope::Like(names) => names.include(name),
        };
        let Some(mut news) = self.follower.news(number, BATCH, are_meant) else {
            self.position = Position::Lost;
            return true;
        };
        let len = fitting(&news.entries);
        if let Some(next) = news.entries.get(len) {
            (news.place, news.has_more) = (next.number - 1, true);
            news.entries.truncate(len);
        }
        for entry in coalesce(news.entries) {
            self.notifications.write((now, directory), (&self.asker, self.id), &entry, out);
        }
        self.position = Position::Following(news.place);
        news.has_more
    }

    fn note_position(&self, number: u64, kind: EventKind, out: &mut Vec<u8>) {
        let revision = self.follower.directory().journal.at(number);
        write_own(self.id, revision, kind, None, out);
    }
}

impl Position {
    fn beginning(from: u64) -> Self {
        Self::Initial { after: Cursor::default(), from }
    }
}

/// How many of the entries fit into one batch of notifications: at least one.
fn fitting(entries: &[Entry]) -> usize {
    /// More than the bytes of a notification without names, addresses and details.
    const REST: usize = 512;
    /// The most bytes that a byte of text takes in JSON.
    const ESCAPED: usize = 6;
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        let is_first = bytes == 0;
        bytes += REST + ESCAPED * entry.lease.text_bytes();
        is_first || bytes <= BATCH_BYTES
    };
    entries.iter().take_while(fits).count()
}

/// Keeps only the last of several changes of one lease, in order.
fn coalesce(entries: Vec<Entry>) -> Vec<Entry> {
    if entries.len() < 2 {
        return entries;
    }
    let mut spans: HashMap<u64, (EventKind, usize)> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let span = spans.entry(entry.lease.id).or_insert((entry.kind, at));
        span.1 = at;
    }
    let last = entries.into_iter().enumerate().filter_map(|(at, entry)| {
        let (first, last) = *spans.get(&entry.lease.id)?;
        let is_last = at == last;
        let kind = match (first, entry.kind) {
            // The watcher may have received the instance in the initial state, so it needs the
            // removal.
            (_, EventKind::Removed) => EventKind::Removed,
            (EventKind::Added, _) => EventKind::Added,
            (_, kind) => kind,
        };
        is_last.then(|| entry.with_kind(kind))
    });
    last.collect()
}
