//! The half of the table that has one owner: leases begin and end here.

mod apply;
mod legacy;
mod native;
mod operator;
mod plan;
mod sweep;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::DEFAULT_TTL;
use rpyc_protocol::registry::native::EventKind;
use tokio::sync::watch;

use super::instance::{Instance, Mark};
use super::journal::Journal;
use super::lease::Lease;
use super::protection::{Losses, ProtectionPolicy};
use super::queue::Queue;
use super::service::FailingPolicy;
use super::{AddressRule, Asker, Directory};
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::store::{Change, Origin, Progress, Store, Ticket};
pub use apply::MAX_GRACES;
pub use native::{NewInstance, Place};
pub use sweep::SWEEP_INTERVAL;
use sweep::Sweep;
use telling::Telling;

/// How a table is set up. The default is a working one.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Default::default()` stays valid")]
pub struct TableConfig {
    /// How long a lease lasts unless it is renewed, if its registrant asks for no other time.
    /// Default 240 s, four times what RPyC's servers take to renew.
    pub ttl: Duration,
    /// The shortest time that a registrant gets. Default 1 s.
    pub min_ttl: Duration,
    /// The longest time that a registrant gets. Default one day.
    pub max_ttl: Duration,
    /// When too many are overdue at once to be believed.
    pub protection: ProtectionPolicy,
    /// What is done with instances that probes find failing.
    pub failing: FailingPolicy,
    /// Which addresses are told as others; the first that speaks of an address counts.
    pub address_rules: Vec<AddressRule>,
    /// What is taken from everybody and from each.
    pub limits: Limits,
    /// The wall clock's seconds at the start, for people only.
    pub wall_clock: u64,
}

impl Default for TableConfig {
    fn default() -> Self {
        Self {
            ttl: DEFAULT_TTL,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(24 * 3600),
            protection: ProtectionPolicy::default(),
            failing: FailingPolicy::default(),
            address_rules: Vec::new(),
            limits: Limits::default(),
            wall_clock: 0,
        }
    }
}

/// Gives numbers that nobody can guess.
pub type Entropy = Box<dyn FnMut() -> u128 + Send>;

/// Decides what commands and the passing of time change, and applies it.
///
/// Each command is decided from the table as it is (a [`Plan`](plan::Plan)), the store orders its changes,
/// and `apply` makes them.
pub struct Registry {
    directory: Arc<Directory>,
    config: TableConfig,
    start: Instant,
    store: Box<dyn Store>,
    entropy: Entropy,
    /// Every lease that is not held, by a time at which it may have ended. Renewals do not touch this
    /// queue: when a lease's time comes it is looked at, and put back if its deadline has moved. So
    /// a renewal costs nothing here, and a lease is looked at once a TTL.
    queue: Queue,
    sweep: Sweep,
    /// Overdue leases that are kept for now, by the time at which they go regardless.
    held: Queue,
    /// How many of them each service has.
    held_of: HashMap<u64, usize>,
    losses: Losses,
    is_table_protected: bool,
    next_sweep: Instant,
    has_swept: bool,
    next_instance: u64,
    next_lease: u64,
    next_service: u64,
    instances: usize,
    leases: usize,
    telling: Telling,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Registry");
        out.field("instances", &self.instances).field("store", &self.store).finish_non_exhaustive()
    }
}

impl Registry {
    /// A table with what `origin` kept, every instance of it suspect until it is heard from.
    #[must_use]
    pub fn new(
        now: Instant,
        config: TableConfig,
        store: Box<dyn Store>,
        origin: Origin,
        entropy: Entropy,
    ) -> Self {
        let journal = Journal::new(origin.store, origin.revision);
        let rules = config.address_rules.clone();
        let directory = Directory::new(now, config.ttl, config.failing, rules, journal);
        let mut registry = Self {
            directory: Arc::new(directory),
            config,
            start: now,
            store,
            entropy,
            queue: Queue::default(),
            sweep: Sweep::default(),
            held: Queue::default(),
            held_of: HashMap::new(),
            losses: Losses::default(),
            is_table_protected: false,
            next_sweep: now + SWEEP_INTERVAL,
            has_swept: false,
            next_instance: origin.last_instance + 1,
            next_lease: 1,
            next_service: 1,
            instances: 0,
            leases: 0,
            telling: Telling::new(),
        };
        registry.restore(now, origin.records);
        registry
    }

    /// The half of the table that answers and renews.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// How many servers there are.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// How many names of servers there are: an instance with three names counts thrice.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.leases
    }

    /// How many names somebody serves.
    #[must_use]
    pub fn services(&self) -> usize {
        self.directory.services_len()
    }

    /// What is taken from everybody and from each.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Follows how far the store has come.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.store.progress()
    }

    /// The word for the store.
    #[must_use]
    pub fn store_kind(&self) -> &'static str {
        self.store.kind()
    }

    /// The number of the change that was made last.
    #[must_use]
    pub fn last_ticket(&self) -> Ticket {
        self.store.last_ticket()
    }

    /// Whether there is room for what an asker wants to add.
    fn check_room(&self, asker: &Asker, wanted: &Wanted) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        if wanted.held + wanted.fresh > limits.names_per_instance {
            return Err(Refusal::TooManyNames { limit: limits.names_per_instance });
        }
        if self.leases + wanted.fresh > limits.registrations {
            return Err(Refusal::TooManyRegistrations { limit: limits.registrations });
        }
        if wanted.is_new && wanted.fresh > 0 {
            if self.instances >= limits.instances {
                return Err(Refusal::TooManyInstances { limit: limits.instances });
            }
            // Many servers may share this machine; whoever runs it answers for them.
            if !asker.is_here && wanted.ports_of_host >= limits.instances_per_source {
                return Err(Refusal::TooManyInstancesOfSource {
                    source_host: asker.host,
                    limit: limits.instances_per_source,
                });
            }
        }
        Ok(())
    }

    fn check_name(&self, name: &ServiceName) -> Result<(), Refusal> {
        let limit = self.config.limits.name_bytes;
        if name.as_str().len() > limit {
            return Err(Refusal::NameTooLong { limit });
        }
        Ok(())
    }

    /// The wall clock's seconds, as far as the start and monotonic time tell.
    fn wall_clock(&self, now: Instant) -> u64 {
        self.config.wall_clock + now.saturating_duration_since(self.start).as_secs()
    }

    /// Moves the deadlines of leases that have been heard from, whatever was thought of them.
    fn hear_from<'l>(&mut self, now: Instant, leases: impl IntoIterator<Item = &'l Arc<Lease>>) {
        let tick = self.directory.clock.tick(now);
        let mut revived = Vec::new();
        for lease in leases {
            let deadline = tick.after(lease.ttl(self.directory.ttl()));
            if !lease.renew(deadline) || lease.suspicion().is_none() {
                continue;
            }
            if self.held.remove(lease) {
                self.uncount_held(lease);
                self.queue.push(deadline, Arc::clone(lease));
            }
            lease.set_suspicion(None);
            revived.push(Arc::clone(lease));
        }
        self.directory.rank(&revived);
        for lease in &revived {
            self.heard(&lease.instance);
        }
        self.note(EventKind::Updated, &revived);
    }

    /// Tells the store that an instance is alive, once a run.
    fn heard(&mut self, instance: &Instance) {
        if instance.set(Mark::Unheard, false) {
            self.store.record(Change::Heard(instance.id));
        }
    }

    /// The leases of one instance.
    fn leases_of(&self, instance: &Arc<Instance>) -> Vec<Arc<Lease>> {
        let (mut held, _) = self.directory.held(&instance.host, &instance.port);
        held.retain(|lease| Arc::ptr_eq(&lease.instance, instance));
        held
    }

    /// Gives changes their numbers and tells whoever follows them.
    fn note(&mut self, kind: EventKind, leases: &[Arc<Lease>]) {
        let last = self.directory.revision().number;
        self.store.reserve(last + u64::try_from(leases.len()).unwrap_or(u64::MAX));
        self.directory.journal.note(kind, leases);
    }

    fn uncount_held(&mut self, lease: &Lease) {
        if let Some(count) = self.held_of.get_mut(&lease.service_id()) {
            *count -= 1;
            if *count == 0 {
                self.held_of.remove(&lease.service_id());
            }
        }
    }
}

/// What an asker wants to add.
struct Wanted {
    /// Names that the instance has already.
    held: usize,
    /// Names that it would have besides.
    fresh: usize,
    /// Whether the instance would be a new one.
    is_new: bool,
    /// How many ports its host has already.
    ports_of_host: usize,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
