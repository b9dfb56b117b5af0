//! The changes that a command would make.

use std::sync::Arc;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;

use super::Registry;
use crate::host::Host;
use crate::store::{Change, NativeRecord, Record, Ticket};
use crate::table::instance::{Instance, Mark, Native};
use crate::table::lease::Lease;

/// The changes that a command makes, decided from the table without touching it.
///
/// They are right as long as the conditions hold. A registry with its own store decides and applies
/// under one lock, so they do hold. A shared store checks them when it orders the changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// In the order in which they are made.
    pub(super) changes: Vec<Change>,
    pub(super) conditions: Vec<Condition>,
}

/// A fact that makes a plan right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// The latest change of this instance is the one with this ticket.
    Unchanged { instance: u64, host: Host, port: Port, ticket: Ticket },
    /// No instance has had this number yet.
    Unused { instance: u64 },
    /// No instance of this kind is at this host and port.
    Vacant { host: Host, port: Port, is_native: bool },
    /// No operator has drained this endpoint.
    Undrained { host: Host, port: Port },
    /// No instance but `own` holds the name exclusively, or for an exclusive one, holds it at all.
    Open { name: ServiceName, is_exclusive: bool, own: Box<[u64]> },
}

impl Plan {
    /// Sets the instance to `record`.
    pub(super) fn put(&mut self, known: Option<&Instance>, record: Record) {
        self.conditions.extend(match known {
            Some(instance) => vec![unchanged(instance)],
            None => vec![
                Condition::Unused { instance: record.id },
                Condition::Vacant {
                    host: record.host,
                    port: record.port.clone(),
                    is_native: record.native.is_some(),
                },
            ],
        });
        self.changes.push(Change::Put(Box::new(record)));
    }

    /// Makes the plan right only while no instance but `own` holds one of the names exclusively, or
    /// holds one at all if the plan's instance is exclusive.
    pub(super) fn only_if_open(&mut self, names: &[ServiceName], is_exclusive: bool, own: &[u64]) {
        let open = |name: &ServiceName| Condition::Open {
            name: name.clone(),
            is_exclusive,
            own: own.into(),
        };
        self.conditions.extend(names.iter().map(open));
    }

    /// Drains the endpoint of a record without names.
    pub(super) fn hold(&mut self, record: Record) {
        let (host, port) = (record.host, record.port.clone());
        self.conditions.push(Condition::Unused { instance: record.id });
        self.conditions.push(Condition::Undrained { host, port });
        self.changes.push(Change::Put(Box::new(record)));
    }

    /// Undrains the endpoint whose drain has this number. To repeat it does no harm.
    pub(super) fn lift(&mut self, id: u64, host: Host, port: Port) {
        self.changes.push(Change::Removed { id, host, port });
    }

    /// Removes the instance.
    pub(super) fn remove(&mut self, instance: &Instance) {
        self.conditions.push(unchanged(instance));
        self.changes.push(removed(instance));
    }
}

fn unchanged(instance: &Instance) -> Condition {
    let Instance { id, host, port, .. } = instance;
    Condition::Unchanged {
        instance: *id,
        host: *host,
        port: port.clone(),
        ticket: instance.ticket(),
    }
}

fn removed(instance: &Instance) -> Change {
    let Instance { id, host, port, .. } = instance;
    Change::Removed { id: *id, host: *host, port: port.clone() }
}

impl Registry {
    /// Whether the table still meets a condition.
    #[cfg(test)]
    pub(super) fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Unchanged { instance, host, port, ticket } => {
                let held = self.directory.held(host, port);
                held.iter().any(|lease| {
                    lease.instance.id == *instance && lease.instance.ticket() == *ticket
                })
            }
            Condition::Unused { instance } => *instance >= self.next_instance,
            Condition::Vacant { host, port, is_native } => {
                let held = self.directory.held(host, port);
                held.iter().all(|lease| lease.instance.is_legacy() == *is_native)
            }
            Condition::Undrained { host, port } => !self.is_drained(host, port),
            Condition::Open { name, is_exclusive, own } => {
                self.check_open(name, *is_exclusive, |holder| own.contains(&holder.id)).is_ok()
            }
        }
    }

    /// The plan that removes these leases from their instances.
    pub(super) fn plan_end(&self, ended: &[Arc<Lease>]) -> Plan {
        let mut ended: Vec<_> = ended.iter().collect();
        ended.sort_by_key(|lease| (lease.instance.id, lease.id));
        let mut plan = Plan::default();
        for of_instance in ended.chunk_by(|one, next| one.instance.id == next.instance.id) {
            let Some(instance) = of_instance.first().map(|lease| &lease.instance) else { continue };
            let is_ended = |lease: &Lease| of_instance.iter().any(|ended| ended.id == lease.id);
            if instance.lease_count() == of_instance.len() {
                plan.remove(instance);
                continue;
            }
            let left = self.leases_of(instance).into_iter().filter(|lease| !is_ended(lease));
            let names: Vec<_> = left.map(|lease| lease.service.name.clone()).collect();
            let mut record = self.record_of(instance);
            record.silent.retain(|silence| names.contains(&silence.name));
            plan.put(Some(instance), Record { names, ..record });
        }
        plan
    }

    /// The present record of an instance.
    pub(super) fn record_of(&self, instance: &Arc<Instance>) -> Record {
        let leases = self.leases_of(instance);
        Record {
            id: instance.id,
            names: leases.iter().map(|lease| lease.service.name.clone()).collect(),
            host: instance.host,
            port: instance.port.clone(),
            registered_at: instance.registered_at,
            is_draining: instance.has(Mark::Draining),
            silent: self.silences(&leases),
            native: instance.native.as_deref().map(|native| native_record(instance, native)),
        }
    }
}

fn native_record(instance: &Instance, native: &Native) -> NativeRecord {
    NativeRecord {
        lease: native.lease,
        registrant: native.registrant,
        key: native.key.clone(),
        ttl_ms: super::millis(native.ttl()),
        addresses: native.addresses.to_vec(),
        is_exclusive: instance.has(Mark::Exclusive),
        details: (*native.details()).clone(),
    }
}
