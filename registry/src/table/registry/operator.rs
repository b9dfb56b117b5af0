//! Commands of operators and lease owners, and results of probes.

use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::FoldedName;
use rpyc_protocol::registry::native::{EventKind, Target};
use tracing::{info, warn};

use super::log_throttle::logged;
use super::plan::Plan;
use super::{Registry, instances};
use crate::refusal::Refusal;
use crate::store::{Record, Ticket};
use crate::table::failure::Failure;
use crate::table::instance::{Instance, Mark};
use crate::table::lease::Lease;

impl Registry {
    /// Ends the leases that a target selects; returns how many instances they belong to.
    ///
    /// # Errors
    /// As [`Registry::drain`].
    pub fn deregister(&mut self, now: Instant, target: &Target) -> Result<(u64, Ticket), Refusal> {
        let leases = self.directory.find(target)?;
        let concerned = instances(&leases).len();
        let plan = self.plan_end(&leases);
        self.carry_out(now, plan, "deregistered");
        Ok((u64::try_from(concerned).unwrap_or(u64::MAX), self.store.last_ticket()))
    }

    /// Starts or stops draining the selected instances; returns how many changed.
    ///
    /// A target with a lease is the registrant's own instance, and the drain ends with the lease.
    /// Any other is an operator's, and the drain holds for the endpoints of the instances until an
    /// operator undrains them.
    ///
    /// # Errors
    /// [`Refusal::UnknownLease`] and [`Refusal::UnknownTarget`] if the target selects nothing.
    pub fn drain(
        &mut self,
        now: Instant,
        target: &Target,
        is_draining: bool,
    ) -> Result<(u64, Ticket), Refusal> {
        match (target.lease.is_some(), is_draining) {
            (true, _) => self.drain_own(now, target, is_draining),
            (false, true) => self.drain_endpoints(now, target),
            (false, false) => self.undrain_endpoints(now, target),
        }
    }

    fn drain_own(
        &mut self,
        now: Instant,
        target: &Target,
        is_draining: bool,
    ) -> Result<(u64, Ticket), Refusal> {
        let mut changing = instances(&self.directory.find(target)?);
        changing.retain(|instance| instance.has(Mark::Draining) != is_draining);
        let what = if is_draining { "drained by itself" } else { "undrained by itself" };
        let mut plan = Plan::default();
        for instance in &changing {
            let (host, port) = (instance.host, logged(&instance.port));
            info!(%host, port, instance = instance.id, "{what}");
            plan.put(Some(instance), Record { is_draining, ..self.record_of(instance) });
        }
        self.carry_out(now, plan, what);
        Ok((u64::try_from(changing.len()).unwrap_or(u64::MAX), self.store.last_ticket()))
    }

    /// Sets or clears the probe failure of an instance.
    pub(crate) fn probed(&mut self, instance: &Arc<Instance>, failure: Option<Failure>) {
        if self.leases_of(instance).is_empty() {
            // It has ended in the meantime.
            return;
        }
        let why = failure.as_ref().map(|failure| failure.error.clone());
        if !self.directory.set_failure(instance, failure) {
            return;
        }
        let Instance { id, host, port, .. } = &**instance;
        let port = logged(port);
        match why {
            Some(why) => warn!(%host, port, instance = id, %why, "failing"),
            None => info!(%host, port, instance = id, "passing again"),
        }
        self.state_changed(instance);
    }

    /// Ends the protection of one name or of all, so that overdue suspects expire at once. Returns
    /// how many leases expired.
    pub fn release(&mut self, now: Instant, name: Option<&FoldedName>) -> (u64, Ticket) {
        let is_meant =
            |lease: &&Arc<Lease>| name.is_none_or(|name| lease.service.as_str() == &**name);
        let mut ended: Vec<_> = self.held.iter().filter(is_meant).cloned().collect();
        ended.retain(|lease| lease.deadline().is_some_and(|it| lease.end_if_still(it)));
        let plan = self.plan_end(&ended);
        self.carry_out(now, plan, "expired; an operator ended its protection");
        (u64::try_from(ended.len()).unwrap_or(u64::MAX), self.store.last_ticket())
    }

    /// Moves an instance to the rank that its state implies, under each of its names.
    pub(super) fn state_changed(&mut self, instance: &Arc<Instance>) {
        let leases = self.leases_of(instance);
        self.directory.rank(&leases);
        self.note(EventKind::Updated, &leases);
    }

    /// The names that are protected now; an empty name stands for the whole table.
    #[must_use]
    pub fn protected(&self) -> Vec<String> {
        /// The most names that are reported; more would not help a reader.
        const MOST: usize = 20;
        let of_table = self.is_table_protected.then(String::new);
        let names = self.held_of.keys().filter_map(|id| self.directory.name_of(*id));
        let names = names.map(|name| name.as_str().to_owned());
        of_table.into_iter().chain(names.take(MOST)).collect()
    }
}
