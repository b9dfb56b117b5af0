//! Follows the table, makes the probes that are due, and reports their results to the table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::{Id, JoinSet};
use tokio::time::sleep_until;
use tracing::{debug, info, warn};

use super::connect::{self, Fault, Shown};
use super::prober::Outcome;
use super::{ProbeConfig, ProbeKind, Prober, Start, Verdict, allowed};
use crate::counters::ProbeCounters;
use crate::dispatch::Dispatcher;
use crate::table::{Failure, Instance};

/// The changes of the table that are processed before probes get their turn.
const BATCH: usize = 1024;

/// Probes as `config` says until it is dropped, which also ends the running probes.
pub(crate) async fn run(dispatcher: Arc<Dispatcher>, config: Arc<ProbeConfig>) {
    let mut newest = dispatcher.directory().journal.newest_for_registry();
    let mut shell = Shell {
        prober: Prober::new(config.at_once),
        dispatcher,
        config,
        watched: HashMap::new(),
        probes: JoinSet::new(),
        attempts: HashMap::new(),
        place: None,
    };
    loop {
        while shell.catch_up(now()) {
            tokio::task::yield_now().await;
        }
        shell.start_due(now());
        let next = shell.prober.next_start();
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return },
            () = sleep_until(next.unwrap_or_else(now).into()), if next.is_some() => {}
            Some(done) = shell.probes.join_next_with_id() => match done {
                Ok((task, done)) => shell.finish(now(), task, Some(done)),
                Err(panicked) => shell.finish(now(), panicked.id(), None),
            }
        }
    }
}

struct Shell {
    dispatcher: Arc<Dispatcher>,
    config: Arc<ProbeConfig>,
    prober: Prober,
    watched: HashMap<u64, Watched>,
    probes: JoinSet<Result<Shown, Fault>>,
    attempts: HashMap<Id, Attempt>,
    /// The latest change that has been processed; `None` if the whole table must be read.
    place: Option<u64>,
}

/// An instance that is probed, and how.
struct Watched {
    instance: Arc<Instance>,
    kind: ProbeKind,
    limit: std::time::Duration,
    shown: Shown,
}

/// A running probe.
struct Attempt {
    start: Start,
    /// The longest that it may take.
    within: std::time::Duration,
}

impl Shell {
    /// Processes changes of the table; returns whether there may be more.
    fn catch_up(&mut self, now: Instant) -> bool {
        let directory = Arc::clone(self.dispatcher.directory());
        let Some(place) = self.place else {
            self.place = Some(directory.revision().number);
            self.look_at_all(now);
            return true;
        };
        let Some(entries) = directory.journal.after(place, BATCH) else {
            self.place = None;
            return true;
        };
        let Some(last) = entries.last() else { return false };
        self.place = Some(last.number);
        let mut seen = HashSet::new();
        for entry in &entries {
            if seen.insert(entry.lease.instance.id) {
                self.look_at(now, &entry.lease.instance);
            }
        }
        self.tell_counts();
        true
    }

    fn look_at_all(&mut self, now: Instant) {
        let directory = Arc::clone(self.dispatcher.directory());
        let mut seen = HashSet::new();
        directory.visit(|leases| {
            for lease in leases {
                if seen.insert(lease.instance.id) {
                    self.look_at(now, &lease.instance);
                }
            }
        });
        let gone: Vec<_> = self.watched.keys().filter(|id| !seen.contains(id)).copied().collect();
        for id in gone {
            self.forget(id);
        }
        self.tell_counts();
    }

    /// Probes an instance if a rule matches one of its current names; otherwise stops probing it.
    fn look_at(&mut self, now: Instant, instance: &Arc<Instance>) {
        let names = self.dispatcher.directory().names_of(instance);
        let Some(rule) = self.config.rule_for(&names) else { return self.forget(instance.id) };
        self.prober.watch(now, instance.id, rule.schedule(), fastrand::u32(..));
        let (kind, limit) = (rule.kind, rule.timeout);
        let directory = self.dispatcher.directory();
        let watched = self.watched.entry(instance.id).or_insert_with(|| Watched {
            instance: Arc::clone(instance),
            kind,
            limit,
            shown: Shown { dialect: None, expected: directory.dialect_of(instance) },
        });
        (watched.kind, watched.limit) = (kind, limit);
    }

    fn forget(&mut self, id: u64) {
        let was_failing = self.prober.forget(id);
        if let Some(Watched { instance, .. }) = self.watched.remove(&id)
            && was_failing
        {
            self.dispatcher.probed(&instance, None);
        }
    }

    fn start_due(&mut self, now: Instant) {
        while let Some(start) = self.prober.start(now) {
            let Some(Watched { instance, kind, limit, shown }) = self.watched.get(&start.id) else {
                self.prober.finish(now, start.attempt, Outcome::Unable, fastrand::u32(..));
                continue;
            };
            let (kind, limit, shown) = (*kind, *limit, *shown);
            let addresses = allowed(self.dispatcher.directory(), instance, &self.config);
            let within = limit.saturating_mul(u32::try_from(addresses.len()).unwrap_or(u32::MAX));
            let probe = async move { connect::probe(kind, &addresses, limit, shown).await };
            let task = self.probes.spawn(probe).id();
            self.attempts.insert(task, Attempt { start, within });
        }
        self.tell_counts();
    }

    /// Records the end of a probe; `done` is `None` if its task panicked.
    fn finish(&mut self, now: Instant, task: Id, done: Option<Result<Shown, Fault>>) {
        let Some(Attempt { start, within }) = self.attempts.remove(&task) else { return };
        let (outcome, error) = match done {
            Some(Ok(shown)) => {
                if let Some(watched) = self.watched.get_mut(&start.id) {
                    watched.shown = shown;
                    if let Some(dialect) = shown.dialect {
                        self.dispatcher.directory().learn_dialect(&watched.instance, dialect);
                    }
                }
                (Outcome::Passed, String::new())
            }
            Some(Err(Fault::Theirs(why))) => {
                // Another server may have the address next time.
                if let Some(watched) = self.watched.get_mut(&start.id) {
                    watched.shown = Shown::default();
                }
                (Outcome::Failed { within }, why)
            }
            Some(Err(Fault::Ours(why))) => (Outcome::Unable, why),
            None => (Outcome::Unable, "the probe panicked".to_owned()),
        };
        debug!(instance = start.id, ?outcome, error, "probed");
        let counters = self.counters();
        match outcome {
            Outcome::Passed => counters.done(),
            Outcome::Failed { .. } => counters.failed(),
            Outcome::Unable => counters.unable(),
        }
        let was_holding_back = self.prober.is_holding_back();
        let verdict = self.prober.finish(now, start.attempt, outcome, fastrand::u32(..));
        self.tell_of_doubt(was_holding_back);
        if let Some(Watched { instance, .. }) = self.watched.get(&start.id) {
            match verdict {
                Verdict::None => {}
                Verdict::Passing => self.dispatcher.probed(instance, None),
                Verdict::Failing { times, since } => {
                    let failure = Failure { error: error.into(), times, since };
                    self.dispatcher.probed(instance, Some(failure));
                }
            }
        }
        self.tell_counts();
    }

    fn tell_of_doubt(&self, was_holding_back: bool) {
        match (was_holding_back, self.prober.is_holding_back()) {
            (false, true) => warn!(
                "most probes fail together, so the network or this machine is suspected first; no \
                 instance becomes failing because of that for at most a minute"
            ),
            (true, false) => info!("failed probes count again"),
            _ => {}
        }
    }

    fn tell_counts(&self) {
        self.counters().set(
            self.prober.watched(),
            self.prober.under_way(),
            self.prober.is_holding_back(),
        );
    }

    fn counters(&self) -> &ProbeCounters {
        &self.dispatcher.counters().probes
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
