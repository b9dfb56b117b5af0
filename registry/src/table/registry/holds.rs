//! Endpoints that an operator has drained: no client gets an instance there until an operator
//! undrains it, however often its server or the registry restarts.
//!
//! A store keeps each as the record of an instance without names, which is draining.

use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::Target;
use tracing::info;

use super::apply::Applied;
use super::log_throttle::logged;
use super::plan::Plan;
use super::{Endpoint, Registry, instances};
use crate::host::{Host, parse_host};
use crate::refusal::Refusal;
use crate::store::{Record, Ticket};
use crate::table::instance::{Instance, Mark};

/// Logs what an operator did to an instance.
fn log(instance: &Instance, what: &str) {
    let (host, port) = (instance.host, logged(&instance.port));
    info!(%host, port, instance = instance.id, "{what}");
}

impl Registry {
    /// Drains the endpoints of the selected instances; returns how many instances changed.
    pub(super) fn drain_endpoints(
        &mut self,
        now: Instant,
        target: &Target,
    ) -> Result<(u64, Ticket), Refusal> {
        let mut changing = instances(&self.directory.find(target)?);
        changing.retain(|instance| !instance.has(Mark::Held));
        let mut endpoints: Vec<_> = changing.iter().map(|it| (it.host, &it.port)).collect();
        // A legacy and a native registration may share an endpoint.
        endpoints.sort_by_key(|(host, port)| (*host, port.to_string()));
        endpoints.dedup();
        let limit = self.config.limits.instances;
        if self.drained.len() + endpoints.len() > limit {
            return Err(Refusal::TooManyInstances { limit });
        }
        let mut plan = Plan::default();
        for (id, (host, port)) in (self.next_instance..).zip(endpoints) {
            let record = Record::legacy(id, host, port, self.wall_clock(now));
            plan.hold(Record { is_draining: true, ..record });
        }
        self.carry_out(now, plan, "drained");
        changing.iter().for_each(|instance| log(instance, "drained"));
        Ok((count(changing.len()), self.store.last_ticket()))
    }

    /// Undrains the selected instances and their endpoints, and with a host in the target also the
    /// endpoints there at which no instance is now. Returns how many changed.
    pub(super) fn undrain_endpoints(
        &mut self,
        now: Instant,
        target: &Target,
    ) -> Result<(u64, Ticket), Refusal> {
        let found = self.directory.find(target);
        let mut vacant = self.drained_at(target);
        let found = match found {
            Err(Refusal::UnknownTarget) if !vacant.is_empty() => Vec::new(),
            found => instances(&found?),
        };
        let mut plan = Plan::default();
        let mut changed = 0;
        for instance in &found {
            let is_held = instance.has(Mark::Held);
            changed += usize::from(is_held || instance.has(Mark::Draining));
            if instance.has(Mark::Draining) {
                let record = Record { is_draining: false, ..self.record_of(instance) };
                plan.put(Some(instance), record);
            }
            if is_held
                && !vacant.iter().any(|it| it.host == instance.host && it.port == instance.port)
            {
                vacant.push(Endpoint { host: instance.host, port: instance.port.clone() });
            }
        }
        for Endpoint { host, port } in vacant {
            let Some(id) = self.drained.get(&(host, port.clone())) else { continue };
            changed += usize::from(self.instances_at(&host, &port).is_empty());
            plan.lift(*id, host, port);
        }
        self.carry_out(now, plan, "undrained");
        found.iter().for_each(|instance| log(instance, "undrained"));
        Ok((count(changed), self.store.last_ticket()))
    }

    /// The drained endpoints, in order, as `HOST:PORT`. They may have no instance at present.
    pub fn drained(&self) -> impl Iterator<Item = String> {
        let mut drained: Vec<_> = self.drained.keys().collect();
        drained.sort_by_key(|(host, port)| (*host, port.to_string()));
        drained.into_iter().map(|(host, port)| match host.ip().is_ipv6() {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        })
    }

    /// Whether an operator has drained an endpoint.
    pub(super) fn is_drained(&self, host: &Host, port: &Port) -> bool {
        self.drained_by(host, port).is_some()
    }

    /// The number of the record that drains an endpoint.
    pub(super) fn drained_by(&self, host: &Host, port: &Port) -> Option<u64> {
        // Most registries have none, and need no copy of the port.
        let drained = (!self.drained.is_empty()).then_some(&self.drained)?;
        drained.get(&(*host, port.clone())).copied()
    }

    /// Drains or undrains an endpoint: part of `apply`.
    pub(super) fn apply_hold(
        &mut self,
        (host, port): (&Host, &Port),
        held: Option<u64>,
        applied: &mut Applied,
    ) {
        match held {
            Some(id) => drop(self.drained.insert((*host, port.clone()), id)),
            None => drop(self.drained.remove(&(*host, port.clone()))),
        }
        for instance in self.instances_at(host, port) {
            if instance.set(Mark::Held, held.is_some()) {
                let leases = self.leases_of(&instance);
                self.directory.rank(&leases);
                applied.updated.extend(leases);
            }
        }
    }

    fn instances_at(&self, host: &Host, port: &Port) -> Vec<Arc<Instance>> {
        instances(&self.directory.held(host, port))
    }

    /// The drained endpoints that a target names by its host.
    fn drained_at(&self, target: &Target) -> Vec<Endpoint> {
        let Some(ip) = target.host.as_deref().and_then(parse_host) else { return Vec::new() };
        if target.instance.is_some() {
            return Vec::new();
        }
        let is_meant = |(host, port): &&(Host, Port)| {
            let is_vacant = || self.directory.held(host, port).is_empty();
            host.ip() == ip && target.port.as_ref().is_none_or(|it| it == port) && is_vacant()
        };
        let meant = self.drained.keys().filter(is_meant);
        meant.map(|(host, port)| Endpoint { host: *host, port: port.clone() }).collect()
    }
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
