//! Registrations in RPyC's own protocol: any program on a host may change that host's ports.

use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::{Names, Port};

use super::plan::Plan;
use super::{Registry, Wanted};
use crate::refusal::Refusal;
use crate::store::{Record, Ticket};
use crate::table::Asker;
use crate::table::instance::Instance;
use crate::table::lease::Lease;

/// What a registration changes.
pub(super) struct Decision {
    /// The leases that it renews.
    renewed: Vec<Arc<Lease>>,
    /// The instance that it concerns, if there is one.
    known: Option<Arc<Instance>>,
    pub(super) plan: Plan,
}

impl Registry {
    /// Registers `names` on `port` of the asker's host, or renews those it holds already.
    ///
    /// Names that a native registration of the same server holds do not change, if it came from the
    /// same host. The change is visible to queries when this returns; the ticket shows when it is
    /// durable.
    ///
    /// # Errors
    /// [`Refusal`] if a limit would be exceeded, or if another instance holds one of the names
    /// exclusively; then nothing has changed.
    pub fn register(
        &mut self,
        now: Instant,
        asker: &Asker,
        names: Names<'_>,
        port: &Port,
    ) -> Result<Ticket, Refusal> {
        let Decision { renewed, known, plan } =
            self.decide_registration(now, asker, names, port)?;
        if let Some(instance) = &known {
            self.directory.note_arrival(instance, &asker.arrival);
        }
        let ticket = renewed.iter().map(|lease| lease.ticket()).max().unwrap_or_default();
        self.hear_from(now, &asker.arrival, &renewed);
        if plan.changes.is_empty() {
            return Ok(ticket);
        }
        let applied = self.carry_out(now, plan, "registered");
        if let (None, Some(lease)) = (known, applied.added.first()) {
            self.directory.note_arrival(&lease.instance, &asker.arrival);
        }
        Ok(self.store.last_ticket())
    }

    pub(super) fn decide_registration(
        &self,
        now: Instant,
        asker: &Asker,
        names: Names<'_>,
        port: &Port,
    ) -> Result<Decision, Refusal> {
        let host = asker.host;
        let mut held = self.directory.held(&host, port);
        // A native registration speaks for the host only if it came from there.
        held.retain(|lease| lease.instance.registrant() == host);
        let mut fresh: Vec<ServiceName> = Vec::new();
        let mut renewed: Vec<Arc<Lease>> = Vec::new();
        // A message may repeat names, so it has a limit apart from the instance's.
        let limit = self.config.limits.names_per_instance;
        if names.clone().nth(limit).is_some() {
            return Err(Refusal::TooManyNames { limit });
        }
        for name in names {
            let name = ServiceName::new(name)?;
            self.check_name(&name)?;
            if let Some(lease) = held.iter().find(|lease| lease.service.name == name) {
                renewed.push(Arc::clone(lease));
            } else if !fresh.contains(&name) {
                self.check_open(&name, false, |_| false)?;
                fresh.push(name);
            }
        }
        renewed.retain(|lease| lease.instance.is_legacy());
        let known = held.iter().find(|lease| lease.instance.is_legacy());
        let known = known.map(|lease| Arc::clone(&lease.instance));
        let wanted = Wanted {
            is_legacy: true,
            held: known.as_ref().map_or(0, |instance| instance.lease_count()),
            fresh: &fresh,
            is_new: held.is_empty(),
            details: None,
        };
        self.check_room(asker, &wanted)?;
        let mut plan = Plan::default();
        if !fresh.is_empty() {
            let mut record = match &known {
                Some(instance) => self.record_of(instance),
                None => Record::legacy(self.next_instance, host, port, self.wall_clock(now)),
            };
            plan.only_if_open(&fresh, false, &[]);
            record.names.extend(fresh);
            let is_renewed =
                |name: &ServiceName| renewed.iter().any(|lease| lease.service.name == *name);
            record.silent.retain(|silence| !is_renewed(&silence.name));
            plan.put(known.as_deref(), record);
        }
        Ok(Decision { renewed, known, plan })
    }

    /// Ends the leases that the asker's host registered in RPyC's own protocol on `port`, unless a
    /// registration that arrived later than this request has been served before it.
    ///
    /// The change is visible to queries when this returns; the ticket shows when it is durable.
    pub fn unregister(&mut self, now: Instant, asker: &Asker, port: &Port) -> Ticket {
        let mut held = self.directory.held(&asker.host, port);
        held.retain(|lease| lease.instance.is_legacy() && self.ends(lease, asker));
        let plan = self.plan_end(&held);
        self.carry_out(now, plan, "unregistered");
        self.store.last_ticket()
    }

    /// Ends a lease unless a later registration renewed it; returns whether it did.
    fn ends(&self, lease: &Lease, asker: &Asker) -> bool {
        while let Some(deadline) = lease.deadline() {
            if self.directory.is_late(&lease.instance, &asker.arrival) {
                return false;
            }
            // A renewal that comes in between has recorded its arrival first.
            if lease.end_if_still(deadline) {
                return true;
            }
        }
        false
    }
}
