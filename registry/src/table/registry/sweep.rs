//! The ends of leases that nobody renews, and their protection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::EventKind;
use tracing::{debug, info, warn};

use super::{Registry, millis};
use crate::table::clock::Tick;
use crate::table::lease::{Lease, Suspicion};
use crate::table::protection::Of;

/// The longest time between two sweeps. A sweep that comes later than this was kept from running, and
/// so, presumably, were renewals: what it is late is credited to every lease.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(200);

/// Leases looked at, ended or kept in one call of [`Registry::expire`]: some hundred microseconds of work,
/// so that neither registrations nor whoever shares the processor wait long.
const SWEEP_BATCH: usize = 256;

/// Suspects looked at in a sweep to find those that nothing protects any more.
const RELEASE_BATCH: usize = 1024;

/// Overdue leases on the way to their end, or to being kept. One sweep takes them through in several calls
/// if they are many.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// Found, and waiting until all others that are overdue have been found too.
    found: Vec<Arc<Lease>>,
    /// How many of those each service has.
    found_of: HashMap<u64, usize>,
    /// Judged: these end.
    ending: Vec<Arc<Lease>>,
    /// Judged: these are kept for now.
    keeping: Vec<Arc<Lease>>,
    /// How many more may end in this sweep.
    room: usize,
}

impl Overdue {
    fn is_judged(&self) -> bool {
        !self.ending.is_empty() || !self.keeping.is_empty()
    }
}

impl Registry {
    /// Ends the leases whose time has come, a bounded number at a call.
    ///
    /// Call it at the instant it returns, again and again. If a call comes more than
    /// [`SWEEP_INTERVAL`] late, everything here stood still for that time, and every lease is
    /// extended by it.
    pub fn expire(&mut self, now: Instant) -> Instant {
        let late = now.saturating_duration_since(self.next_sweep);
        if late > SWEEP_INTERVAL {
            self.directory.clock.credit(late);
            warn!(
                late = %humantime::format_duration(Duration::from_millis(millis(late))),
                "the registry did not run for a while; every lease is extended by that"
            );
        }
        let tick = self.directory.clock.tick(now);
        self.telling.turn(tick);
        self.next_sweep = if self.sweep(tick) {
            let next = now + SWEEP_INTERVAL;
            self.next_expiry().map_or(next, |expiry| expiry.clamp(now, next))
        } else {
            now
        };
        self.next_sweep
    }

    /// The earliest time at which a lease may end.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        let tick = self.queue.first().into_iter().chain(self.held.first()).min()?;
        Some(self.directory.clock.instant(tick))
    }

    /// Goes on with a sweep; tells whether that was all of it.
    fn sweep(&mut self, tick: Tick) -> bool {
        let mut budget = SWEEP_BATCH;
        if !self.overdue.is_judged() {
            if self.overdue.found.is_empty() {
                self.losses.forget_before(tick, self.directory.ttl());
            }
            if !self.find_overdue(tick, &mut budget) {
                return false;
            }
            self.judge_overdue();
        }
        self.carry_out(tick, &mut budget);
        if self.overdue.is_judged() {
            return false;
        }
        self.release_unprotected();
        self.end_of_protection(tick)
    }

    /// Takes leases whose time has come out of the queue; tells whether it has found them all.
    fn find_overdue(&mut self, tick: Tick, budget: &mut usize) -> bool {
        while *budget > 0 {
            let Some(lease) = self.queue.pop(tick) else { return true };
            *budget -= 1;
            match lease.deadline() {
                Some(deadline) if deadline > tick => self.queue.push(deadline, lease),
                Some(_) => {
                    *self.overdue.found_of.entry(lease.service_id()).or_default() += 1;
                    self.overdue.found.push(lease);
                }
                None => debug!(name = ?lease.service.as_str(), "an ended lease was still queued"),
            }
        }
        false
    }

    /// Decides which of the overdue end, and which are kept because they are too many to be believed.
    fn judge_overdue(&mut self) {
        let found = std::mem::take(&mut self.overdue.found);
        let mut found_of = std::mem::take(&mut self.overdue.found_of);
        self.look_at_the_table(found.len());
        found_of.retain(|service, found| self.is_protected(*service, *found));
        let (mut keeping, mut ending) = if self.is_table_protected {
            (found, Vec::new())
        } else if found_of.is_empty() {
            (Vec::new(), found)
        } else {
            found.into_iter().partition(|lease| found_of.contains_key(&lease.service_id()))
        };
        // In random order, so that no service loses all it has before the others lose anything.
        self.shuffle(&mut ending);
        let cap = self.config.protection.evictions_per_sweep;
        keeping.extend(ending.drain(cap.min(ending.len())..));
        let room = cap - ending.len();
        self.overdue = Overdue { ending, keeping, room, ..Overdue::default() };
    }

    /// Ends or keeps some of those that have been judged.
    fn carry_out(&mut self, tick: Tick, budget: &mut usize) {
        let mut some_of = |leases: &mut Vec<Arc<Lease>>| {
            let some = leases.split_off(leases.len().saturating_sub(*budget));
            *budget -= some.len();
            some
        };
        let ending = some_of(&mut self.overdue.ending);
        let keeping = some_of(&mut self.overdue.keeping);
        self.evict(tick, ending);
        self.hold(tick, keeping);
    }

    /// Finds whether too much of the whole table is overdue, and tells when that begins and ends.
    fn look_at_the_table(&mut self, overdue: usize) {
        let gone = overdue + self.held.len();
        let is_protected = self.is_worth_protecting()
            && gone > 0
            && self.losses.is_too_much(&self.config.protection, Of::Table, gone, self.leases);
        if is_protected && !self.is_table_protected {
            warn!(
                overdue = gone,
                registrations = self.leases,
                "too many are overdue at once to be believed: they are kept as suspects, each for \
                 one more TTL at most; `rpyc-registry release` ends this"
            );
        } else if !is_protected && self.is_table_protected {
            info!("the table is not protected any more");
        }
        self.is_table_protected = is_protected;
    }

    /// Whether too much of one service is overdue.
    fn is_protected(&self, service: u64, overdue: usize) -> bool {
        let held = self.held_of.get(&service).copied().unwrap_or(0);
        self.is_worth_protecting()
            && self.losses.is_too_much(
                &self.config.protection,
                Of::Service(service),
                overdue + held,
                self.directory.service_len(service),
            )
    }

    fn is_worth_protecting(&self) -> bool {
        self.instances >= self.config.protection.sample
    }

    /// Ends leases that are still overdue.
    fn evict(&mut self, tick: Tick, overdue: Vec<Arc<Lease>>) {
        let mut ended = Vec::with_capacity(overdue.len());
        for lease in overdue {
            if self.end_if_overdue(tick, &lease) {
                self.losses.note(tick, lease.service_id());
                ended.push(lease);
            }
        }
        self.finish(&ended, "expired");
    }

    /// Ends a lease unless it has been renewed meanwhile.
    fn end_if_overdue(&mut self, tick: Tick, lease: &Arc<Lease>) -> bool {
        let Some(deadline) = lease.deadline() else { return false };
        let has_ended = deadline <= tick && lease.end_if_still(deadline);
        if !has_ended {
            let deadline = lease.deadline().unwrap_or(tick);
            self.queue.push(deadline, Arc::clone(lease));
        }
        has_ended
    }

    /// Keeps leases that are still overdue as suspects, each for one TTL at most.
    fn hold(&mut self, tick: Tick, mut leases: Vec<Arc<Lease>>) {
        leases.retain(|lease| match lease.deadline() {
            Some(deadline) if deadline > tick => {
                // Renewed since it was found.
                self.queue.push(deadline, Arc::clone(lease));
                false
            }
            deadline => deadline.is_some(),
        });
        for lease in &leases {
            lease.set_suspicion(Some(Suspicion::Overdue));
            *self.held_of.entry(lease.service_id()).or_default() += 1;
            let until = self.kept_until(lease);
            self.held.push(until, Arc::clone(lease));
        }
        self.directory.rank(&leases);
        self.note(EventKind::Updated, &leases);
    }

    /// When an overdue lease goes, whatever protects it.
    fn kept_until(&self, lease: &Lease) -> Tick {
        let overdue_since = lease.deadline().unwrap_or(Tick::FIRST);
        overdue_since.after(lease.ttl(self.directory.ttl()))
    }

    /// Ends some of the held leases that nothing protects any more.
    fn release_unprotected(&mut self) {
        if self.is_table_protected || self.held.is_empty() {
            return;
        }
        let mut protected = HashMap::new();
        let mut released: Vec<_> = Vec::new();
        for lease in self.held.iter().take(RELEASE_BATCH) {
            let service = lease.service_id();
            let is_protected =
                *protected.entry(service).or_insert_with(|| self.is_protected(service, 0));
            if !is_protected {
                released.push(Arc::clone(lease));
            }
        }
        self.shuffle(&mut released);
        released.truncate(self.overdue.room);
        released.retain(|lease| lease.deadline().is_some_and(|it| lease.end_if_still(it)));
        self.finish(&released, "expired");
    }

    /// Ends what has been held for a whole TTL, whatever protects it; tells whether that was all.
    fn end_of_protection(&mut self, tick: Tick) -> bool {
        let mut ended = Vec::new();
        let mut is_all = false;
        for _ in 0..SWEEP_BATCH {
            let Some(lease) = self.held.pop(tick) else {
                is_all = true;
                break;
            };
            let until = self.kept_until(&lease);
            if until > tick {
                self.held.push(until, lease);
                continue;
            }
            match lease.deadline() {
                Some(deadline) if lease.end_if_still(deadline) => {
                    self.uncount_held(&lease);
                    ended.push(lease);
                }
                // It is being renewed at this very moment.
                Some(_) => self.held.push(tick.after(SWEEP_INTERVAL), lease),
                None => self.uncount_held(&lease),
            }
        }
        self.finish(&ended, "expired after a TTL as a suspect");
        is_all
    }

    fn shuffle(&mut self, leases: &mut [Arc<Lease>]) {
        if leases.len() > 1 {
            let seed = (self.entropy)() & u128::from(u64::MAX);
            fastrand::Rng::with_seed(u64::try_from(seed).unwrap_or(0)).shuffle(leases);
        }
    }
}
