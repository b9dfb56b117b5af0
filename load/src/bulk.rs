//! Registers or unregisters every instance, as fast as no request is lost, until the registry has
//! acknowledged all of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::engine::Work;
use crate::population::Request;
use crate::window::{Asked, MAX_WINDOW, Settled, Window};

/// The requests in flight at first: as many as a system's default buffers hold.
const FIRST_ALLOWED: usize = 128;

/// After this many timeouts without an acknowledgement, the registry counts as silent.
pub(crate) const PATIENCE: u32 = 5;

pub(crate) struct Bulk<'a> {
    request: fn(u32) -> Request,
    queues: BTreeMap<u32, Queue>,
    patience: Duration,
    stop: &'a AtomicBool,
    under_way: usize,
    /// The limit of requests in flight. It grows while no request is lost and halves after a loss.
    allowed: usize,
    has_lost: bool,
    outcome: Outcome,
}

/// The instances that one source still has to register or unregister.
struct Queue {
    next: u32,
    step: u32,
    end: u32,
    again: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) acknowledged: u32,
    pub(crate) asked_again: u64,
    /// No instance from this number on was sent.
    pub(crate) reached: u32,
    last: Option<Instant>,
    gave_up: bool,
}

impl Outcome {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            acknowledged: self.acknowledged + other.acknowledged,
            asked_again: self.asked_again + other.asked_again,
            reached: self.reached.max(other.reached),
            last: self.last.max(other.last),
            gave_up: self.gave_up || other.gave_up,
        }
    }

    /// Whether the registry stopped acknowledging before every instance was acknowledged.
    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up
    }
}

impl<'a> Bulk<'a> {
    /// Makes `request` for those instances below `instances` that belong to the sources in `own`,
    /// out of `sources` sources.
    pub(crate) fn new(
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

    /// Returns the outcome.
    pub(crate) fn finish(self) -> Outcome {
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

impl Work for Bulk<'_> {
    fn fill(&mut self, now: Instant, source: u32, window: &mut Window) {
        if self.is_stopped() {
            return;
        }
        let room = self.allowed.saturating_sub(self.under_way).min(MAX_WINDOW);
        let Some(queue) = self.queues.get_mut(&source) else { return };
        for instance in queue.take(room) {
            window.push(Asked { request: (self.request)(instance), since: now });
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

impl Bulk<'_> {
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

    /// A source that sends requests and, in each window, gets a reply to all but `lost`.
    fn play(bulk: &mut Bulk<'_>, source: u32, lost: impl Fn(Request) -> bool) -> usize {
        let (mut window, now) = (Window::default(), Instant::now());
        bulk.fill(now, source, &mut window);
        let asked: Vec<_> = window.unanswered().collect();
        for request in asked.iter().copied().filter(|request| !lost(*request)) {
            let asked = Asked { request, since: now };
            bulk.answered(now, source, Settled { asked, is_right: true });
        }
        bulk.over(now, source, asked.iter().copied().filter(|request| lost(*request)));
        asked.len()
    }

    #[test]
    fn what_is_lost_is_told_again_and_slower() {
        let stop = AtomicBool::new(false);
        let timeout = Duration::from_secs(1);
        let mut bulk = Bulk::new(Request::Register, 1000, 2, 0..2, timeout, &stop);
        assert_eq!(play(&mut bulk, 0, |_| false), FIRST_ALLOWED);
        assert!(bulk.allowed > FIRST_ALLOWED);
        let before = bulk.allowed;
        play(&mut bulk, 1, |request| request == Request::Register(3));
        assert!(bulk.allowed < before);
        while !bulk.is_over(Instant::now()) {
            play(&mut bulk, 0, |_| false);
            play(&mut bulk, 1, |_| false);
        }
        assert_eq!((bulk.outcome.acknowledged, bulk.outcome.asked_again), (1000, 1));
        assert!(!bulk.outcome.gave_up());
    }

    #[test]
    fn silence_ends_it() {
        let stop = AtomicBool::new(false);
        let timeout = Duration::from_secs(1);
        let mut bulk = Bulk::new(Request::Register, 10, 1, 0..1, timeout, &stop);
        let now = Instant::now();
        let mut window = Window::default();
        bulk.fill(now, 0, &mut window);
        bulk.over(now + timeout, 0, window.unanswered());
        assert!(!bulk.is_over(now));
        bulk.over(now + timeout * PATIENCE * 2, 0, window.unanswered());
        assert!(bulk.is_over(now) && bulk.outcome.gave_up());
    }
}
