//! Makes changes in the table: the only way in which instances and their names come, change and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::EventKind;
use tracing::info;

use super::Registry;
use super::plan::Plan;
use crate::host::Host;
use crate::store::{Change, NativeRecord, Record, Records, Ticket};
use crate::table::clock::Since;
use crate::table::instance::{Instance, Mark, Native};
use crate::table::lease::{Lease, Suspicion};
use crate::table::service_id::ServiceId;

/// How many TTLs of grace in a row restarts grant an instance that does not renew.
pub const MAX_GRACES: u32 = 3;

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
    /// has drained its endpoint. So tables that apply the
    /// same changes are equal.
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
            Change::Heard(_) => {}
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
        let (mut held, _) = self.directory.held(host, port);
        held.retain(|lease| lease.instance.id == id);
        held
    }

    fn apply_new(&mut self, now: Instant, ticket: Ticket, record: &Record, applied: &mut Applied) {
        self.next_instance = self.next_instance.max(record.id + 1);
        let native = record.native.as_ref().map(|kept| {
            let ttl = Duration::from_millis(kept.ttl_ms);
            Box::new(kept.to_native(ttl.clamp(self.config.min_ttl, self.config.max_ttl)))
        });
        let endpoint = (record.host, record.port.clone());
        let instance = Instance::new(record.id, endpoint, native, record.registered_at);
        let instance = Arc::new(match record.restarts {
            0 => instance,
            restarts => instance.unheard(restarts),
        });
        instance.set(Mark::Draining, record.is_draining);
        instance.set(Mark::Exclusive, record.is_exclusive());
        instance.set(Mark::Held, self.is_drained(&record.host, &record.port));
        instance.set_ticket(ticket);
        let age = self.wall_clock(now).saturating_sub(record.registered_at);
        let since = self.directory.clock.since(now).earlier(Duration::from_secs(age));
        applied.added.extend(self.begin(now, since, &instance, record.names.iter()));
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
        let begun = self.begin(now, since, instance, fresh);
        instance.set(Mark::Exclusive, record.is_exclusive());
        let mut has_changed = instance.set(Mark::Draining, record.is_draining);
        if let (Some(native), Some(kept)) = (&instance.native, &record.native)
            && *native.details() != kept.details
        {
            native.set_details(kept.details.clone());
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

    /// Begins the leases of `names` and counts the instance if it is new. They are suspects if the
    /// instance has not renewed since the registry started.
    fn begin<'n>(
        &mut self,
        now: Instant,
        since: Since,
        instance: &Arc<Instance>,
        names: impl Iterator<Item = &'n ServiceName>,
    ) -> Vec<Arc<Lease>> {
        let is_new = instance.lease_count() == 0;
        let native = instance.native.as_ref();
        let ttl = native.map_or_else(|| self.directory.ttl(), |native| native.ttl());
        let deadline = self.directory.clock.tick(now).after(ttl);
        let mut begun = Vec::new();
        for name in names {
            let service_id = || {
                self.next_service += 1;
                ServiceId { name: name.clone(), number: self.next_service - 1 }
            };
            let id = self.next_lease;
            self.next_lease += 1;
            let lease = self.directory.insert(name, service_id, |service_id| {
                let lease = Lease::new(id, service_id, Arc::clone(instance), since, deadline);
                if instance.has(Mark::Unheard) {
                    lease.set_suspicion(Some(Suspicion::Restarted));
                }
                lease
            });
            self.queue.push(deadline, Arc::clone(&lease));
            begun.push(lease);
        }
        self.instances += usize::from(is_new && !begun.is_empty());
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
    }

    fn log(&mut self, leases: &[Arc<Lease>], what: &str) {
        for lease in leases {
            if !self.log_throttle.admits() {
                continue;
            }
            let Lease { service, instance, .. } = &**lease;
            let Instance { host, port, id, native, .. } = &**instance;
            let name = service.as_str();
            match native {
                Some(native) => {
                    let ttl = humantime::format_duration(native.ttl());
                    info!(?name, %host, ?port, instance = id, %ttl, "{what}");
                }
                None => info!(?name, %host, ?port, instance = id, "{what}"),
            }
        }
    }

    /// Applies the records of a store: every instance is suspect, with one TTL of grace, until it
    /// renews. So a restart never makes a registered server unknown.
    pub(super) fn restore(&mut self, now: Instant, records: Records) {
        let (mut restored, mut given_up) = (0_u64, 0_u64);
        for record in records {
            self.next_instance = self.next_instance.max(record.id);
            if record.is_hold() {
                let change = Change::Put(Box::new(record));
                self.apply(now, Ticket::default(), &change, &mut Applied::default());
            } else if record.restarts > MAX_GRACES || record.names.is_empty() {
                let Record { id, host, port, .. } = record;
                self.next_instance = self.next_instance.max(id + 1);
                self.store.record(Change::Removed { id, host, port });
                given_up += 1;
            } else {
                let change = Change::Put(Box::new(record));
                self.apply(now, Ticket::default(), &change, &mut Applied::default());
                restored += 1;
            }
        }
        // One number stands for all restored instances, because there were no watchers yet.
        let revision = self.directory.revision().number + u64::from(restored > 0);
        self.store.reserve(revision);
        self.directory.journal.skip(u64::from(restored > 0));
        if restored + given_up > 0 {
            info!(
                restored,
                given_up,
                "restored instances are suspect until they renew; instances that did not renew \
                 in {MAX_GRACES} runs were dropped"
            );
        }
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
