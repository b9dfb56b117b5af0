//! Schedules the probes of each instance, and judges their results.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::distrust::Distrust;

/// The longest time between two probes of a failing instance, unless its interval is longer.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// A failure that comes later than its limit by this much means that this process did not run, and
/// says nothing about the server.
const LATE: Duration = Duration::from_millis(500);

/// The interval of an instance's probes, and the numbers of equal results that change its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "built by callers as a literal")]
pub struct Schedule {
    /// The time between two probes.
    pub interval: Duration,
    /// How many failures in a row make a passing instance failing.
    pub failures: NonZeroU32,
    /// How many successes in a row make a failing instance passing.
    pub successes: NonZeroU32,
}

/// A probe that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers take it apart")]
pub struct Start {
    /// The number of the probe, for [`Prober::finish`].
    pub attempt: u64,
    /// The number of the instance.
    pub id: u64,
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else")]
pub enum Outcome {
    /// The server answered.
    Passed,
    /// The server did not answer; without any answer the probe would have taken `within`.
    Failed {
        /// The longest that the probe may take.
        within: Duration,
    },
    /// The probe could not be made, so it has no result.
    Unable,
}

/// The effect of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else")]
pub enum Verdict {
    /// The state does not change.
    None,
    /// The instance is failing; it may have been failing before.
    Failing {
        /// Failures in a row.
        times: u32,
        /// When the first of them occurred.
        since: Instant,
    },
    /// The instance is passing again.
    Passing,
}

#[derive(Debug)]
struct Target {
    schedule: Schedule,
    /// When its next probe is due; `None` while one is running.
    due: Option<Instant>,
    failures: u32,
    successes: u32,
    /// When the first of the failures occurred.
    failed_since: Option<Instant>,
    is_failing: bool,
    /// Its part in the counts of [`Distrust`].
    counted: Counted,
}

/// How [`Distrust`] counts an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Counted {
    #[default]
    No,
    Known,
    Doubted,
}

/// Schedules the probes of each instance, and judges their results.
///
/// Pure: time and random numbers come in as arguments. An instance becomes failing after a number
/// of failures in a row, and passing after a number of successes; probes of a failing instance
/// become rarer. The number of concurrent probes is bounded, and the longest overdue start first.
/// If most passing instances fail together, new failures are held back for at most a minute.
#[derive(Debug)]
pub struct Prober {
    at_once: usize,
    targets: HashMap<u64, Target>,
    due: BTreeSet<(Instant, u64)>,
    /// The instance of each running probe, and when the probe began.
    under_way: HashMap<u64, (u64, Instant)>,
    next_attempt: u64,
    distrust: Distrust,
    is_holding_back: bool,
}

impl Prober {
    /// A prober without instances that runs at most `at_once` probes at once (at least one).
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self {
            at_once: at_once.max(1),
            targets: HashMap::new(),
            due: BTreeSet::new(),
            under_way: HashMap::new(),
            next_attempt: 1,
            distrust: Distrust::default(),
            is_holding_back: false,
        }
    }

    /// Starts to probe an instance, the first time within one interval; changes the schedule of one
    /// that is probed already.
    pub fn watch(&mut self, now: Instant, id: u64, schedule: Schedule, random: u32) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.schedule = schedule;
            return;
        }
        let due = now + schedule.interval.mul_f64(fraction(random));
        let (failures, successes, failed_since) = Default::default();
        let (is_failing, counted) = (false, Counted::No);
        let due = Some(due);
        let target =
            Target { schedule, due, failures, successes, failed_since, is_failing, counted };
        self.due.extend(due.map(|due| (due, id)));
        self.targets.insert(id, target);
    }

    /// Stops probing an instance; returns whether it was failing.
    pub fn forget(&mut self, id: u64) -> bool {
        let Some(target) = self.targets.remove(&id) else { return false };
        if let Some(due) = target.due {
            self.due.remove(&(due, id));
        }
        count(&mut self.distrust, target.counted, Counted::No);
        target.is_failing
    }

    /// Starts the next probe, if one is due and the limit allows it.
    pub fn start(&mut self, now: Instant) -> Option<Start> {
        let (due, id) = *self.due.first()?;
        if due > now || self.under_way.len() >= self.at_once {
            return None;
        }
        self.due.remove(&(due, id));
        self.targets.get_mut(&id)?.due = None;
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        self.under_way.insert(attempt, (id, now));
        Some(Start { attempt, id })
    }

    /// When the next probe is due; `None` if it must wait for the end of another.
    #[must_use]
    pub fn next_start(&self) -> Option<Instant> {
        let has_room = self.under_way.len() < self.at_once;
        self.due.first().map(|(due, _)| *due).filter(|_| has_room)
    }

    /// Records the result of a probe.
    pub fn finish(&mut self, now: Instant, attempt: u64, outcome: Outcome, random: u32) -> Verdict {
        let Some((id, started)) = self.under_way.remove(&attempt) else { return Verdict::None };
        // An instance that was forgotten and is watched again waits for its next probe.
        let Some(target) = self.targets.get_mut(&id).filter(|it| it.due.is_none()) else {
            return Verdict::None;
        };
        let took = now.saturating_duration_since(started);
        let counts_as = match outcome {
            Outcome::Passed => {
                target.failures = 0;
                target.failed_since = None;
                target.successes = target.successes.saturating_add(1);
                Some(Counted::Known)
            }
            Outcome::Failed { within } if took <= within + LATE => {
                target.successes = 0;
                target.failures = target.failures.saturating_add(1);
                target.failed_since.get_or_insert(now);
                Some(Counted::Doubted)
            }
            Outcome::Failed { .. } | Outcome::Unable => None,
        };
        let is_news = counts_as.is_some();
        if let Some(counts_as) = counts_as.filter(|_| !target.is_failing) {
            count(&mut self.distrust, target.counted, counts_as);
            target.counted = counts_as;
        }
        self.is_holding_back = self.distrust.look(now);
        let verdict = if is_news { target.judge(self.is_holding_back) } else { Verdict::None };
        let counts_as = match verdict {
            Verdict::Failing { .. } => Counted::No,
            Verdict::Passing => Counted::Known,
            Verdict::None => target.counted,
        };
        count(&mut self.distrust, target.counted, counts_as);
        target.counted = counts_as;

        let due = now + target.delay(random);
        target.due = Some(due);
        self.due.insert((due, id));
        verdict
    }

    /// The number of instances that are probed.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.targets.len()
    }

    /// The number of running probes.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Whether failures are held back because most probes fail.
    #[must_use]
    pub fn is_holding_back(&self) -> bool {
        self.is_holding_back
    }
}

impl Target {
    /// Judges the instance after a result.
    fn judge(&mut self, is_held_back: bool) -> Verdict {
        if self.is_failing && self.successes >= self.schedule.successes.get() {
            self.is_failing = false;
            return Verdict::Passing;
        }
        let is_enough = self.failures >= self.schedule.failures.get() && !is_held_back;
        match self.failed_since {
            Some(since) if self.failures > 0 && (self.is_failing || is_enough) => {
                self.is_failing = true;
                Verdict::Failing { times: self.failures, since }
            }
            _ => Verdict::None,
        }
    }

    /// The time to the next probe: the interval, doubled after each further failure of a failing
    /// instance. It varies by a tenth, so that instances that began together drift apart.
    fn delay(&self, random: u32) -> Duration {
        let interval = self.schedule.interval;
        let base = if self.is_failing && self.failures > 0 {
            let more = self.failures.saturating_sub(self.schedule.failures.get()).min(20) + 1;
            interval.saturating_mul(1 << more).min(LONGEST_BACK_OFF.max(interval))
        } else {
            interval
        };
        base.mul_f64(0.9 + 0.2 * fraction(random))
    }
}

fn count(distrust: &mut Distrust, before: Counted, after: Counted) {
    let is_known = |counted| usize::from(counted != Counted::No);
    let is_doubted = |counted| usize::from(counted == Counted::Doubted);
    distrust.known = distrust.known + is_known(after) - is_known(before);
    distrust.doubted = distrust.doubted + is_doubted(after) - is_doubted(before);
}

/// A number from 0 to 1.
fn fraction(random: u32) -> f64 {
    f64::from(random) / f64::from(u32::MAX)
}
