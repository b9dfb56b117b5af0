//! Native registrations: each has a lease with an owner.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{Details, DetailsUpdate, Granted, LeaseId};

use super::plan::Plan;
use super::{Registry, Wanted, millis};
use crate::host::Host;
use crate::refusal::Refusal;
use crate::store::{NativeRecord, Record, Ticket};
use crate::table::instance::Instance;
use crate::table::lease::Lease;
use crate::table::{Asker, Directory};

/// Renewals in one TTL: as with RPyC's 60 s of 240 s, three may be lost.
const RENEWALS_PER_TTL: u32 = 4;

/// The host and port that identify a server while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "host and port are all there is")]
pub struct Endpoint {
    /// The host: that of the first of its addresses, or the source of its registration.
    pub host: Host,
    /// The port.
    pub port: Port,
}

/// A native registration that has been validated.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "faces build it as a literal")]
pub struct NewInstance {
    /// Its names, without duplicates.
    pub names: Vec<ServiceName>,
    /// The host and port that identify it.
    pub endpoint: Endpoint,
    /// The addresses that its registrant named, the preferred first; empty if it named none.
    pub addresses: Vec<SocketAddr>,
    /// The requested TTL; `None` means the registry's default.
    pub ttl: Option<Duration>,
    /// Distinguishes a repeated registration from a new one.
    pub key: Option<Box<str>>,
    /// Whether no other instance may hold one of the names.
    pub is_exclusive: bool,
    /// The details that its registrant gave.
    pub details: Details,
    /// What its registrant has proven.
    pub standing: Standing,
}

/// What a registrant has proven, which decides whether it may replace another instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "faces build it as a literal")]
pub struct Standing {
    /// Whether it has shown that the host of the instance is its own.
    pub is_holder: bool,
    /// The registration is not older than this: a copy that was on its way for longer has an
    /// earlier time.
    pub sent_after: Instant,
    /// The lease that it says it holds and wants to replace.
    pub replaces: Option<LeaseId>,
}

impl Registry {
    /// Begins a lease, or returns the one that the same registration began before.
    ///
    /// A registration of the same endpoint under another key is a new start of the server, so the
    /// old instance ends, if the registrant holds its lease or has proven that it is the same host.
    /// So does the server's registration there in RPyC's own protocol.
    ///
    /// # Errors
    /// [`Refusal`] if a limit, another holder of the endpoint, or another holder of an exclusive
    /// name prevents it; [`Refusal::CookieRequired`] if the registration may be a late copy. Then
    /// nothing has changed.
    pub fn register_native(
        &mut self,
        now: Instant,
        asker: &Asker,
        new: NewInstance,
    ) -> Result<(Granted, Ticket), Refusal> {
        let Endpoint { host, port } = &new.endpoint;
        let held = self.directory.held(host, port);
        let is_native = |lease: &&Arc<Lease>| lease.instance.native.is_some();
        let known = held.iter().find(is_native).map(|lease| Arc::clone(&lease.instance));
        if let Some((instance, native)) =
            known.as_ref().and_then(|it| Some((it, it.native.as_ref()?)))
        {
            let is_registrant = native.registrant == asker.host;
            if is_registrant && new.key.is_some() && native.key == new.key {
                return self.register_again(now, asker, &Arc::clone(instance), new);
            }
            let is_owner = new.standing.replaces == Some(native.lease);
            if !is_owner && !is_registrant && !new.standing.is_holder {
                return Err(Refusal::AddressTaken { host: *host, port: port.clone() });
            }
        }
        if self.endpoint_changes.is_after(new.standing.sent_after, host, port) {
            return Err(Refusal::CookieRequired);
        }
        let lease = LeaseId::new((self.entropy)());
        let plan = self.decide_native(now, asker, lease, new, &held)?;
        let applied = self.carry_out(now, plan, "replaced");
        let Some(begun) = applied.added.first() else { return Err(Refusal::NoNames) };
        Ok((self.granted(asker, &begun.instance), self.store.last_ticket()))
    }

    /// Decides the registration of a server that is new, or has restarted at its endpoint.
    pub(super) fn decide_native(
        &self,
        now: Instant,
        asker: &Asker,
        lease: LeaseId,
        new: NewInstance,
        held: &[Arc<Lease>],
    ) -> Result<Plan, Refusal> {
        let Endpoint { host, port } = new.endpoint;
        // A legacy registration belongs to its host.
        let is_same_server = asker.host == host;
        let replaced: Vec<_> = held
            .iter()
            .filter(|old| {
                let has_name = || new.names.contains(&old.service.name);
                old.instance.native.is_some() || (is_same_server && has_name())
            })
            .cloned()
            .collect();
        let is_own = |it: &Instance| replaced.iter().any(|old| old.instance.id == it.id);
        for name in &new.names {
            self.check_name(name)?;
            self.check_open(name, new.is_exclusive, is_own)?;
        }
        let wanted = Wanted {
            is_legacy: false,
            held: 0,
            fresh: &new.names,
            is_new: held.is_empty(),
            details: Some(&new.details),
        };
        self.check_room(asker, &wanted)?;
        let config = &self.config;
        let ttl = new.ttl.unwrap_or(config.ttl).clamp(config.min_ttl, config.max_ttl);
        let native = NativeRecord {
            lease,
            registrant: asker.host,
            key: new.key,
            ttl_ms: millis(ttl),
            addresses: new.addresses,
            is_exclusive: new.is_exclusive,
            details: new.details,
        };
        let mut plan = Plan::default();
        let own: Vec<_> = replaced.iter().map(|old| old.instance.id).collect();
        plan.only_if_open(&new.names, new.is_exclusive, &own);
        let record = Record::legacy(self.next_instance, host, &port, self.wall_clock(now));
        plan.put(None, Record { names: new.names, native: Some(native), ..record });
        // The new instance comes before the old one goes, so that no query in between finds none.
        let ending = self.plan_end(&replaced);
        plan.changes.extend(ending.changes);
        plan.conditions.extend(ending.conditions);
        Ok(plan)
    }

    /// Applies a repeated registration: its names and details replace the earlier ones.
    fn register_again(
        &mut self,
        now: Instant,
        asker: &Asker,
        instance: &Arc<Instance>,
        new: NewInstance,
    ) -> Result<(Granted, Ticket), Refusal> {
        let plan = self.decide_again(asker, instance, new)?;
        self.hear_from(now, &asker.arrival, &self.leases_of(instance));
        self.carry_out(now, plan, "replaced");
        Ok((self.granted(asker, instance), instance.ticket()))
    }

    pub(super) fn decide_again(
        &self,
        asker: &Asker,
        instance: &Arc<Instance>,
        new: NewInstance,
    ) -> Result<Plan, Refusal> {
        // It renews every lease.
        let mut record = Record { silent: Vec::new(), ..self.record_of(instance) };
        let has_become_exclusive = new.is_exclusive && !record.is_exclusive();
        let mut fresh = new.names;
        fresh.retain(|name| !record.names.contains(name));
        let mut claimed = fresh.clone();
        if has_become_exclusive {
            claimed.extend(record.names.iter().cloned());
        }
        for name in &claimed {
            self.check_name(name)?;
            self.check_open(name, new.is_exclusive, |holder| holder.id == instance.id)?;
        }
        let held = record.names.len();
        let wanted = Wanted { is_legacy: false, held, fresh: &fresh, is_new: false, details: None };
        self.check_room(asker, &wanted)?;
        let mut plan = Plan::default();
        let is_same = new.is_exclusive == record.is_exclusive();
        if fresh.is_empty() && is_same && *instance.details() == new.details {
            return Ok(plan);
        }
        plan.only_if_open(&claimed, new.is_exclusive, &[instance.id]);
        if let Some(native) = &mut record.native {
            native.is_exclusive = new.is_exclusive;
        }
        record.names.extend(fresh);
        record.set_details(new.details);
        plan.put(Some(instance), record);
        Ok(plan)
    }

    /// Renews a lease, that of a suspect included.
    ///
    /// # Errors
    /// [`Refusal::UnknownLease`] if the lease does not exist or has ended.
    pub fn renew_native(
        &mut self,
        now: Instant,
        asker: &Asker,
        lease: LeaseId,
    ) -> Result<(Granted, Ticket), Refusal> {
        let held = self.directory.native(lease);
        let instance = held.first().map(|lease| Arc::clone(&lease.instance));
        let instance = instance.ok_or(Refusal::UnknownLease)?;
        self.hear_from(now, &asker.arrival, &held);
        let ticket = held.iter().map(|lease| lease.ticket()).max().unwrap_or_default();
        Ok((self.granted(asker, &instance), ticket))
    }

    /// Changes the details of an instance.
    ///
    /// # Errors
    /// [`Refusal::UnknownLease`] if the lease does not exist or has ended; [`Refusal::Details`] if
    /// the details would exceed their limits.
    pub fn update(
        &mut self,
        now: Instant,
        lease: LeaseId,
        update: DetailsUpdate,
    ) -> Result<Ticket, Refusal> {
        let held = self.directory.native(lease);
        let instance = held.first().map(|lease| Arc::clone(&lease.instance));
        let instance = instance.ok_or(Refusal::UnknownLease)?;
        let mut details = update.apply(&instance.details());
        crate::details::bound(&mut details);
        crate::details::check(&details)?;
        let mut plan = Plan::default();
        let mut record = self.record_of(&instance);
        record.set_details(details);
        plan.put(Some(&instance), record);
        self.carry_out(now, plan, "updated");
        Ok(instance.ticket())
    }

    fn granted(&mut self, asker: &Asker, instance: &Instance) -> Granted {
        let jitter = (self.entropy)();
        self.directory.granted(asker, instance, jitter)
    }
}

impl Directory {
    /// The terms of a lease, for its registrant. The next renewal is due after a quarter of the
    /// TTL, give or take a tenth of that, so that servers that registered together drift apart.
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
