//! Requests that leave a socket together, and which of them an answer is for.
//!
//! An answer in RPyC's protocol does not tell what it answers. So a socket asks again only when all that it
//! asked before is answered or lost: then what is lost can put no later answer to the wrong request. Within
//! a train, an answer to a query is known by its name, and other answers go to the first request that they
//! fit: their order may be wrong by the microseconds that lie between the requests of one train.

use std::time::Instant;

use super::population::{Answer, Request};

/// The most requests of a train. A socket's default receive buffer has room for twice as many answers.
pub(super) const MAX_TRAIN: usize = 128;

/// A request, and since when an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) since: Instant,
}

/// What an answer turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) asked: Asked,
    /// Whether it is what a registry that works would have answered.
    pub(super) is_right: bool,
}

#[derive(Debug, Default)]
pub(super) struct Train {
    /// In the order of sending; `None` where an answer has come.
    waiting: Vec<Option<Asked>>,
    sent: usize,
    settled: usize,
    /// Where the first is that waits.
    first: usize,
}

impl Train {
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        (self.sent, self.settled, self.first) = (0, 0, 0);
    }

    pub(super) fn push(&mut self, asked: Asked) {
        debug_assert!(self.waiting.len() < MAX_TRAIN, "a train is bounded");
        self.waiting.push(Some(asked));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether everything is answered.
    pub(super) fn is_settled(&self) -> bool {
        self.settled == self.waiting.len()
    }

    /// What has not been sent yet.
    pub(super) fn unsent(&self) -> impl ExactSizeIterator<Item = Request> + '_ {
        let unsent = self.waiting.get(self.sent..).unwrap_or_default();
        // What was not sent has no answer.
        unsent.iter().map(|asked| asked.map_or(Request::List, |asked| asked.request))
    }

    pub(super) fn has_sent(&mut self, count: usize) {
        self.sent += count;
    }

    /// How many answers may still come.
    pub(super) fn expected(&self) -> usize {
        self.sent - self.settled
    }

    /// What has no answer.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Request> + '_ {
        self.waiting.iter().flatten().map(|asked| asked.request)
    }

    /// Finds what an answer is for; `None` if nothing waits for one.
    pub(super) fn settle(&mut self, answer: Answer) -> Option<Settled> {
        let right = self.find(|request| match (answer, request) {
            (Answer::Acknowledged, Request::Register(_) | Request::Unregister(_))
            | (Answer::Names, Request::List) => true,
            (Answer::Serves(told), Request::Query(asked)) => told == asked,
            _ => false,
        });
        // A wrong answer is most likely for a request of the kind that has such answers.
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

    fn train(requests: &[Request]) -> Train {
        let (mut train, since) = (Train::default(), Instant::now());
        requests.iter().for_each(|request| train.push(Asked { request: *request, since }));
        train.has_sent(requests.len());
        train
    }

    #[test]
    fn an_answer_is_for_the_first_request_that_it_fits() {
        use Request::{List, Query, Register, Unregister};
        let mut train = train(&[Query(1), Register(7), Query(2), List, Query(1), Unregister(8)]);
        for (answer, request, is_right) in [
            (Answer::Serves(2), Query(2), true),
            (Answer::Acknowledged, Register(7), true),
            (Answer::Serves(1), Query(1), true),
            (Answer::Names, List, true),
            (Answer::Serves(3), Query(1), false),
            (Answer::Nobody, Unregister(8), false),
        ] {
            let settled = train.settle(answer).unwrap();
            assert_eq!((settled.asked.request, settled.is_right), (request, is_right));
        }
        assert!(train.is_settled());
        assert_eq!(train.settle(Answer::Acknowledged), None);
    }

    #[test]
    fn what_is_lost_is_known_by_what_is_not() {
        let mut train = train(&[Request::Query(1), Request::Query(2), Request::Query(3)]);
        train.settle(Answer::Serves(3)).unwrap();
        train.settle(Answer::Serves(1)).unwrap();
        assert_eq!(train.unanswered().collect::<Vec<_>>(), [Request::Query(2)]);
        assert!(!train.is_settled());
        assert_eq!(train.expected(), 1);
    }

    #[test]
    fn what_was_not_sent_has_no_answer() {
        let mut train = Train::default();
        train.push(Asked { request: Request::List, since: Instant::now() });
        assert_eq!(train.settle(Answer::Names), None);
        assert_eq!(train.unsent().collect::<Vec<_>>(), [Request::List]);
    }
}
