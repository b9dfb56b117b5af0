//! The half of the table that has one owner: it begins and ends leases.

mod apply;
mod endpoint_changes;
mod holds;
mod legacy;
mod log_throttle;
mod native;
mod operator;
mod plan;
mod quota;
mod room;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::EventKind;
use rpyc_protocol::registry::{DEFAULT_TTL, Port};
use tokio::sync::watch;

use super::arrival::Arrival;
use super::instance::{Instance, Mark};
use super::journal::Journal;
use super::lease::Lease;
use super::protection::{Losses, ProtectionPolicy};
use super::queue::Queue;
use super::service::FailingPolicy;
use super::{AddressRule, Directory};
use crate::host::Host;
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::store::{Change, Origin, Progress, Silence, Store, Ticket};
use endpoint_changes::EndpointChanges;
use log_throttle::LogThrottle;
pub use native::{Endpoint, NewInstance, Standing};
use quota::Quota;
use room::Wanted;
pub use sweep::SWEEP_INTERVAL;
use sweep::Sweep;

/// The configuration of a table. The default is usable.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Default::default()` stays valid")]
pub struct TableConfig {
    /// How long a lease lasts without renewal, if its registrant requested no other TTL. Default
    /// 240 s, four times the interval at which RPyC's servers renew.
    pub ttl: Duration,
    /// The shortest TTL that is granted. Default 1 s.
    pub min_ttl: Duration,
    /// The longest TTL that is granted. Default one day.
    pub max_ttl: Duration,
    /// When overdue leases are kept because too many expire together.
    pub protection: ProtectionPolicy,
    /// How answers treat instances whose probes fail.
    pub failing: FailingPolicy,
    /// Replacements of addresses; the first rule that matches an address applies.
    pub address_rules: Vec<AddressRule>,
    /// Limits for all hosts together and for each.
    pub limits: Limits,
    /// The wall clock's seconds at the start, for display only.
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

/// Returns unpredictable numbers.
pub type Entropy = Box<dyn FnMut() -> u128 + Send>;

/// Decides what commands and the passing of time change, and applies it.
///
/// Each command is decided from the present table (a plan), the store orders its
/// changes, and `apply` makes them.
pub struct Registry {
    directory: Arc<Directory>,
    config: TableConfig,
    start: Instant,
    store: Box<dyn Store>,
    entropy: Entropy,
    /// Every lease that is not held, by a time at which it may have ended. A renewal does not touch
    /// this queue: when a lease's time comes, a sweep looks at it and puts it back if its deadline
    /// has moved. So a renewal costs nothing here, and a lease is looked at once in each TTL.
    queue: Queue,
    sweep: Sweep,
    /// Overdue leases that are kept for now, by the time at which they expire regardless.
    held: Queue,
    /// The number of held leases of each service.
    held_of: HashMap<u64, usize>,
    losses: Losses,
    is_table_protected: bool,
    has_swept: bool,
    next_instance: u64,
    next_lease: u64,
    next_service: u64,
    instances: usize,
    leases: usize,
    quota: Quota,
    endpoint_changes: EndpointChanges,
    /// The endpoints that operators have drained, with the numbers of their records.
    drained: HashMap<(Host, Port), u64>,
    log_throttle: LogThrottle,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Registry");
        out.field("instances", &self.instances).field("store", &self.store).finish_non_exhaustive()
    }
}

impl Registry {
    /// A table with the records of `origin`, every instance of which is suspect until it renews.
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
            has_swept: false,
            next_instance: origin.last_instance + 1,
            next_lease: 1,
            next_service: 1,
            instances: 0,
            leases: 0,
            quota: Quota::default(),
            endpoint_changes: EndpointChanges::new(),
            drained: HashMap::new(),
            log_throttle: LogThrottle::new(),
        };
        registry.restore(now, origin.records);
        registry
    }

    /// The half of the table that answers queries and renews leases.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// The number of instances.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// The number of leases: an instance with three names counts three times.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.leases
    }

    /// The number of names that have an instance.
    #[must_use]
    pub fn services(&self) -> usize {
        self.directory.services_len()
    }

    /// Limits for all hosts together and for each.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// A receiver of the store's progress.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.store.progress()
    }

    /// The name of the kind of store.
    #[must_use]
    pub fn store_kind(&self) -> &'static str {
        self.store.kind()
    }

    /// The ticket of the last change.
    #[must_use]
    pub fn last_ticket(&self) -> Ticket {
        self.store.last_ticket()
    }

    fn check_name(&self, name: &ServiceName) -> Result<(), Refusal> {
        let limit = self.config.limits.name_bytes;
        if name.as_str().len() > limit {
            return Err(Refusal::NameTooLong { limit });
        }
        Ok(())
    }

    /// Checks that no instance holds `name` exclusively, and for an exclusive registration that no
    /// instance holds it at all. Those for which `is_own` holds do not count.
    fn check_open(
        &self,
        name: &ServiceName,
        is_exclusive: bool,
        is_own: impl Fn(&Instance) -> bool,
    ) -> Result<(), Refusal> {
        let conflicts =
            |holder: &Instance| (is_exclusive || holder.has(Mark::Exclusive)) && !is_own(holder);
        match self.directory.holder(name, conflicts) {
            None => Ok(()),
            Some(holder) => {
                let (host, port) = (holder.host, holder.port.clone());
                Err(Refusal::NameTaken { name: name.clone(), host, port })
            }
        }
    }

    /// The wall clock's seconds, computed from those at the start and monotonic time.
    fn wall_clock(&self, now: Instant) -> u64 {
        self.config.wall_clock + now.saturating_duration_since(self.start).as_secs()
    }

    /// Renews leases, suspects included, by a request that may have waited since it arrived.
    fn hear_from<'l>(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        leases: impl IntoIterator<Item = &'l Arc<Lease>>,
    ) {
        let waited = arrival.waited(now);
        let tick = self.directory.clock.tick(now).before(waited);
        let mut revived = Vec::new();
        for lease in leases {
            let deadline = tick.after(lease.ttl(self.directory.ttl()));
            let is_renewed = if waited > SWEEP_INTERVAL {
                // Its deadline may come earlier, because a stop was credited to it.
                self.queue.remove(lease).then(|| self.queue.push(deadline, Arc::clone(lease)));
                lease.renew_from_arrival(deadline)
            } else {
                lease.renew(deadline)
            };
            if !is_renewed || lease.suspicion().is_none() {
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
        self.record_silence(&revived);
        self.note(EventKind::Updated, &revived);
    }

    /// Reports to the store which leases of these instances are silent, after that has changed for
    /// `leases`.
    fn record_silence(&mut self, leases: &[Arc<Lease>]) {
        for of_instance in leases.chunk_by(|one, next| Arc::ptr_eq(&one.instance, &next.instance)) {
            let Some(instance) = of_instance.first().map(|lease| &lease.instance) else { continue };
            let silent = if instance.lease_count() == of_instance.len() {
                self.silences(of_instance)
            } else {
                self.silences(&self.leases_of(instance))
            };
            self.store.record(Change::Heard { id: instance.id, silent });
        }
    }

    /// The silent ones among these leases, and since when.
    fn silences(&self, leases: &[Arc<Lease>]) -> Vec<Silence> {
        let silence = |lease: &Arc<Lease>| {
            lease.suspicion()?;
            let renewed = lease.deadline()?.before(lease.ttl(self.directory.ttl()));
            Some(Silence { name: lease.service.name.clone(), since_ms: renewed.millis() })
        };
        leases.iter().filter_map(silence).collect()
    }

    /// The leases of one instance.
    fn leases_of(&self, instance: &Arc<Instance>) -> Vec<Arc<Lease>> {
        let mut held = self.directory.held(&instance.host, &instance.port);
        held.retain(|lease| Arc::ptr_eq(&lease.instance, instance));
        held
    }

    /// Numbers changes and notifies watchers.
    fn note(&mut self, kind: EventKind, leases: &[Arc<Lease>]) {
        let last = self.directory.revision().number;
        self.store.reserve(last + u64::try_from(leases.len()).unwrap_or(u64::MAX));
        self.directory.journal.note(kind, leases);
    }

    fn uncount_held(&mut self, lease: &Lease) {
        if let Some(count) = self.held_of.get_mut(&lease.service_number()) {
            *count -= 1;
            if *count == 0 {
                self.held_of.remove(&lease.service_number());
            }
        }
    }
}

/// The instances of some leases, each once.
fn instances(leases: &[Arc<Lease>]) -> Vec<Arc<Instance>> {
    let mut instances: Vec<_> = leases.iter().map(|lease| Arc::clone(&lease.instance)).collect();
    instances.sort_by_key(|instance| instance.id);
    instances.dedup_by_key(|instance| instance.id);
    instances
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
