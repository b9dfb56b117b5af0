//! The requests that a socket sends together, and which of them a reply belongs to.
//!
//! A reply in RPyC's protocol does not say which request it answers. So a socket sends the next
//! window only when every request of the last one is answered or lost: a lost reply then shifts no
//! later one. Within a window, the name in a reply to a query identifies the query. Any other reply
//! goes to the first request that it fits, which may be wrong by the microseconds between the
//! requests of one window.

use std::time::Instant;

use crate::population::{Answer, Request};

/// The most requests of a window. A default receive buffer holds twice as many replies.
pub(crate) const MAX_WINDOW: usize = 128;

/// A request, and the time from which its latency counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) since: Instant,
}

/// The request that a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) asked: Asked,
    /// Whether a correct registry would have sent this reply.
    pub(crate) is_right: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Window {
    /// In the order of sending; `None` where a reply has arrived.
    waiting: Vec<Option<Asked>>,
    sent: usize,
    settled: usize,
    /// The index of the first request that waits for a reply.
    first: usize,
}

impl Window {
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        (self.sent, self.settled, self.first) = (0, 0, 0);
    }

    pub(crate) fn push(&mut self, asked: Asked) {
        debug_assert!(self.waiting.len() < MAX_WINDOW, "a window is bounded");
        self.waiting.push(Some(asked));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether every request has a reply.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled == self.waiting.len()
    }

    /// The requests that have not been sent yet.
    pub(crate) fn unsent(&self) -> impl ExactSizeIterator<Item = Request> + '_ {
        let unsent = self.waiting.get(self.sent..).unwrap_or_default();
        // An unsent request has no reply yet, so each element is `Some`.
        unsent.iter().map(|asked| asked.map_or(Request::List, |asked| asked.request))
    }

    pub(crate) fn has_sent(&mut self, count: usize) {
        self.sent += count;
    }

    /// How many replies may still arrive.
    pub(crate) fn expected(&self) -> usize {
        self.sent - self.settled
    }

    /// The requests without a reply.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = Request> + '_ {
        self.waiting.iter().flatten().map(|asked| asked.request)
    }

    /// Finds the request that a reply belongs to; `None` if no request waits for one.
    pub(crate) fn settle(&mut self, answer: Answer) -> Option<Settled> {
        let right = self.find(|request| match (answer, request) {
            (Answer::Acknowledged, Request::Register(_) | Request::Unregister(_))
            | (Answer::Names, Request::List) => true,
            (Answer::Serves(told), Request::Query(asked)) => told == asked,
            _ => false,
        });
        // A wrong reply most likely belongs to a request of the kind that has such replies.
        let place = right.or_else(|| {
            let is_of_query = matches!(answer, Answer::Serves(_) | Answer::Nobody | Answer::Alien);
            self.find(|request| is_of_query && matches!(request, Request::Query(_)))
                .or_else(|| self.find(|_| true))
        })?;
        let asked = self.waiting.get_mut(place)?.take()?;
        self.settled += 1;
        while self.waiting.get(self.first).is_some_and(Option::is_none) {
            self.first += 1;
        }
        Some(Settled { asked, is_right: right.is_some() })
    }

    fn find(&self, fits: impl Fn(Request) -> bool) -> Option<usize> {
        let waiting = self.waiting.get(self.first..self.sent)?;
        let fits = |asked: &Option<Asked>| asked.is_some_and(|asked| fits(asked.request));
        waiting.iter().position(fits).map(|place| self.first + place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(requests: &[Request]) -> Window {
        let (mut window, since) = (Window::default(), Instant::now());
        requests.iter().for_each(|request| window.push(Asked { request: *request, since }));
        window.has_sent(requests.len());
        window
    }

    #[test]
    fn an_answer_is_for_the_first_request_that_it_fits() {
        use Request::{List, Query, Register, Unregister};
        let mut window = window(&[Query(1), Register(7), Query(2), List, Query(1), Unregister(8)]);
        for (answer, request, is_right) in [
            (Answer::Serves(2), Query(2), true),
            (Answer::Acknowledged, Register(7), true),
            (Answer::Serves(1), Query(1), true),
            (Answer::Names, List, true),
            (Answer::Serves(3), Query(1), false),
            (Answer::Nobody, Unregister(8), false),
        ] {
            let settled = window.settle(answer).unwrap();
            assert_eq!((settled.asked.request, settled.is_right), (request, is_right));
        }
        assert!(window.is_settled());
        assert_eq!(window.settle(Answer::Acknowledged), None);
    }

    #[test]
    fn what_is_lost_is_known_by_what_is_not() {
        let mut window = window(&[Request::Query(1), Request::Query(2), Request::Query(3)]);
        window.settle(Answer::Serves(3)).unwrap();
        window.settle(Answer::Serves(1)).unwrap();
        assert_eq!(window.unanswered().collect::<Vec<_>>(), [Request::Query(2)]);
        assert!(!window.is_settled());
        assert_eq!(window.expected(), 1);
    }

    #[test]
    fn what_was_not_sent_has_no_answer() {
        let mut window = Window::default();
        window.push(Asked { request: Request::List, since: Instant::now() });
        assert_eq!(window.settle(Answer::Names), None);
        assert_eq!(window.unsent().collect::<Vec<_>>(), [Request::List]);
    }
}
