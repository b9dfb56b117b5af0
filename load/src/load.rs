//! The measured load: which requests are made when, and how long their replies take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::engine::Work;
use crate::population::{Population, Request};
use crate::settings::Mix;
use crate::tally::{Kind, Tally};
use crate::window::{Asked, MAX_WINDOW, Settled, Window};

/// Which event makes a request: a reply (closed loop) or the clock (open loop).
#[derive(Clone, Copy, Debug)]
pub(crate) enum LoadModel {
    /// `at_once` requests in a window of each of the first `sources` sources, as soon as the last
    /// window of that source is settled.
    Closed { sources: u32, at_once: usize },
    /// Request `n` at `start + n / per_second`, whether or not the earlier requests are answered.
    Open { per_second: f64 },
}

pub(crate) struct Load<'a> {
    population: &'a Population,
    sources: u32,
    mix: Mix,
    model: LoadModel,
    start: Instant,
    duration: Duration,
    /// How long after the end requests that were due may still be sent.
    grace: Duration,
    stop: &'a AtomicBool,
    /// How many requests have been made.
    made: u64,
    random: fastrand::Rng,
    tally: Tally,
}

impl<'a> Load<'a> {
    pub(crate) fn new(
        population: &'a Population,
        sources: u32,
        mix: Mix,
        model: LoadModel,
        (duration, grace): (Duration, Duration),
        stop: &'a AtomicBool,
    ) -> Self {
        let (start, random) = (Instant::now(), fastrand::Rng::new());
        let (made, tally) = (0, Tally::new(start));
        Self { population, sources, mix, model, start, duration, grace, stop, made, random, tally }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How many requests were due by `now`.
    fn due(&self, now: Instant, per_second: f64) -> u64 {
        let elapsed = now.saturating_duration_since(self.start);
        let wanted = if elapsed < self.duration {
            (elapsed.as_secs_f64() * per_second).floor() + 1.0
        } else {
            (self.duration.as_secs_f64() * per_second).floor()
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of seconds times a rate is not negative, and saturates"
        )]
        let wanted = wanted as u64;
        wanted
    }

    /// How many requests were due and have not been made.
    fn overdue(&self, now: Instant) -> u64 {
        match self.model {
            LoadModel::Closed { .. } => 0,
            LoadModel::Open { per_second } => self.due(now, per_second).saturating_sub(self.made),
        }
    }

    fn choose(&mut self, source: u32) -> Request {
        let mut roll = self.random.u32(..self.mix.sum());
        if roll < self.mix.query {
            return Request::Query(self.random.u32(..self.population.names()));
        }
        roll -= self.mix.query;
        if roll >= self.mix.register {
            return Request::List;
        }
        let own = (self.population.instances() - source).div_ceil(self.sources);
        Request::Register(source + self.sources * self.random.u32(..own))
    }

    /// Ends the load. The tally includes the requests that were due and could not be sent in time.
    pub(crate) fn finish(mut self) -> Tally {
        self.tally.unasked = if self.is_stopped() { 0 } else { self.overdue(Instant::now()) };
        self.tally
    }
}

impl Work for Load<'_> {
    fn fill(&mut self, now: Instant, source: u32, window: &mut Window) {
        let elapsed = now.saturating_duration_since(self.start);
        if self.is_stopped() || elapsed >= self.duration + self.grace {
            return;
        }
        let count = match self.model {
            LoadModel::Closed { sources, .. } if source >= sources || elapsed >= self.duration => 0,
            LoadModel::Closed { at_once, .. } => at_once,
            LoadModel::Open { .. } => usize::try_from(self.overdue(now)).unwrap_or(MAX_WINDOW),
        };
        for _ in 0..count.min(MAX_WINDOW) {
            let since = match self.model {
                LoadModel::Closed { .. } => now,
                #[expect(clippy::cast_precision_loss, reason = "years of requests are exact")]
                LoadModel::Open { per_second } => {
                    self.start + Duration::from_secs_f64(self.made as f64 / per_second)
                }
            };
            self.made += 1;
            let request = self.choose(source);
            self.tally.asked(Kind::of(request));
            window.push(Asked { request, since });
        }
    }

    fn answered(&mut self, now: Instant, _source: u32, settled: Settled) {
        self.tally.answered(now, settled);
    }

    fn stray(&mut self) {
        self.tally.strays += 1;
    }

    fn over(&mut self, _now: Instant, _source: u32, unanswered: impl Iterator<Item = Request>) {
        unanswered.for_each(|request| self.tally.lost(Kind::of(request)));
    }

    fn is_over(&self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.start);
        self.is_stopped()
            || elapsed >= self.duration && self.overdue(now) == 0
            || elapsed >= self.duration + self.grace
    }
}

#[cfg(test)]
mod tests {
    use rpyc_protocol::ServiceName;

    use super::*;
    use crate::population::Hosts;

    fn population() -> Population {
        let hosts = Hosts::Loopback { first: [127, 64, 0, 1].into(), count: 2 };
        Population::new(hosts, 5, 5, &ServiceName::new("x").unwrap()).unwrap()
    }

    fn mix(text: &str) -> Mix {
        text.parse().unwrap()
    }

    #[test]
    fn requests_are_due_at_fixed_times_whatever_became_of_others() {
        let (population, stop) = (population(), AtomicBool::new(false));
        let second = Duration::from_secs(1);
        let model = LoadModel::Open { per_second: 100.0 };
        let mut load = Load::new(&population, 2, mix("query=1"), model, (second, second), &stop);
        let start = load.start;
        let mut window = Window::default();
        load.fill(start, 0, &mut window);
        assert_eq!(window.unanswered().count(), 1);
        // The registry stalls for 0.3 s. The latency of a request counts from when the request was
        // due.
        window.clear();
        let later = start + Duration::from_millis(305);
        load.fill(later, 0, &mut window);
        assert_eq!(window.unanswered().count(), 30);
        window.has_sent(30);
        let Request::Query(name) = window.unanswered().next().unwrap() else { panic!("no query") };
        let first = window.settle(crate::population::Answer::Serves(name)).unwrap();
        assert_eq!(first.asked.since, start + Duration::from_millis(10));
        // Requests that were due before the end are sent after it, and no others.
        assert!(!load.is_over(start + second));
        window.clear();
        load.fill(start + second, 0, &mut window);
        assert_eq!((window.unanswered().count(), load.made), (69, 100));
        assert!(load.is_over(start + second));
    }

    #[test]
    fn a_source_renews_its_own_instances() {
        let (population, stop) = (population(), AtomicBool::new(false));
        let second = Duration::from_secs(1);
        let model = LoadModel::Closed { sources: 2, at_once: 100 };
        let mut load = Load::new(&population, 2, mix("register=1"), model, (second, second), &stop);
        for (source, own) in [(0, vec![0, 2, 4]), (1, vec![1, 3])] {
            let mut window = Window::default();
            load.fill(load.start, source, &mut window);
            let mut renewed: Vec<_> = window
                .unanswered()
                .map(|request| match request {
                    Request::Register(instance) => instance,
                    other => panic!("{other:?}"),
                })
                .collect();
            renewed.sort_unstable();
            renewed.dedup();
            assert_eq!(renewed, own);
        }
    }
}
