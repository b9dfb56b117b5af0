//! Registrations in RPyC's own protocol: whoever is on a host speaks for its ports.

use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::EventKind;
use rpyc_protocol::registry::{Names, Port};
use tracing::info;

use super::{Registry, Wanted};
use crate::refusal::Refusal;
use crate::store::Ticket;
use crate::table::Asker;
use crate::table::instance::Instance;
use crate::table::lease::Lease;

impl Registry {
    /// Registers `names` on `port` of the asker's host, or renews those it holds already.
    ///
    /// Names that a native registration of the same server holds stay as they are. The change is
    /// visible to queries when this returns; the ticket tells when it is durable.
    ///
    /// # Errors
    /// [`Refusal`] if a limit stands in the way; then nothing has changed.
    pub fn register(
        &mut self,
        now: Instant,
        asker: &Asker,
        names: Names<'_>,
        port: &Port,
    ) -> Result<Ticket, Refusal> {
        let host = asker.host;
        let (held, ports_of_host) = self.directory.held(&host, port);
        let mut fresh: Vec<ServiceName> = Vec::new();
        let mut renewed: Vec<&Arc<Lease>> = Vec::new();
        // A message may repeat names, so it is bounded apart from what the instance ends up with.
        let limit = self.config.limits.names_per_instance;
        if names.clone().nth(limit).is_some() {
            return Err(Refusal::TooManyNames { limit });
        }
        for name in names {
            let name = ServiceName::new(name)?;
            self.check_name(&name)?;
            if let Some(lease) = held.iter().find(|lease| lease.service.name == name) {
                renewed.push(lease);
            } else if !fresh.contains(&name) {
                fresh.push(name);
            }
        }
        let legacy = held.iter().filter(|lease| lease.instance.is_legacy());
        let wanted = Wanted {
            held: legacy.clone().count(),
            fresh: fresh.len(),
            is_new: held.is_empty(),
            ports_of_host,
        };
        self.check_room(asker, &wanted)?;
        let known = legacy.map(|lease| &lease.instance).next().cloned();
        let instance = match known {
            Some(instance) => instance,
            None => {
                let wall_clock = self.wall_clock(now);
                let id = self.next_instance;
                Arc::new(Instance::new(id, (host, port.clone()), None, wall_clock))
            }
        };

        self.directory.note_arrival(&instance, &asker.arrival);
        renewed.retain(|lease| lease.instance.is_legacy());
        let renewed_ticket = renewed.iter().map(|lease| lease.ticket()).max().unwrap_or_default();
        self.hear_from(now, renewed);
        self.heard(&instance);
        if fresh.is_empty() {
            return Ok(renewed_ticket);
        }
        self.next_instance = self.next_instance.max(instance.id + 1);
        let deadline = self.directory.clock.tick(now).after(self.directory.ttl());
        let begun = self.begin(self.directory.clock.since(now), &instance, fresh, deadline);
        for lease in begun.iter().filter(|_| self.telling.is_told()) {
            info!(
                name = ?lease.service.as_str(), host = %host, ?port, instance = instance.id,
                "registered"
            );
        }
        self.note(EventKind::Added, &begun);
        Ok(self.keep(&instance))
    }

    /// Ends whatever the asker's host registered by RPyC's own protocol on `port`, unless a
    /// registration that arrived later than this request has been served before it.
    ///
    /// The change is visible to queries when this returns; the ticket tells when it is durable.
    pub fn unregister(&mut self, asker: &Asker, port: &Port) -> Ticket {
        let (mut held, _) = self.directory.held(&asker.host, port);
        held.retain(|lease| lease.instance.is_legacy() && self.ends(lease, asker));
        self.finish(&held, "unregistered");
        self.store.last_ticket()
    }

    /// Ends a lease unless a later registration renewed it; returns whether it did.
    fn ends(&self, lease: &Lease, asker: &Asker) -> bool {
        while let Some(deadline) = lease.deadline() {
            if self.directory.is_late(&lease.instance, &asker.arrival) {
                return false;
            }
            // A renewal that comes in between has noted its arrival first.
            if lease.end_if_still(deadline) {
                return true;
            }
        }
        false
    }
}
