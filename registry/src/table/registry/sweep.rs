//! The ends of leases that nobody renews, and their protection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::EventKind;
use tracing::{debug, info, warn};

use super::{Registry, enqueue, millis};
use crate::table::clock::Tick;
use crate::table::lease::{Lease, Suspicion};
use crate::table::protection::Of;

/// The longest time between two sweeps. A sweep that comes later than this was kept from running, and
/// so, presumably, were renewals: what it is late is credited to every lease.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(200);

/// Leases looked at in one call of [`Registry::expire`], so that registrations never wait long.
const SWEEP_BATCH: usize = 4096;

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
        self.losses.forget_before(tick, self.directory.ttl());
        self.next_sweep = if self.find_overdue(tick) && self.judge_overdue(tick) {
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
        let queued = self.queue.first_key_value().map(|((tick, _), _)| *tick);
        let held = self.held.first_key_value().map(|((tick, _), _)| *tick);
        let tick = queued.into_iter().chain(held).min()?;
        Some(self.directory.clock.instant(tick))
    }

    /// Takes leases whose time has come out of the queue; tells whether it has found them all.
    fn find_overdue(&mut self, tick: Tick) -> bool {
        for _ in 0..SWEEP_BATCH {
            let Some(first) = self.queue.first_entry().filter(|entry| entry.key().0 <= tick) else {
                return true;
            };
            let lease = first.remove();
            match lease.deadline() {
                Some(deadline) if deadline > tick => enqueue(&mut self.queue, deadline, lease),
                Some(_) => self.overdue.push(lease),
                None => debug!(name = ?lease.service.as_str(), "an ended lease was still queued"),
            }
        }
        self.queue.first_key_value().is_none_or(|((due, _), _)| *due > tick)
    }

    /// Ends the overdue, or keeps them if they are too many to be believed; tells whether all that
    /// is to be done now is done.
    fn judge_overdue(&mut self, tick: Tick) -> bool {
        let mut overdue = std::mem::take(&mut self.overdue);
        overdue.retain(|lease| match lease.deadline() {
            Some(deadline) if deadline > tick => {
                // Renewed since it was found.
                enqueue(&mut self.queue, deadline, Arc::clone(lease));
                false
            }
            deadline => deadline.is_some(),
        });
        self.look_at_the_table(overdue.len());
        let mut overdue_of = std::collections::HashMap::new();
        for lease in &overdue {
            *overdue_of.entry(lease.service_id).or_insert(0_usize) += 1;
        }
        overdue_of.retain(|service, overdue| self.is_protected(*service, *overdue));
        let (mut kept, mut ending) = (Vec::new(), Vec::new());
        for lease in overdue {
            let is_kept = self.is_table_protected || overdue_of.contains_key(&lease.service_id);
            if is_kept { &mut kept } else { &mut ending }.push(lease);
        }

        // In random order, so that no service loses all it has before the others lose anything.
        self.shuffle(&mut ending);
        let cap = self.config.protection.evictions_per_sweep;
        kept.extend(ending.drain(cap.min(ending.len())..));
        let room = cap - ending.len();
        self.evict(tick, ending);
        self.hold(kept);
        self.release_unprotected(room);
        self.end_of_protection(tick)
    }

    /// Finds whether too much of the whole table is overdue, and tells when that begins and ends.
    fn look_at_the_table(&mut self, overdue: usize) {
        let gone = overdue + self.held.len();
        let is_protected = self.is_worth_protecting()
            && gone > 0
            && self.losses.is_too_much(
                &self.config.protection,
                Of::Table,
                gone,
                self.leases() + overdue,
            );
        if is_protected && !self.is_table_protected {
            warn!(
                overdue = gone,
                registrations = self.leases() + overdue,
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
                self.losses.note(tick, lease.service_id);
                ended.push(lease);
            }
        }
        self.finish(&ended, "expired");
    }

    /// Ends a lease unless it has been renewed at this very moment.
    fn end_if_overdue(&mut self, tick: Tick, lease: &Arc<Lease>) -> bool {
        let Some(deadline) = lease.deadline() else { return false };
        let has_ended = deadline <= tick && lease.end_if_still(deadline);
        if !has_ended {
            let deadline = lease.deadline().unwrap_or(tick);
            enqueue(&mut self.queue, deadline, Arc::clone(lease));
        }
        has_ended
    }

    /// Keeps overdue leases as suspects, each for one TTL at most.
    fn hold(&mut self, leases: Vec<Arc<Lease>>) {
        for lease in &leases {
            let overdue_since = lease.deadline().unwrap_or(Tick::FIRST);
            let until = overdue_since.after(lease.ttl(self.directory.ttl()));
            lease.set_suspicion(Some(Suspicion::Overdue));
            *self.held_of.entry(lease.service_id).or_default() += 1;
            enqueue(&mut self.held, until, Arc::clone(lease));
        }
        self.directory.rank(&leases);
        self.note(EventKind::Updated, &leases);
    }

    /// Ends some of the held leases that nothing protects any more.
    fn release_unprotected(&mut self, room: usize) {
        if self.is_table_protected || self.held.is_empty() {
            return;
        }
        let mut protected = std::collections::HashMap::new();
        let mut released: Vec<_> = Vec::new();
        for lease in self.held.values().take(SWEEP_BATCH) {
            let service = lease.service_id;
            let is_protected =
                *protected.entry(service).or_insert_with(|| self.is_protected(service, 0));
            if !is_protected {
                released.push(Arc::clone(lease));
            }
        }
        self.shuffle(&mut released);
        released.truncate(room);
        released.retain(|lease| lease.deadline().is_some_and(|it| lease.end_if_still(it)));
        self.finish(&released, "expired");
    }

    /// Ends what has been held for a whole TTL, whatever protects it; tells whether that was all.
    fn end_of_protection(&mut self, tick: Tick) -> bool {
        let due = self.held.iter().take_while(|((until, _), _)| *until <= tick);
        let mut ended: Vec<_> = due.take(SWEEP_BATCH).map(|(_, lease)| Arc::clone(lease)).collect();
        let is_all = ended.len() < SWEEP_BATCH;
        ended.retain(|lease| lease.deadline().is_some_and(|it| lease.end_if_still(it)));
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
