//! Each instance registered, or unregistered: as fast as nothing is lost, and until all is acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::engine::Work;
use super::population::Request;
use super::train::{Asked, MAX_TRAIN, Settled, Train};

/// Requests under way at first: what a system's default buffers have room for.
const FIRST_ALLOWED: usize = 128;

/// How many timeouts without any acknowledgement mean that there will be none.
pub(super) const PATIENCE: u32 = 5;

pub(super) struct Errand<'a> {
    request: fn(u32) -> Request,
    queues: BTreeMap<u32, Queue>,
    patience: Duration,
    stop: &'a AtomicBool,
    under_way: usize,
    /// How much may be under way: more as long as nothing is lost, half as much when something is.
    allowed: usize,
    has_lost: bool,
    outcome: Outcome,
}

/// What is left to tell for one source.
struct Queue {
    next: u32,
    step: u32,
    end: u32,
    again: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) acknowledged: u32,
    pub(super) asked_again: u64,
    /// No instance from this one on has been told of.
    pub(super) reached: u32,
    last: Option<Instant>,
    gave_up: bool,
}

impl Outcome {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            acknowledged: self.acknowledged + other.acknowledged,
            asked_again: self.asked_again + other.asked_again,
            reached: self.reached.max(other.reached),
            last: self.last.max(other.last),
            gave_up: self.gave_up || other.gave_up,
        }
    }

    /// Whether the registry fell silent before all was told.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }
}

impl<'a> Errand<'a> {
    /// Makes `request` for every instance below `instances` that one of `own` of `sources` speaks for.
    pub(super) fn new(
        request: fn(u32) -> Request,
        instances: u32,
        sources: u32,
        own: impl Iterator<Item = u32>,
        timeout: Duration,
        stop: &'a AtomicBool,
    ) -> Self {
        let queue = |next| Queue { next, step: sources, end: instances, again: Vec::new() };
        Self {
            request,
            queues: own.map(|source| (source, queue(source))).collect(),
            patience: timeout * PATIENCE,
            stop,
            under_way: 0,
            allowed: FIRST_ALLOWED,
            has_lost: false,
            outcome: Outcome { last: Some(Instant::now()), ..Outcome::default() },
        }
    }

    /// Ends it.
    pub(super) fn finish(self) -> Outcome {
        let reached = self.queues.values().map(|queue| queue.next.min(queue.end)).max();
        Outcome { reached: reached.unwrap_or(0), ..self.outcome }
    }

    fn is_stopped(&self) -> bool {
        self.outcome.gave_up || self.stop.load(Ordering::Relaxed)
    }
}

impl Iterator for Queue {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if let Some(again) = self.again.pop() {
            return Some(again);
        }
        let next = self.next;
        if next >= self.end {
            return None;
        }
        self.next = next.saturating_add(self.step);
        Some(next)
    }
}

impl Work for Errand<'_> {
    fn fill(&mut self, now: Instant, source: u32, train: &mut Train) {
        if self.is_stopped() {
            return;
        }
        let room = self.allowed.saturating_sub(self.under_way).min(MAX_TRAIN);
        let Some(queue) = self.queues.get_mut(&source) else { return };
        for instance in queue.take(room) {
            train.push(Asked { request: (self.request)(instance), since: now });
            self.under_way += 1;
        }
    }

    fn answered(&mut self, now: Instant, source: u32, settled: Settled) {
        self.under_way = self.under_way.saturating_sub(1);
        if settled.is_right {
            self.outcome.acknowledged += 1;
            self.outcome.last = Some(now);
            if !self.has_lost {
                self.allowed += 1;
            }
        } else {
            self.again(source, settled.asked.request);
        }
    }

    fn over(&mut self, now: Instant, source: u32, unanswered: impl Iterator<Item = Request>) {
        let mut lost = 0;
        for request in unanswered {
            self.again(source, request);
            lost += 1;
        }
        self.under_way = self.under_way.saturating_sub(lost);
        if lost > 0 {
            self.has_lost = true;
            self.allowed = (self.allowed / 2).max(1);
        } else {
            self.allowed += 1;
        }
        let is_silent = |last| now.saturating_duration_since(last) > self.patience;
        self.outcome.gave_up |= self.outcome.last.is_some_and(is_silent);
    }

    fn is_over(&self, _now: Instant) -> bool {
        let is_done = |queue: &Queue| queue.again.is_empty() && queue.next >= queue.end;
        self.is_stopped() || self.queues.values().all(is_done)
    }
}

impl Errand<'_> {
    fn again(&mut self, source: u32, request: Request) {
        let (Request::Register(instance) | Request::Unregister(instance)) = request else { return };
        if let Some(queue) = self.queues.get_mut(&source) {
            queue.again.push(instance);
            self.outcome.asked_again += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that asks and, of each train, gets an answer to all but `lost`.
    fn play(errand: &mut Errand<'_>, source: u32, lost: impl Fn(Request) -> bool) -> usize {
        let (mut train, now) = (Train::default(), Instant::now());
        errand.fill(now, source, &mut train);
        let asked: Vec<_> = train.unanswered().collect();
        for request in asked.iter().copied().filter(|request| !lost(*request)) {
            let asked = Asked { request, since: now };
            errand.answered(now, source, Settled { asked, is_right: true });
        }
        errand.over(now, source, asked.iter().copied().filter(|request| lost(*request)));
        asked.len()
    }

    #[test]
    fn what_is_lost_is_told_again_and_slower() {
        let stop = AtomicBool::new(false);
        let timeout = Duration::from_secs(1);
        let mut errand = Errand::new(Request::Register, 1000, 2, 0..2, timeout, &stop);
        assert_eq!(play(&mut errand, 0, |_| false), FIRST_ALLOWED);
        assert!(errand.allowed > FIRST_ALLOWED);
        let before = errand.allowed;
        play(&mut errand, 1, |request| request == Request::Register(3));
        assert!(errand.allowed < before);
        while !errand.is_over(Instant::now()) {
            play(&mut errand, 0, |_| false);
            play(&mut errand, 1, |_| false);
        }
        assert_eq!((errand.outcome.acknowledged, errand.outcome.asked_again), (1000, 1));
        assert!(!errand.outcome.gave_up());
    }

    #[test]
    fn silence_ends_it() {
        let stop = AtomicBool::new(false);
        let timeout = Duration::from_secs(1);
        let mut errand = Errand::new(Request::Register, 10, 1, 0..1, timeout, &stop);
        let now = Instant::now();
        let mut train = Train::default();
        errand.fill(now, 0, &mut train);
        errand.over(now + timeout, 0, train.unanswered());
        assert!(!errand.is_over(now));
        errand.over(now + timeout * PATIENCE * 2, 0, train.unanswered());
        assert!(errand.is_over(now) && errand.outcome.gave_up());
    }
}
