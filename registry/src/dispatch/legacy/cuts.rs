//! Answers that left something out: counted, and logged once an hour for each service.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// How often the answers about one service are logged.
const LOG_INTERVAL: Duration = Duration::from_secs(3600);

/// Services whose cut answers are counted separately. The others share one count.
const SERVICES: usize = 256;

/// Counts the answers in RPyC's protocol that left something out because RPyC's clients read no
/// more bytes.
///
/// Counting an answer takes a lock for a few instructions; a complete answer costs nothing. The
/// dispatcher writes the log later, with the current time.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    total: AtomicU64,
    /// Whether a count waits to be logged.
    is_due: AtomicBool,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    queries: HashMap<Box<str>, Cut>,
    /// Answers about the services beyond the limit.
    others: Cut,
    lists: Cut,
}

/// The count of one kind of answer, and when it may be logged.
#[derive(Debug, Default)]
struct Cut {
    /// How many items the last answer held, and of how many.
    returned: usize,
    of: usize,
    /// Answers since the last line in the log.
    count: u64,
    quiet_until: Option<Instant>,
}

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// `None` for a list of names, `Some(None)` for the services beyond the limit.
    service: Option<Option<Box<str>>>,
    returned: usize,
    of: usize,
    count: u64,
}

impl Cuts {
    /// How many answers have left something out.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Records an answer to QUERY that held `returned` of `of` instances.
    #[cold]
    pub(super) fn note_query(&self, name: &str, returned: usize, of: usize) {
        self.note(|noted| {
            if noted.queries.len() >= SERVICES && !noted.queries.contains_key(name) {
                return noted.others.note(returned, of);
            }
            match noted.queries.get_mut(name) {
                Some(cut) => cut.note(returned, of),
                None => noted.queries.entry(name.into()).or_default().note(returned, of),
            }
        });
    }

    /// Records an answer to LIST that held `returned` of `of` names.
    #[cold]
    pub(super) fn note_list(&self, returned: usize, of: usize) {
        self.note(|noted| noted.lists.note(returned, of));
    }

    fn note(&self, note: impl FnOnce(&mut Noted)) {
        self.total.fetch_add(1, Ordering::Relaxed);
        note(&mut self.noted());
        self.is_due.store(true, Ordering::Relaxed);
    }

    /// Logs the counts, each kind at most once an hour.
    pub(crate) fn log(&self, now: Instant) {
        for Line { service, returned, of, count } in self.due(now) {
            match service {
                Some(Some(service)) => warn!(
                    service,
                    returned,
                    of,
                    count,
                    "answers to RPyC clients left out instances, because those clients read no \
                     more bytes; `rpyc-registry lookup` and the Rust client get all instances"
                ),
                Some(None) => {
                    warn!(count, "answers to RPyC clients left out instances of further services");
                }
                None => warn!(
                    returned,
                    of,
                    count,
                    "lists for RPyC clients left out names, because those clients read no more \
                     bytes; `rpyc-registry list` and the Rust client get all names"
                ),
            }
        }
    }

    /// The lines to log now. The lock is released before they are written.
    fn due(&self, now: Instant) -> Vec<Line> {
        if !self.is_due.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        let mut noted = self.noted();
        let mut lines = Vec::new();
        noted.queries.retain(|service, cut| {
            lines.extend(cut.line(now, || Some(Some(service.clone()))));
            !cut.is_over(now)
        });
        lines.extend(noted.others.line(now, || Some(None)));
        lines.extend(noted.lists.line(now, || None));
        let waits = |cut: &Cut| cut.count > 0;
        if noted.queries.values().chain([&noted.others, &noted.lists]).any(waits) {
            self.is_due.store(true, Ordering::Relaxed);
        }
        lines
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cut {
    fn note(&mut self, returned: usize, of: usize) {
        (self.returned, self.of) = (returned, of);
        self.count += 1;
    }

    fn line(
        &mut self,
        now: Instant,
        service: impl FnOnce() -> Option<Option<Box<str>>>,
    ) -> Option<Line> {
        if self.count == 0 || self.is_quiet(now) {
            return None;
        }
        self.quiet_until = Some(now + LOG_INTERVAL);
        let count = std::mem::take(&mut self.count);
        Some(Line { service: service(), returned: self.returned, of: self.of, count })
    }

    /// Whether the entry can be dropped: nothing to log, and the hour is over.
    fn is_over(&self, now: Instant) -> bool {
        self.count == 0 && !self.is_quiet(now)
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.quiet_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(service: &str, returned: usize, of: usize, count: u64) -> Line {
        Line { service: Some(Some(service.into())), returned, of, count }
    }

    #[test]
    fn each_service_is_logged_once_an_hour_with_what_the_line_stands_for() {
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let cuts = Cuts::default();
        assert_eq!(cuts.due(at(0)), []);
        cuts.note_query("A", 77, 500);
        assert_eq!(cuts.due(at(1)), [line("A", 77, 500, 1)]);
        cuts.note_query("A", 77, 500);
        cuts.note_query("A", 78, 501);
        cuts.note_query("B", 5, 6);
        assert_eq!(cuts.due(at(2)), [line("B", 5, 6, 1)]);
        assert_eq!(cuts.due(at(60)), []);
        assert_eq!(cuts.due(at(61)), [line("A", 78, 501, 2)]);
        cuts.note_list(48, 300);
        let list = Line { service: None, returned: 48, of: 300, count: 1 };
        assert_eq!(cuts.due(at(61)), [list]);
        assert_eq!(cuts.total(), 5);
    }

    #[test]
    fn names_without_end_take_no_memory_without_end() {
        let start = Instant::now();
        let cuts = Cuts::default();
        let count = SERVICES + 10;
        let note_all = || (0..count).for_each(|n| cuts.note_query(&n.to_string(), 1, 2));
        note_all();
        let lines = cuts.due(start);
        assert_eq!(lines.len(), SERVICES + 1);
        assert_eq!(
            lines.last(),
            Some(&Line { service: Some(None), returned: 1, of: 2, count: 10 })
        );
        // Services without a cut answer for an hour make room.
        cuts.note_list(1, 2);
        cuts.due(start + LOG_INTERVAL);
        assert_eq!(cuts.noted().queries.len(), 0);
    }
}
