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
    /// No other instance holds the name.
    Alone { name: ServiceName, instance: u64 },
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
            Condition::Alone { name, instance } => {
                self.directory.other_holder(name.as_str(), *instance).is_none()
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
            native: instance.native.as_deref().map(NativeRecord::from),
        }
    }
}

impl From<&Native> for NativeRecord {
    fn from(native: &Native) -> Self {
        Self {
            lease: native.lease,
            registrant: native.registrant,
            key: native.key.clone(),
            ttl_ms: super::millis(native.ttl()),
            addresses: native.addresses.to_vec(),
            details: (*native.details()).clone(),
        }
    }
}
