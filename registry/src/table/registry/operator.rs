//! What operators, registrants with their lease, and probes say of instances.

use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::FoldedName;
use rpyc_protocol::registry::native::{EventKind, Target};
use tracing::{info, warn};

use super::Registry;
use super::plan::Plan;
use crate::refusal::Refusal;
use crate::store::{Record, Ticket};
use crate::table::failure::Failure;
use crate::table::host::parse_host;
use crate::table::instance::{Instance, Mark};
use crate::table::lease::Lease;

impl Registry {
    /// The leases that are meant. A target with a name means those of that name alone.
    ///
    /// # Errors
    /// [`Refusal::UnknownLease`] and [`Refusal::UnknownTarget`] if nothing is.
    pub(crate) fn find(&self, target: &Target) -> Result<Vec<Arc<Lease>>, Refusal> {
        let mut found = self.directory.find(target)?;
        found.retain(|lease| !lease.has_ended());
        if !found.is_empty() {
            return Ok(found);
        }
        Err(if target.lease.is_some() { Refusal::UnknownLease } else { Refusal::UnknownTarget })
    }

    /// Ends the leases that are meant; tells how many instances that concerns.
    ///
    /// # Errors
    /// As [`Registry::drain`].
    pub fn deregister(&mut self, now: Instant, target: &Target) -> Result<(u64, Ticket), Refusal> {
        let leases = self.find(target)?;
        let concerned = instances(&leases).len();
        let plan = self.plan_end(&leases);
        self.carry_out(now, plan, "deregistered");
        Ok((u64::try_from(concerned).unwrap_or(u64::MAX), self.store.last_ticket()))
    }

    /// Lets the instances that are meant get nobody new, or gives them back; tells how many changed.
    ///
    /// # Errors
    /// [`Refusal::UnknownLease`] and [`Refusal::UnknownTarget`] if no instance is meant.
    pub fn drain(
        &mut self,
        now: Instant,
        target: &Target,
        is_draining: bool,
    ) -> Result<(u64, Ticket), Refusal> {
        let mut changing = instances(&self.find(target)?);
        changing.retain(|instance| instance.has(Mark::Draining) != is_draining);
        let what = if is_draining { "drained" } else { "undrained" };
        let mut plan = Plan::default();
        for instance in &changing {
            info!(host = %instance.host, port = ?instance.port, instance = instance.id, "{what}");
            plan.put(Some(instance), Record { is_draining, ..self.record_of(instance) });
        }
        self.carry_out(now, plan, what);
        Ok((u64::try_from(changing.len()).unwrap_or(u64::MAX), self.store.last_ticket()))
    }

    /// Takes note of what probes say against an instance, or that they say nothing any more.
    pub(crate) fn probed(&mut self, instance: &Arc<Instance>, failure: Option<Failure>) {
        if self.leases_of(instance).is_empty() {
            // It has ended meanwhile.
            return;
        }
        let why = failure.as_ref().map(|failure| failure.error.clone());
        if !self.directory.set_failure(instance, failure) {
            return;
        }
        let Instance { id, host, port, .. } = &**instance;
        match why {
            Some(why) => warn!(%host, ?port, instance = id, %why, "failing"),
            None => info!(%host, ?port, instance = id, "passing again"),
        }
        self.state_changed(instance);
    }

    /// Ends the protection of suspects, of one name or of all: those that are overdue go at once.
    /// Tells how many leases went.
    pub fn release(&mut self, now: Instant, name: Option<&FoldedName>) -> (u64, Ticket) {
        let is_meant =
            |lease: &&Arc<Lease>| name.is_none_or(|name| lease.service.as_str() == &**name);
        let mut ended: Vec<_> = self.held.iter().filter(is_meant).cloned().collect();
        ended.retain(|lease| lease.deadline().is_some_and(|it| lease.end_if_still(it)));
        let plan = self.plan_end(&ended);
        self.carry_out(now, plan, "expired; an operator ended its protection");
        (u64::try_from(ended.len()).unwrap_or(u64::MAX), self.store.last_ticket())
    }

    /// Gives an instance the place that its state has, under each of its names.
    pub(super) fn state_changed(&mut self, instance: &Arc<Instance>) {
        let leases = self.leases_of(instance);
        self.directory.rank(&leases);
        self.note(EventKind::Updated, &leases);
    }

    /// Which names are protected at the moment; an empty name stands for the whole table.
    #[must_use]
    pub fn protected(&self) -> Vec<String> {
        /// More would say no more.
        const MOST: usize = 20;
        let of_table = self.is_table_protected.then(String::new);
        let names = self.held_of.keys().filter_map(|id| self.directory.name_of(*id));
        let names = names.map(|name| name.as_str().to_owned());
        of_table.into_iter().chain(names.take(MOST)).collect()
    }
}

fn instances(leases: &[Arc<Lease>]) -> Vec<Arc<Instance>> {
    let mut instances: Vec<_> = leases.iter().map(|lease| Arc::clone(&lease.instance)).collect();
    instances.sort_by_key(|instance| instance.id);
    instances.dedup_by_key(|instance| instance.id);
    instances
}

impl crate::table::Directory {
    /// The leases that are meant, of instances or of one name.
    ///
    /// # Errors
    /// [`Refusal`] if the target cannot be read.
    pub(crate) fn find(&self, target: &Target) -> Result<Vec<Arc<Lease>>, Refusal> {
        let ip = match &target.host {
            None => None,
            Some(host) => Some(parse_host(host).ok_or_else(|| Refusal::Host(host.clone()))?),
        };
        let mut found = match (&target.lease, &target.name, target.instance, ip) {
            (Some(lease), ..) => self.native(*lease),
            (None, Some(name), ..) => {
                let name = FoldedName::new(name)?;
                self.leases(&name).map(|(_, leases)| leases).unwrap_or_default()
            }
            (None, None, Some(id), _) => self.held_by_number(id),
            (None, None, None, Some(ip)) => self.held_by(ip),
            (None, None, None, None) => return Err(Refusal::NoTarget),
        };
        found.retain(|lease| lease.instance.is_meant_by(target));
        Ok(found)
    }
}
