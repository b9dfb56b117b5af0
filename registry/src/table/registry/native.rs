//! Native registrations: each has a lease with an owner.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{Details, DetailsUpdate, EventKind, Granted, LeaseId};
use tracing::info;

use super::{Registry, Wanted, millis};
use crate::refusal::Refusal;
use crate::store::Ticket;
use crate::table::instance::{Instance, Native};
use crate::table::lease::Lease;
use crate::table::{Asker, Directory, Host};

/// How many renewals fit into a lease: as with RPyC's 60 s of 240 s, three may be lost.
const RENEWALS_PER_TTL: u32 = 4;

/// Where a server is: what it is known by while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "host and port are all there is")]
pub struct Place {
    /// Its host: the first of its addresses, or where its registration came from.
    pub host: Host,
    /// Its port.
    pub port: Port,
}

/// A native registration that has been read and found sound.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "faces build it as a literal")]
pub struct NewInstance {
    /// Its names, none twice.
    pub names: Vec<ServiceName>,
    /// Where it is.
    pub place: Place,
    /// Where it is, as its registrant says, the preferred first; empty if it left that to us.
    pub addresses: Vec<SocketAddr>,
    /// How long its lease shall last; `None` means the registry's own time.
    pub ttl: Option<Duration>,
    /// What tells a registration that comes again from a new one.
    pub key: Option<Box<str>>,
    /// Whether nobody else may hold one of the names.
    pub is_exclusive: bool,
    /// What its registrant tells about it.
    pub details: Details,
}

impl Registry {
    /// Begins a lease, or gives the one that the same registration began before.
    ///
    /// A registration of the same place under another key is a new start of the server: the old
    /// instance ends. So does what the server registered there in RPyC's own protocol.
    ///
    /// # Errors
    /// [`Refusal`] if a limit, another holder of the place, or one of a name that is to be held
    /// alone stands in the way; then nothing has changed.
    pub fn register_native(
        &mut self,
        now: Instant,
        asker: &Asker,
        new: NewInstance,
    ) -> Result<(Granted, Ticket), Refusal> {
        let Place { host, port } = &new.place;
        let (held, ports_of_host) = self.directory.held(host, port);
        let is_native = |lease: &&Arc<Lease>| lease.instance.native.is_some();
        let known = held.iter().find(is_native).map(|lease| Arc::clone(&lease.instance));
        if let Some((instance, native)) =
            known.as_ref().and_then(|it| Some((it, it.native.as_ref()?)))
        {
            let is_registrant = native.registrant == asker.host;
            if !is_registrant && asker.host != *host {
                return Err(Refusal::AddressTaken { host: *host, port: port.clone() });
            }
            if is_registrant && new.key.is_some() && native.key == new.key {
                return self.register_again(now, asker, &Arc::clone(instance), new);
            }
        }
        self.check_names(&new, &held)?;
        let wanted =
            Wanted { held: 0, fresh: new.names.len(), is_new: held.is_empty(), ports_of_host };
        self.check_room(asker, &wanted)?;

        let config = &self.config;
        let ttl = new.ttl.unwrap_or(config.ttl).clamp(config.min_ttl, config.max_ttl);
        let lease = LeaseId::new((self.entropy)());
        let addresses = new.addresses.into();
        let native = Native::new(lease, asker.host, new.key, ttl, addresses, new.details);
        let wall_clock = self.wall_clock(now);
        let place = (*host, port.clone());
        let instance = Instance::new(self.next_instance, place, Some(Box::new(native)), wall_clock);
        let instance = Arc::new(instance);
        self.next_instance += 1;
        // The new one is there before the old one goes, so that nobody finds nothing.
        let deadline = self.directory.clock.tick(now).after(ttl);
        let since = self.directory.clock.since(now);
        let begun = self.begin(since, &instance, new.names, deadline);
        self.note(EventKind::Added, &begun);
        for lease in begun.iter().filter(|_| self.telling.is_told()) {
            info!(
                name = ?lease.service.as_str(), %host, ?port, instance = instance.id,
                ttl = %humantime::format_duration(ttl), "registered"
            );
        }
        let ticket = self.keep(&instance);
        // A legacy registration is its host's own.
        let is_same_server = asker.host == instance.host;
        let replaced: Vec<_> = held
            .into_iter()
            .filter(|old| {
                let has_name = || begun.iter().any(|new| new.service_id() == old.service_id());
                old.instance.native.is_some() || (is_same_server && has_name())
            })
            .collect();
        self.end(&replaced, "replaced");
        let ticket = ticket.max(self.store.last_ticket());
        Ok((self.granted(asker, &instance), ticket))
    }

    /// The same registration once more: what it says now counts.
    fn register_again(
        &mut self,
        now: Instant,
        asker: &Asker,
        instance: &Arc<Instance>,
        new: NewInstance,
    ) -> Result<(Granted, Ticket), Refusal> {
        let held = self.leases_of(instance);
        let has = |name: &ServiceName| held.iter().any(|lease| lease.service.name == *name);
        let fresh: Vec<_> = new.names.iter().filter(|name| !has(name)).cloned().collect();
        if new.is_exclusive {
            self.check_alone(&fresh, instance.id)?;
        }
        for name in &fresh {
            self.check_name(name)?;
        }
        let wanted =
            Wanted { held: held.len(), fresh: fresh.len(), is_new: false, ports_of_host: 0 };
        self.check_room(asker, &wanted)?;
        self.hear_from(now, &held);
        let mut ticket = held.iter().map(|lease| lease.ticket()).max().unwrap_or_default();
        if !fresh.is_empty() {
            let ttl = self.directory.ttl();
            let ttl = instance.native.as_ref().map_or(ttl, |native| native.ttl());
            let deadline = self.directory.clock.tick(now).after(ttl);
            let since = self.directory.clock.since(now);
            let begun = self.begin(since, instance, fresh, deadline);
            self.note(EventKind::Added, &begun);
            ticket = self.keep(instance);
        }
        if let Some(native) = &instance.native
            && *native.details() != new.details
        {
            ticket = self.change(instance, new.details);
        }
        Ok((self.granted(asker, instance), ticket))
    }

    /// Renews a lease, whatever was thought of it.
    ///
    /// # Errors
    /// [`Refusal::UnknownLease`] if there is none, or it has ended.
    pub fn renew_native(
        &mut self,
        now: Instant,
        asker: &Asker,
        lease: LeaseId,
    ) -> Result<(Granted, Ticket), Refusal> {
        let held = self.directory.native(lease);
        let instance = held.first().map(|lease| Arc::clone(&lease.instance));
        let instance = instance.ok_or(Refusal::UnknownLease)?;
        self.hear_from(now, &held);
        let ticket = held.iter().map(|lease| lease.ticket()).max().unwrap_or_default();
        Ok((self.granted(asker, &instance), ticket))
    }

    /// Changes what is told about an instance.
    ///
    /// # Errors
    /// [`Refusal::UnknownLease`] if there is none, or it has ended; [`Refusal::Details`] if it would
    /// be too much.
    pub fn update(&mut self, lease: LeaseId, update: DetailsUpdate) -> Result<Ticket, Refusal> {
        let held = self.directory.native(lease);
        let instance = held.first().map(|lease| Arc::clone(&lease.instance));
        let instance = instance.ok_or(Refusal::UnknownLease)?;
        let details = update.apply(&instance.details());
        crate::details::check(&details)?;
        Ok(self.change(&instance, details))
    }

    fn change(&mut self, instance: &Arc<Instance>, details: Details) -> Ticket {
        if let Some(native) = &instance.native {
            native.set_details(details);
        }
        let leases = self.leases_of(instance);
        self.note(EventKind::Updated, &leases);
        self.keep(instance)
    }

    fn check_names(&self, new: &NewInstance, replaced: &[Arc<Lease>]) -> Result<(), Refusal> {
        for name in &new.names {
            self.check_name(name)?;
        }
        if new.is_exclusive {
            // The registrant's own earlier start does not stand in its way.
            let own = replaced.first().map_or(0, |lease| lease.instance.id);
            self.check_alone(&new.names, own)?;
        }
        Ok(())
    }

    /// Whether nobody but instance `own` holds any of `names`.
    fn check_alone(&self, names: &[ServiceName], own: u64) -> Result<(), Refusal> {
        for name in names {
            let leases = self.directory.leases(name.as_str()).map(|(_, leases)| leases);
            let mut others = leases.into_iter().flatten().map(|lease| Arc::clone(&lease.instance));
            if let Some(holder) = others.find(|holder| holder.id != own) {
                let (host, port) = (holder.host, holder.port.clone());
                return Err(Refusal::NameTaken { name: name.clone(), host, port });
            }
        }
        Ok(())
    }

    fn granted(&mut self, asker: &Asker, instance: &Instance) -> Granted {
        let jitter = (self.entropy)();
        self.directory.granted(asker, instance, jitter)
    }
}

impl Directory {
    /// What a registrant is told of its lease. The time of the next renewal lies within a tenth of
    /// a quarter of the TTL, so that those who registered together drift apart.
    pub(crate) fn granted(&self, asker: &Asker, instance: &Instance, jitter: u128) -> Granted {
        let native = instance.native.as_ref();
        let ttl = native.map_or_else(|| self.ttl(), |native| native.ttl());
        let renew = millis(ttl / RENEWALS_PER_TTL);
        let spread = renew / 10;
        let jitter = u64::try_from(jitter % (u128::from(spread) * 2 + 1)).unwrap_or(spread);
        Granted {
            lease: native.map_or_else(|| LeaseId::new(0), |native| native.lease),
            instance: instance.id,
            ttl_ms: millis(ttl),
            renew_ms: renew - spread + jitter,
            observed: asker.host.to_string(),
            unreachable: self.failure(instance).map(|failure| failure.error.to_string()),
        }
    }
}
