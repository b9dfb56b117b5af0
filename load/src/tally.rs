//! Counts and latencies of requests, by kind.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::population::Request;
use crate::window::Settled;

/// Significant digits of a recorded latency.
const DIGITS: u8 = 3;

/// The longest latency that the histogram distinguishes: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A query for the servers of a name.
    Query,
    /// A registration or a renewal.
    Register,
    /// A query for all names.
    List,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Query, Self::Register, Self::List];

    pub(crate) fn of(request: Request) -> Self {
        match request {
            Request::Query(_) => Self::Query,
            Request::Register(_) | Request::Unregister(_) => Self::Register,
            Request::List => Self::List,
        }
    }

    /// Its name in a [`Mix`](crate::Mix) and in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Register => "register",
            Self::List => "list",
        }
    }
}

/// The outcome of the requests of a load.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tally {
    start: Instant,
    last: Instant,
    kinds: [Counts; 3],
    /// Replies that no request waited for.
    pub strays: u64,
    /// Requests that were due and could not be sent, because all sources waited for replies.
    pub unasked: u64,
}

/// The outcome of the requests of one kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Counts {
    /// How many were sent.
    pub asked: u64,
    /// How many got a reply in time, right or wrong.
    pub answered: u64,
    /// How many got a reply that a correct registry would not have sent.
    pub wrong: u64,
    /// How many got no reply in time.
    pub lost: u64,
    /// Nanoseconds until the right replies.
    latency: Histogram<u64>,
}

impl Counts {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        let latency = latency.expect("a histogram of these bounds exists");
        Self { asked: 0, answered: 0, wrong: 0, lost: 0, latency }
    }

    /// The latency that `percentile` percent of the right replies did not exceed; `None` without a
    /// right reply.
    #[must_use]
    pub fn latency(&self, percentile: f64) -> Option<Duration> {
        let is_known = !self.latency.is_empty();
        is_known.then(|| Duration::from_nanos(self.latency.value_at_percentile(percentile)))
    }

    fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.answered += other.answered;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.latency.add(&other.latency).expect("histograms of the same bounds add up");
    }
}

impl Tally {
    pub(crate) fn new(start: Instant) -> Self {
        let kinds = std::array::from_fn(|_| Counts::new());
        Self { start, last: start, kinds, strays: 0, unasked: 0 }
    }

    pub(crate) fn asked(&mut self, kind: Kind) {
        self.of(kind).asked += 1;
    }

    pub(crate) fn answered(&mut self, now: Instant, settled: Settled) {
        self.last = now;
        let counts = self.of(Kind::of(settled.asked.request));
        counts.answered += 1;
        if settled.is_right {
            let latency = now.saturating_duration_since(settled.asked.since).as_nanos();
            counts.latency.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
        } else {
            counts.wrong += 1;
        }
    }

    pub(crate) fn lost(&mut self, kind: Kind) {
        self.of(kind).lost += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (own, other) in self.kinds.iter_mut().zip(&other.kinds) {
            own.add(other);
        }
        self.start = self.start.min(other.start);
        self.last = self.last.max(other.last);
        self.strays += other.strays;
        self.unasked += other.unasked;
    }

    /// From the start to the last reply.
    pub(crate) fn elapsed(&self) -> Duration {
        self.last - self.start
    }

    /// The kinds of which at least one request was made.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, &Counts)> {
        let all = Kind::ALL.into_iter().zip(&self.kinds);
        all.filter(|(_, counts)| counts.asked > 0)
    }

    /// The counts of all kinds together.
    #[must_use]
    pub fn sum(&self) -> Counts {
        let mut sum = Counts::new();
        self.kinds.iter().for_each(|counts| sum.add(counts));
        sum
    }

    fn of(&mut self, kind: Kind) -> &mut Counts {
        let [query, register, list] = &mut self.kinds;
        match kind {
            Kind::Query => query,
            Kind::Register => register,
            Kind::List => list,
        }
    }
}
