//! Expiry of leases, and their protection.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::EventKind;
use tracing::{debug, info, warn};

use super::{Registry, millis};
use crate::table::clock::{SIGN_INTERVAL, Tick};
use crate::table::lease::{Lease, Suspicion};
use crate::table::protection::Of;

/// The longest time between two sweeps. If a sweep comes later, and nothing else has shown since
/// that the process runs, it stood still: the delay is credited to every lease.
pub const SWEEP_INTERVAL: Duration = SIGN_INTERVAL;

/// The work of one call of [`Registry::expire`], in looks at a lease: some hundred microseconds. So
/// neither registrations nor other processes on the same processor wait long.
const BUDGET: usize = 1024;

/// The cost of other work, in looks at a lease: judging a service, keeping a lease, ending one.
const JUDGING: usize = 8;
const KEEPING: usize = 8;
const ENDING: usize = 32;

/// Suspects that one sweep looks at to find unprotected ones.
const RELEASE_BATCH: usize = 1024;

/// A sweep: it ends or keeps overdue leases. If there are many, it takes several calls of
/// [`Registry::expire`].
#[derive(Debug, Default)]
pub(super) struct Sweep {
    stage: Stage,
    /// Overdue leases with the numbers of their services.
    found: Vec<(u64, Arc<Lease>)>,
    /// The number of found leases of each service.
    found_of: HashMap<u64, usize>,
    /// Services that have not been judged yet, with the number of their found leases.
    unjudged: Vec<(u64, usize)>,
    /// Services that are protected.
    protected: HashSet<u64>,
    ending: Vec<Arc<Lease>>,
    keeping: Vec<Arc<Lease>>,
    /// Unprotected suspects.
    releasing: Vec<Arc<Lease>>,
    /// How many more leases may end in this sweep.
    room: usize,
}

/// The next step of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Finds all overdue leases, before any of them is judged.
    #[default]
    Find,
    /// Decides which services are protected.
    Judge,
    /// Ends or keeps the leases that were found.
    CarryOut,
    /// Ends unprotected suspects.
    Release,
    /// Ends suspects that have been kept for a whole TTL.
    EndProtection,
}

impl Registry {
    /// Ends the leases that are due, a bounded number in each call.
    ///
    /// Call it again at the instant that it returns. If a call comes more than [`SWEEP_INTERVAL`]
    /// late, the process stood still for that time, and every lease is extended by it.
    pub fn expire(&mut self, now: Instant) -> Instant {
        if let Some(late) = self.directory.is_alive(now, Duration::ZERO) {
            let late = humantime::format_duration(Duration::from_millis(millis(late)));
            if self.has_swept {
                warn!(%late, "the registry stood still; every lease is extended by that time");
            } else {
                debug!(%late, "building the table took a while; leases are extended by that time");
            }
        }
        self.has_swept = true;
        let tick = self.directory.clock.tick(now);
        self.log_throttle.turn(tick);
        self.store.ran(tick.since(Tick::START));
        let next = if self.sweep(now, tick) {
            let next = now + SWEEP_INTERVAL;
            self.next_expiry().map_or(next, |expiry| expiry.clamp(now, next))
        } else {
            now
        };
        self.directory.is_alive(now, next - now);
        next
    }

    /// The earliest time at which a lease may end.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        let tick = self.queue.first().into_iter().chain(self.held.first()).min()?;
        Some(self.directory.clock.instant(tick))
    }

    /// Continues a sweep; returns whether it is complete.
    fn sweep(&mut self, now: Instant, tick: Tick) -> bool {
        let mut budget = BUDGET;
        while budget > 0 {
            let is_done = match self.sweep.stage {
                Stage::Find => self.find_overdue(tick, &mut budget),
                Stage::Judge => self.judge_services(&mut budget),
                Stage::CarryOut => self.end_or_keep(now, tick, &mut budget),
                Stage::Release => self.end_released(now, &mut budget),
                Stage::EndProtection => self.end_of_protection(now, tick, &mut budget),
            };
            if !is_done {
                return false;
            }
            self.sweep.stage = match self.sweep.stage {
                Stage::Find => {
                    self.look_at_the_table(self.sweep.found.len());
                    Stage::Judge
                }
                Stage::Judge => {
                    self.judge();
                    Stage::CarryOut
                }
                Stage::CarryOut => {
                    self.find_unprotected();
                    Stage::Release
                }
                Stage::Release => Stage::EndProtection,
                Stage::EndProtection => {
                    self.sweep = Sweep::default();
                    return true;
                }
            };
        }
        false
    }

    /// Takes due leases out of the queue; returns whether it has found them all.
    fn find_overdue(&mut self, tick: Tick, budget: &mut usize) -> bool {
        if self.sweep.found.is_empty() {
            self.losses.forget_past(tick);
        }
        while *budget > 0 {
            let Some(lease) = self.queue.pop(tick) else {
                self.sweep.unjudged = self.sweep.found_of.drain().collect();
                return true;
            };
            *budget -= 1;
            match lease.deadline() {
                Some(deadline) if deadline > tick => self.queue.push(deadline, lease),
                Some(_) => {
                    let service = lease.service_number();
                    *self.sweep.found_of.entry(service).or_default() += 1;
                    self.sweep.found.push((service, lease));
                }
                None => debug!(name = lease.service.as_str(), "an ended lease was still queued"),
            }
        }
        false
    }

    /// Finds the protected services unless the whole table is; returns whether that is complete.
    fn judge_services(&mut self, budget: &mut usize) -> bool {
        if self.is_table_protected || !self.is_worth_protecting() {
            self.sweep.unjudged.clear();
        }
        while *budget > 0 {
            let Some((service, found)) = self.sweep.unjudged.pop() else { return true };
            *budget = budget.saturating_sub(JUDGING);
            if self.is_protected(service, found) {
                self.sweep.protected.insert(service);
            }
        }
        false
    }

    /// Decides which overdue leases end, and which are kept because there are too many.
    fn judge(&mut self) {
        let is_table_protected = self.is_table_protected;
        let Sweep { found, protected, .. } = &mut self.sweep;
        let (mut keeping, mut ending) = (Vec::new(), Vec::new());
        for (service, lease) in found.drain(..) {
            let is_kept = is_table_protected || protected.contains(&service);
            if is_kept { &mut keeping } else { &mut ending }.push(lease);
        }
        let cap = self.config.protection.evictions_per_sweep;
        keeping.extend(self.all_but_some(&mut ending, cap));
        self.sweep.room = cap - ending.len();
        (self.sweep.keeping, self.sweep.ending) = (keeping, ending);
    }

    /// Ends or keeps some of the judged leases; returns whether none are left.
    fn end_or_keep(&mut self, now: Instant, tick: Tick, budget: &mut usize) -> bool {
        let ending = some_of(&mut self.sweep.ending, budget, ENDING);
        self.evict(now, tick, ending);
        let keeping = some_of(&mut self.sweep.keeping, budget, KEEPING);
        self.hold(tick, keeping);
        self.sweep.ending.is_empty() && self.sweep.keeping.is_empty()
    }

    /// Decides whether too much of the table is overdue, and logs when that begins and ends.
    fn look_at_the_table(&mut self, overdue: usize) {
        let gone = overdue + self.held.len();
        let is_protected = self.is_worth_protecting()
            && gone > 0
            && self.losses.is_too_much(&self.config.protection, Of::Table, gone, self.leases);
        if is_protected && !self.is_table_protected {
            warn!(
                overdue = gone,
                registrations = self.leases,
                "too many leases are overdue together: they are kept as suspects, each for at \
                 most one more TTL; `rpyc-registry release` expires them now"
            );
        } else if !is_protected && self.is_table_protected {
            info!("the table is no longer protected");
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
    fn evict(&mut self, now: Instant, tick: Tick, overdue: Vec<Arc<Lease>>) {
        let mut ended = Vec::with_capacity(overdue.len());
        for lease in overdue {
            if self.end_if_overdue(tick, &lease) {
                let until = tick.after(lease.ttl(self.directory.ttl()));
                self.losses.note(until, lease.service_number());
                ended.push(lease);
            }
        }
        let plan = self.plan_end(&ended);
        self.carry_out(now, plan, "expired");
    }

    /// Ends a lease unless it has been renewed in the meantime.
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
            *self.held_of.entry(lease.service_number()).or_default() += 1;
            let until = self.kept_until(lease);
            self.held.push(until, Arc::clone(lease));
        }
        self.directory.rank(&leases);
        // A restart must not grant them another TTL.
        self.record_silence(&leases);
        self.note(EventKind::Updated, &leases);
    }

    /// When an overdue lease expires, even if it is protected.
    fn kept_until(&self, lease: &Lease) -> Tick {
        let overdue_since = lease.deadline().unwrap_or(Tick::FIRST);
        overdue_since.after(lease.ttl(self.directory.ttl()))
    }

    /// Finds some of the held leases that nothing protects now.
    fn find_unprotected(&mut self) {
        if self.is_table_protected || self.held.is_empty() {
            return;
        }
        let mut protected = HashMap::new();
        let mut released: Vec<_> = Vec::new();
        for lease in self.held.iter().take(RELEASE_BATCH) {
            let service = lease.service_number();
            let is_protected =
                *protected.entry(service).or_insert_with(|| self.is_protected(service, 0));
            if !is_protected {
                released.push(Arc::clone(lease));
            }
        }
        let room = self.sweep.room;
        self.all_but_some(&mut released, room);
        self.sweep.releasing = released;
    }

    /// Ends some of the released leases; returns whether none are left.
    fn end_released(&mut self, now: Instant, budget: &mut usize) -> bool {
        let mut released = some_of(&mut self.sweep.releasing, budget, ENDING);
        // A lease may have been renewed or removed since it was found.
        released.retain(|lease| {
            lease.suspicion() == Some(Suspicion::Overdue)
                && lease.deadline().is_some_and(|it| lease.end_if_still(it))
        });
        let plan = self.plan_end(&released);
        self.carry_out(now, plan, "expired");
        self.sweep.releasing.is_empty()
    }

    /// Ends protected leases that were held for a whole TTL; returns whether that is complete.
    fn end_of_protection(&mut self, now: Instant, tick: Tick, budget: &mut usize) -> bool {
        let mut ended = Vec::new();
        let mut is_all = false;
        while *budget > 0 {
            let Some(lease) = self.held.pop(tick) else {
                is_all = true;
                break;
            };
            *budget -= 1;
            let until = self.kept_until(&lease);
            if until > tick {
                self.held.push(until, lease);
                continue;
            }
            match lease.deadline() {
                Some(deadline) if lease.end_if_still(deadline) => {
                    self.uncount_held(&lease);
                    *budget = budget.saturating_sub(ENDING);
                    ended.push(lease);
                }
                // A renewal is in progress at this moment.
                Some(_) => self.held.push(tick.after(SWEEP_INTERVAL), lease),
                None => self.uncount_held(&lease),
            }
        }
        let plan = self.plan_end(&ended);
        self.carry_out(now, plan, "expired after a TTL as a suspect");
        is_all
    }

    /// Leaves up to `some` of `leases`, chosen at random, so that no service loses all its leases
    /// before others lose any; returns the rest.
    fn all_but_some(&mut self, leases: &mut Vec<Arc<Lease>>, some: usize) -> Vec<Arc<Lease>> {
        if leases.len() <= some {
            return Vec::new();
        }
        let seed = (self.entropy)() & u128::from(u64::MAX);
        let mut random = fastrand::Rng::with_seed(u64::try_from(seed).unwrap_or(0));
        for at in 0..some {
            let other = random.usize(at..leases.len());
            leases.swap(at, other);
        }
        leases.split_off(some)
    }
}

/// Takes as many of `leases` as `budget` allows, at `cost` each.
fn some_of(leases: &mut Vec<Arc<Lease>>, budget: &mut usize, cost: usize) -> Vec<Arc<Lease>> {
    let some = leases.split_off(leases.len().saturating_sub(budget.div_ceil(cost)));
    *budget = budget.saturating_sub(some.len() * cost);
    some
}
