//! The schedule of probes and the effect of their results, with explicit time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rpyc_registry::probe::{Outcome, Prober, Schedule, Start, Verdict};

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(2);
const FAILED: Outcome = Outcome::Failed { within: TIMEOUT };

/// The middle of the random range.
const MIDDLE: u32 = u32::MAX / 2;

fn schedule(failures: u32, successes: u32) -> Schedule {
    let nonzero = |number| NonZeroU32::new(number).unwrap();
    Schedule { interval: INTERVAL, failures: nonzero(failures), successes: nonzero(successes) }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A prober whose probes end at once, with the results that the test chooses.
struct Trial {
    start: Instant,
    prober: Prober,
    verdicts: HashMap<u64, Verdict>,
}

impl Trial {
    fn new(instances: u64, schedule: Schedule) -> Self {
        let start = Instant::now();
        let mut prober = Prober::new(1000);
        (1..=instances).for_each(|id| prober.watch(start, id, schedule, 0));
        Self { start, prober, verdicts: HashMap::new() }
    }

    /// The next probe, and its time.
    fn next(&mut self) -> (Instant, Start) {
        let due = self.prober.next_start().unwrap();
        (due, self.prober.start(due).unwrap())
    }

    /// Probes until `until` after the start; instances up to `failing` fail.
    fn run(&mut self, until: Duration, failing: u64) {
        while self.prober.next_start().unwrap() <= self.start + until {
            let (now, Start { attempt, id }) = self.next();
            let outcome = if id <= failing { FAILED } else { Outcome::Passed };
            match self.prober.finish(now, attempt, outcome, MIDDLE) {
                Verdict::None => {}
                verdict => drop(self.verdicts.insert(id, verdict)),
            }
        }
    }

    fn failing(&self) -> usize {
        let is_failing = |verdict: &&Verdict| matches!(verdict, Verdict::Failing { .. });
        self.verdicts.values().filter(is_failing).count()
    }

    /// Ends the next probe with `outcome`; returns the verdict, and the time to the following
    /// probe.
    fn end_next(&mut self, outcome: Outcome) -> (Verdict, Duration) {
        let (now, Start { attempt, .. }) = self.next();
        let verdict = self.prober.finish(now, attempt, outcome, MIDDLE);
        (verdict, self.prober.next_start().unwrap() - now)
    }
}

#[test]
fn failures_in_a_row_make_failing_and_successes_in_a_row_passing_again() {
    let mut trial = Trial::new(1, schedule(3, 2));
    let first = trial.start;
    let mut end = |outcome| trial.end_next(outcome).0;
    for outcome in [FAILED, FAILED, Outcome::Passed, FAILED, FAILED] {
        assert_eq!(end(outcome), Verdict::None, "a single success begins anew");
    }
    let Verdict::Failing { times: 3, since } = end(FAILED) else { unreachable!() };
    assert_eq!((since - first).as_secs(), 30, "the first of these three");
    assert_eq!(end(FAILED), Verdict::Failing { times: 4, since });
    assert_eq!(end(Outcome::Passed), Verdict::None);
    assert!(matches!(end(FAILED), Verdict::Failing { times: 1, .. }), "failing still");
    assert_eq!(end(Outcome::Passed), Verdict::None);
    assert_eq!(end(Outcome::Passed), Verdict::Passing);
    assert_eq!(end(Outcome::Passed), Verdict::None);
}

#[test]
fn a_flapping_server_changes_nothing() {
    let mut trial = Trial::new(1, schedule(3, 2));
    for round in 0..100 {
        let outcome = if round % 3 == 2 { Outcome::Passed } else { FAILED };
        assert_eq!(trial.end_next(outcome).0, Verdict::None);
    }
}

#[test]
fn probes_of_a_failing_instance_become_rarer_up_to_a_minute() {
    let mut trial = Trial::new(1, schedule(2, 1));
    let mut delays = Vec::new();
    for _ in 0..7 {
        delays.push(trial.end_next(FAILED).1.as_secs_f64().round());
    }
    assert_eq!(delays, [10., 20., 40., 60., 60., 60., 60.]);
    assert_eq!(trial.end_next(Outcome::Passed).1.as_secs_f64().round(), 10.);
    for _ in 0..100 {
        trial.end_next(FAILED);
    }
}

#[test]
fn what_could_not_be_probed_says_nothing() {
    let mut trial = Trial::new(1, schedule(1, 1));
    assert_eq!(trial.end_next(Outcome::Unable).0, Verdict::None);
    // The prober stood still meanwhile, so the apparent timeout is its own.
    let (now, Start { attempt, .. }) = trial.next();
    let late = now + TIMEOUT + secs(1);
    assert_eq!(trial.prober.finish(late, attempt, FAILED, MIDDLE), Verdict::None);
    assert!(matches!(trial.end_next(FAILED).0, Verdict::Failing { .. }));
    assert_eq!(trial.end_next(Outcome::Unable).0, Verdict::None);
}

#[test]
fn first_probes_are_spread_over_an_interval_and_later_ones_drift_apart() {
    let start = Instant::now();
    let mut prober = Prober::new(10);
    for (id, random) in [(1, 0), (2, MIDDLE), (3, u32::MAX)] {
        prober.watch(start, id, schedule(1, 1), random);
    }
    for (id, after) in [(1, 0), (2, 5), (3, 10)] {
        let due = prober.next_start().unwrap();
        assert!((due - start).abs_diff(secs(after)) < Duration::from_millis(1));
        let begun = prober.start(due).unwrap();
        assert_eq!(begun.id, id);
    }
    for (attempt, random, seconds) in [(1, 0, 9.), (2, MIDDLE, 10.), (3, u32::MAX, 11.)] {
        prober.finish(start + secs(10), attempt, Outcome::Passed, random);
        let (due, now) = (prober.next_start().unwrap(), start + secs(10));
        assert!(((due - now).as_secs_f64() - seconds).abs() < 0.001);
        prober.forget(attempt);
    }
}

#[test]
fn no_more_probes_are_under_way_than_allowed_and_the_longest_due_comes_first() {
    let start = Instant::now();
    let mut prober = Prober::new(2);
    for id in 1..=5 {
        prober.watch(start, id, schedule(1, 1), u32::try_from(id).unwrap() * 1000);
    }
    let now = start + INTERVAL;
    let first = prober.start(now).unwrap();
    assert_eq!((first.id, prober.start(now).unwrap().id), (1, 2));
    assert_eq!((prober.start(now), prober.next_start(), prober.under_way()), (None, None, 2));
    prober.finish(now, first.attempt, Outcome::Passed, 0);
    assert_eq!(prober.start(now).unwrap().id, 3);
    // A removed instance occupies its slot until its probe has ended.
    assert!(!prober.forget(2));
    assert_eq!((prober.start(now), prober.watched(), prober.under_way()), (None, 4, 2));
    assert_eq!(prober.finish(now, 2, FAILED, 0), Verdict::None);
    assert_eq!(prober.start(now).unwrap().id, 4);
    assert_eq!(prober.finish(now, 99, FAILED, 0), Verdict::None, "no such probe");
}

#[test]
fn one_that_is_forgotten_while_failing_says_so() {
    let mut trial = Trial::new(1, schedule(1, 1));
    trial.end_next(FAILED);
    assert!(trial.prober.forget(1));
    assert!(!trial.prober.forget(1));
    assert_eq!(trial.prober.next_start(), None);
}

#[test]
fn when_most_fail_at_once_none_is_called_failing_for_a_minute() {
    let mut trial = Trial::new(20, schedule(3, 2));
    trial.run(secs(100), 0);
    trial.run(secs(155), 15);
    assert!(trial.prober.is_holding_back());
    assert_eq!(trial.failing(), 0);
    // It was the network: they pass again, and none of them became failing.
    trial.run(secs(200), 0);
    assert!(!trial.prober.is_holding_back());
    assert_eq!(trial.verdicts.len(), 0);
    // It was not the network.
    trial.run(secs(300), 15);
    assert!(!trial.prober.is_holding_back());
    assert_eq!(trial.failing(), 15);
    // They recover.
    trial.run(secs(500), 0);
    assert_eq!(trial.failing(), 0);
}

#[test]
fn servers_that_are_up_for_moments_only_are_not_held_back_for_ever() {
    let mut trial = Trial::new(20, Schedule { interval: secs(4), ..schedule(3, 2) });
    trial.run(secs(100), 0);
    for cycle in 0..2 {
        trial.run(secs(140 + cycle * 45), 20);
        if cycle == 0 {
            assert_eq!(trial.failing(), 0, "it may have been the network");
            trial.run(secs(145), 0);
        }
    }
    assert_eq!(trial.failing(), 20);
}

#[test]
fn when_less_than_half_fail_or_there_are_few_nothing_is_held_back() {
    for (instances, failing) in [(20, 9), (9, 9), (2, 2)] {
        let mut trial = Trial::new(instances, schedule(3, 2));
        trial.run(secs(100), 0);
        trial.run(secs(131), failing);
        assert_eq!(trial.failing(), usize::try_from(failing).unwrap(), "of {instances}");
    }
}

proptest! {
    /// Compares with a direct implementation of the thresholds.
    #[test]
    fn thresholds_are_kept(
        failures in 1..5_u32,
        successes in 1..5_u32,
        outcomes in prop::collection::vec((0..3_usize, any::<u32>()), 1..200),
    ) {
        let mut trial = Trial::new(1, schedule(failures, successes));
        let (mut failed, mut passed, mut is_failing) = (0, 0, false);
        for (outcome, random) in outcomes {
            let (now, Start { attempt, .. }) = trial.next();
            let outcome = [Outcome::Passed, FAILED, Outcome::Unable][outcome];
            match outcome {
                Outcome::Passed => (failed, passed) = (0, passed + 1),
                Outcome::Failed { .. } => (failed, passed) = (failed + 1, 0),
                Outcome::Unable => {}
            }
            let was_failing = is_failing;
            is_failing = if is_failing { passed < successes } else { failed >= failures };
            match trial.prober.finish(now, attempt, outcome, random) {
                Verdict::None => prop_assert!(is_failing == was_failing),
                Verdict::Passing => prop_assert!(was_failing && !is_failing),
                Verdict::Failing { times, .. } => {
                    prop_assert!(is_failing);
                    prop_assert_eq!(times, failed);
                }
            }
            let delay = trial.prober.next_start().unwrap() - now;
            let most = if is_failing { secs(66) } else { secs(11) };
            prop_assert!(delay >= secs(9) && delay <= most + Duration::from_millis(1), "{:?}", delay);
        }
    }

    /// Instances come and go, and probes end in any order.
    #[test]
    fn the_cap_holds_and_nobody_is_forgotten(
        steps in prop::collection::vec((0..6_u8, 1..12_u64, any::<u32>()), 1..400),
    ) {
        let mut now = Instant::now();
        let mut prober = Prober::new(3);
        let mut watched = std::collections::BTreeSet::new();
        let mut under_way: Vec<Start> = Vec::new();
        for (step, id, random) in steps {
            match step {
                0 => {
                    prober.watch(now, id, schedule(2, 2), random);
                    watched.insert(id);
                }
                1 => {
                    prober.forget(id);
                    watched.remove(&id);
                }
                2 | 3 => {
                    if let Some(start) = prober.start(now) {
                        prop_assert!(watched.contains(&start.id));
                        under_way.push(start);
                    }
                }
                4 if !under_way.is_empty() => {
                    let index = usize::try_from(random).unwrap() % under_way.len();
                    let Start { attempt, .. } = under_way.swap_remove(index);
                    let outcome = if id % 2 == 0 { FAILED } else { Outcome::Passed };
                    prober.finish(now, attempt, outcome, random);
                }
                _ => now += secs(id),
            }
            prop_assert!(under_way.len() <= 3);
            prop_assert_eq!(prober.under_way(), under_way.len());
            prop_assert_eq!(prober.watched(), watched.len());
        }
        // Each remaining instance gets its turn.
        for Start { attempt, .. } in under_way {
            prober.finish(now, attempt, Outcome::Passed, 0);
        }
        let deadline = now + secs(200);
        while let Some(due) = prober.next_start().filter(|due| *due < deadline) {
            now = now.max(due);
            let Start { attempt, id } = prober.start(now).unwrap();
            watched.remove(&id);
            prober.finish(now, attempt, Outcome::Passed, 0);
        }
        prop_assert!(watched.is_empty(), "{:?}", watched);
    }
}
