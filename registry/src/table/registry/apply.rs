//! Makes changes in the table: the only way in which instances and their names come, change and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::EventKind;
use tracing::info;

use super::log_throttle::logged;
use super::plan::Plan;
use super::{Registry, instances};
use crate::host::Host;
use crate::store::{Change, NativeRecord, Record, Records, Silence, Ticket};
use crate::table::clock::{Since, Tick};
use crate::table::instance::{Instance, Mark, Native};
use crate::table::lease::{Lease, Suspicion};
use crate::table::service_id::ServiceId;

/// The leases that changes have added, updated and removed, for watchers.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) added: Vec<Arc<Lease>>,
    pub(super) updated: Vec<Arc<Lease>>,
    pub(super) removed: Vec<Arc<Lease>>,
}

impl Registry {
    /// Makes the changes of a plan, in order, and notifies the store and the watchers. `reason` is
    /// the log's reason for leases that end.
    pub(super) fn carry_out(&mut self, now: Instant, plan: Plan, reason: &str) -> Applied {
        let mut applied = Applied::default();
        for change in plan.changes {
            let ticket = self.store.last_ticket().next();
            self.apply(now, ticket, &change, &mut applied);
            let ordered = self.store.record(change);
            debug_assert_eq!(ordered, ticket, "one owner records all changes");
        }
        for lease in applied.added.iter().chain(&applied.removed) {
            let Instance { host, port, native, .. } = &*lease.instance;
            if native.is_some() {
                self.endpoint_changes.note(now, host, port);
            }
        }
        self.log(&applied.added, "registered");
        self.log(&applied.removed, reason);
        self.note(EventKind::Added, &applied.added);
        self.note(EventKind::Updated, &applied.updated);
        self.note(EventKind::Removed, &applied.removed);
        applied
    }

    /// Makes one change, which the store has ordered as `ticket`, in the table.
    ///
    /// It depends on no part of the table but the instance that changes, and on whether an operator
    /// has drained its endpoint. So tables that apply the same changes are equal.
    pub(super) fn apply(
        &mut self,
        now: Instant,
        ticket: Ticket,
        change: &Change,
        applied: &mut Applied,
    ) {
        match change {
            Change::Put(record) if record.is_hold() => {
                self.next_instance = self.next_instance.max(record.id + 1);
                self.apply_hold((&record.host, &record.port), Some(record.id), applied);
            }
            Change::Put(record) => match self.known(record) {
                Some((instance, held)) => {
                    instance.set_ticket(ticket);
                    self.apply_to(now, record, &instance, &held, applied);
                }
                None => self.apply_new(now, ticket, record, applied),
            },
            Change::Heard { .. } => {}
            Change::Removed { id, host, port } if self.drained_by(host, port) == Some(*id) => {
                self.apply_hold((host, port), None, applied);
            }
            Change::Removed { id, host, port } => {
                let held = self.held_of_instance(*id, host, port);
                self.remove(&held);
                applied.removed.extend(held);
            }
        }
    }

    /// The instance of a record, with its leases, if the table has it.
    fn known(&self, record: &Record) -> Option<(Arc<Instance>, Vec<Arc<Lease>>)> {
        // Numbers rise, so most records need no look-up.
        if record.id >= self.next_instance {
            return None;
        }
        let held = self.held_of_instance(record.id, &record.host, &record.port);
        Some((Arc::clone(&held.first()?.instance), held))
    }

    fn held_of_instance(&self, id: u64, host: &Host, port: &Port) -> Vec<Arc<Lease>> {
        let mut held = self.directory.held(host, port);
        held.retain(|lease| lease.instance.id == id);
        held
    }

    fn apply_new(&mut self, now: Instant, ticket: Ticket, record: &Record, applied: &mut Applied) {
        self.next_instance = self.next_instance.max(record.id + 1);
        let native = record.native.as_ref();
        let native = native.map(|kept| Box::new(kept.to_native(self.granted_ttl(kept))));
        let endpoint = (record.host, record.port.clone());
        let instance = Instance::new(record.id, endpoint, native, record.registered_at);
        let instance = Arc::new(instance);
        instance.set(Mark::Draining, record.is_draining);
        instance.set(Mark::Exclusive, record.is_exclusive());
        instance.set(Mark::Held, self.is_drained(&record.host, &record.port));
        instance.set_ticket(ticket);
        let age = self.wall_clock(now).saturating_sub(record.registered_at);
        let since = self.directory.clock.since(now).earlier(Duration::from_secs(age));
        let names = record.names.iter();
        applied.added.extend(self.begin(now, since, &instance, names, &record.silent));
    }

    fn apply_to(
        &mut self,
        now: Instant,
        record: &Record,
        instance: &Arc<Instance>,
        held: &[Arc<Lease>],
        applied: &mut Applied,
    ) {
        let stays = |lease: &&Arc<Lease>| record.names.contains(&lease.service.name);
        let (staying, going): (Vec<_>, Vec<_>) = held.iter().cloned().partition(|it| stays(&it));
        let is_held = |name: &&ServiceName| held.iter().any(|lease| lease.service.name == **name);
        let fresh = record.names.iter().filter(|name| !is_held(name));
        // New leases come before old ones go, so that no query in between finds none.
        let since = self.directory.clock.since(now);
        let begun = self.begin(now, since, instance, fresh, &record.silent);
        instance.set(Mark::Exclusive, record.is_exclusive());
        let mut has_changed = instance.set(Mark::Draining, record.is_draining);
        if let (Some(native), Some(kept)) = (&instance.native, &record.native)
            && *native.details() != kept.details
        {
            let old = native.details();
            native.set_details(kept.details.clone());
            self.quota.replace_details(instance, &old);
            has_changed = true;
        }
        if has_changed {
            self.directory.rank(&staying);
            applied.updated.extend(staying);
        }
        self.remove(&going);
        applied.added.extend(begun);
        applied.removed.extend(going);
    }

    /// Begins the leases of `names` and counts the instance if it is new. Silent ones are suspects,
    /// and the time of their silence counts against their TTL.
    fn begin<'n>(
        &mut self,
        now: Instant,
        since: Since,
        instance: &Arc<Instance>,
        names: impl Iterator<Item = &'n ServiceName>,
        silent: &[Silence],
    ) -> Vec<Arc<Lease>> {
        let is_new = instance.lease_count() == 0;
        let native = instance.native.as_ref();
        let ttl = native.map_or_else(|| self.directory.ttl(), |native| native.ttl());
        let renewed = self.directory.clock.tick(now);
        let mut begun = Vec::new();
        for name in names {
            let service_id = || {
                self.next_service += 1;
                ServiceId { name: name.clone(), number: self.next_service - 1 }
            };
            let silence = silent.iter().find(|it| it.name == *name);
            let renewed = silence.map_or(renewed, |it| Tick::at_millis(it.since_ms).min(renewed));
            let deadline = renewed.after(ttl);
            let id = self.next_lease;
            self.next_lease += 1;
            let lease = self.directory.insert(name, service_id, |service_id| {
                let lease = Lease::new(id, service_id, Arc::clone(instance), since, deadline);
                if silence.is_some() {
                    lease.set_suspicion(Some(Suspicion::Restarted));
                }
                lease
            });
            self.queue.push(deadline, Arc::clone(&lease));
            begun.push(lease);
        }
        let is_new = is_new && !begun.is_empty();
        self.quota.begin(instance, is_new, &begun);
        self.instances += usize::from(is_new);
        self.leases += begun.len();
        begun
    }

    /// Removes leases from every index and queue.
    fn remove(&mut self, leases: &[Arc<Lease>]) {
        for lease in leases {
            lease.end();
            if !self.queue.remove(lease) && self.held.remove(lease) {
                self.uncount_held(lease);
            }
        }
        self.leases -= leases.len();
        self.instances -= self.directory.remove(leases);
        leases.iter().for_each(|lease| self.quota.end_lease(lease));
        for instance in instances(leases) {
            if instance.lease_count() == 0 {
                self.quota.end_instance(&instance);
            }
        }
    }

    fn log(&mut self, leases: &[Arc<Lease>], what: &str) {
        for lease in leases {
            if !self.log_throttle.admits() {
                continue;
            }
            let Lease { service, instance, .. } = &**lease;
            let Instance { host, port, id, native, .. } = &**instance;
            let (name, port) = (service.as_str(), logged(port));
            match native {
                Some(native) => {
                    let ttl = humantime::format_duration(native.ttl());
                    info!(name, %host, port, instance = id, %ttl, "{what}");
                }
                None => info!(name, %host, port, instance = id, "{what}"),
            }
        }
    }

    /// Applies the records of a store: every lease is suspect until it renews. The time in which
    /// the registry has run without a renewal of a lease counts against its TTL, in however many
    /// runs. So a restart neither makes a registered server unknown nor keeps one that has gone.
    pub(super) fn restore(&mut self, now: Instant, records: Records) {
        let (mut restored, mut given_up) = (0_u64, 0_u64);
        for mut record in records {
            self.next_instance = self.next_instance.max(record.id);
            if record.is_hold() {
                let change = Change::Put(Box::new(record));
                self.apply(now, Ticket::default(), &change, &mut Applied::default());
                continue;
            }
            let has_all = self.drop_stale(&mut record);
            if record.names.is_empty() {
                let Record { id, host, port, .. } = record;
                self.next_instance = self.next_instance.max(id + 1);
                self.store.record(Change::Removed { id, host, port });
                given_up += 1;
                continue;
            }
            let change = Change::Put(Box::new(record));
            self.apply(now, Ticket::default(), &change, &mut Applied::default());
            if !has_all {
                self.store.record(change);
            }
            restored += 1;
        }
        // One number stands for all that a start restores, drops or loses, because there were no
        // watchers yet. No state of an earlier run has it.
        let last = self.directory.revision().number;
        let is_first = last == 0 && restored + given_up == 0;
        let revision = last + u64::from(!is_first);
        self.store.reserve(revision);
        self.directory.journal.skip(revision - last);
        if restored + given_up > 0 {
            info!(
                restored,
                given_up,
                "restored instances are suspect until they renew; those whose leases ended while \
                 the registry ran without a renewal were dropped"
            );
        }
    }

    /// Drops the names whose leases not even protection would have kept; returns whether there were
    /// none.
    fn drop_stale(&self, record: &mut Record) -> bool {
        let ttl = match &record.native {
            Some(native) => self.granted_ttl(native),
            None => self.directory.ttl(),
        };
        let oldest = Tick::at_millis(0).before(2 * ttl);
        let Record { names, silent, .. } = record;
        let before = names.len();
        silent.retain(|silence| {
            let is_stale = Tick::at_millis(silence.since_ms) <= oldest;
            if is_stale {
                names.retain(|name| *name != silence.name);
            }
            !is_stale
        });
        names.len() == before
    }

    /// The TTL that this registry grants to a stored registration.
    fn granted_ttl(&self, native: &NativeRecord) -> Duration {
        Duration::from_millis(native.ttl_ms).clamp(self.config.min_ttl, self.config.max_ttl)
    }
}

impl NativeRecord {
    /// The native part of an instance, with the TTL that this registry grants.
    fn to_native(&self, ttl: Duration) -> Native {
        let Self { lease, registrant, key, addresses, details, .. } = self;
        let addresses = addresses.clone().into();
        Native::new(*lease, *registrant, key.clone(), ttl, addresses, details.clone())
    }
}
