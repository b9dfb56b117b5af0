//! Answers that wait for the store.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Way;
use crate::store::Ticket;

/// Answers that may wait for the store, at all sockets together. Past that, requests go unacknowledged
/// and come again.
pub(crate) const PENDING: usize = 65_536;

/// How long an answer waits for the store. RPyC's clients wait two seconds for theirs; much later the
/// port may be somebody else's.
const DEADLINE: Duration = Duration::from_secs(10);

/// The answers of one socket that wait for the store.
#[derive(Debug)]
pub(super) struct Pending {
    /// In the order of their tickets, and within one in the order in which they came.
    waiting: BTreeMap<(Ticket, u64), Waiting>,
    next: u64,
    limit: usize,
}

/// An answer that waits for the store.
#[derive(Debug)]
pub(super) struct Waiting {
    /// When nobody waits for it any more.
    pub(super) stale_at: Instant,
    pub(super) way: Way,
    pub(super) answer: Box<[u8]>,
}

impl Pending {
    /// Keeps at most `limit` answers.
    pub(super) fn new(limit: usize) -> Self {
        Self { waiting: BTreeMap::new(), next: 0, limit }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Keeps an answer until `ticket` is durable; tells whether there was room for it.
    pub(super) fn push(&mut self, now: Instant, ticket: Ticket, answer: &[u8], way: Way) -> bool {
        if self.waiting.len() >= self.limit {
            return false;
        }
        self.next += 1;
        let waiting = Waiting { stale_at: now + DEADLINE, way, answer: answer.into() };
        self.waiting.insert((ticket, self.next), waiting);
        true
    }

    /// Takes the next answer whose change is durable, now that everything up to `committed` is.
    pub(super) fn pop(&mut self, committed: Ticket) -> Option<Waiting> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= committed)?;
        Some(first.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Outgoing;

    #[test]
    fn answers_come_in_the_order_of_their_tickets_and_no_more_wait_than_there_is_room_for() {
        let now = Instant::now();
        let mut pending = Pending::new(3);
        let mut push = |ticket, answer: &[u8]| {
            let outgoing = Outgoing { to: ([127, 0, 0, 1], 1).into(), from: None, link: 0 };
            let way = Way { inlet: 0, outgoing };
            pending.push(now, Ticket::new(ticket), answer, way)
        };
        assert!(push(7, b"c") && push(5, b"a") && push(5, b"b"));
        assert!(!push(1, b"d"), "there is no room");
        let mut pop = |committed| pending.pop(Ticket::new(committed)).map(|it| it.answer);
        assert_eq!(pop(4), None);
        assert_eq!(pop(6).as_deref(), Some(&b"a"[..]));
        assert_eq!(pop(6).as_deref(), Some(&b"b"[..]));
        assert_eq!(pop(6), None);
        assert_eq!(pop(7).as_deref(), Some(&b"c"[..]));
        assert!(pending.is_empty());
    }
}
