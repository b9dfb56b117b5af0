//! The half of the table that every worker shares: queries and renewals.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use rpyc_protocol::brine::{EncodeError, Writer};
use rpyc_protocol::registry::reply::Entries;
use rpyc_protocol::registry::{Names, Port};
use rpyc_protocol::{FoldedName, ServiceName};

use super::clock::LeaseClock;
use super::lease::Lease;
use super::turn::Turn;
use super::{Asker, Host};

/// Answers queries and renews leases, on whichever thread asks.
///
/// Everything here takes `&self` and holds a lock for microseconds, never across I/O or a sweep.
/// What changes the *structure* (a new lease, an ended one) goes through the one
/// [`Registry`](crate::Registry), which owns the right to call the `pub(super)` methods below.
#[derive(Debug)]
pub struct Directory {
    ttl: Duration,
    pub(super) clock: LeaseClock,
    services: DashMap<ServiceName, Service>,
    instances: DashMap<Host, HashMap<Port, Vec<Arc<Lease>>>>,
    /// Names by number, that is, in the order in which they appeared, as RPyC lists them.
    names: RwLock<BTreeMap<u64, ServiceName>>,
    /// The number of the service with which the next LIST begins that cannot hold every name.
    list_turn: AtomicU64,
}

#[derive(Debug)]
struct Service {
    id: u64,
    /// In the order of their ids.
    leases: Vec<Arc<Lease>>,
    /// Which of them the next answer begins with.
    turn: Turn,
}

impl Directory {
    pub(super) fn new(start: Instant, ttl: Duration) -> Self {
        Self {
            ttl,
            clock: LeaseClock::new(start),
            services: DashMap::new(),
            instances: DashMap::new(),
            names: RwLock::new(BTreeMap::new()),
            list_turn: AtomicU64::new(0),
        }
    }

    /// How long a lease lasts unless it is renewed.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Renews the leases of all `names` that `host` serves on `port`, if it holds every one of them;
    /// otherwise changes nothing and tells so.
    #[must_use]
    pub fn renew(&self, now: Instant, host: Host, port: &Port, names: Names<'_>) -> bool {
        let Some(ports) = self.instances.get(&host) else { return names.count() == 0 };
        let held = ports.get(port).map(Vec::as_slice).unwrap_or_default();
        let lease_of = |name: &str| {
            let name = FoldedName::new(name).ok()?;
            held.iter().find(|lease| lease.service.as_str() == &*name)
        };
        if !names.clone().all(|name| lease_of(name).is_some_and(|lease| !lease.has_ended())) {
            return false;
        }
        let deadline = self.clock.tick(now).after(self.ttl);
        // A sweep may end a lease between the look and the renewal; then the registry adds it anew.
        names.filter_map(lease_of).all(|lease| lease.renew(deadline))
    }

    /// Writes the answer to QUERY: as many whole entries as fit, beginning with another one each
    /// time, so that each is first in its turn and all are told sooner or later.
    ///
    /// # Errors
    /// [`EncodeError`] cannot happen within the caps of the transports.
    pub fn query<'b>(
        &self,
        name: &FoldedName,
        asker: &Asker,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], EncodeError> {
        let mut entries = Entries::new(buffer, asker.transport.query_cap());
        if let Some(service) = self.services.get::<str>(name) {
            let len = service.leases.len();
            let first = service.turn.first(len);
            let (before, from) = service.leases.split_at_checked(first).unwrap_or_default();
            let fits = |lease: &&Arc<Lease>| {
                // Who cannot be told to this asker takes no room.
                asker.entry_of(lease).is_none_or(|entry| entries.push(&entry))
            };
            let seen = from.iter().chain(before).take_while(fits).count();
            service.turn.advance(seen, len);
        }
        entries.finish()
    }

    /// Writes the answer to LIST: every name in the order in which they appeared, or as many as fit,
    /// going on where the last such answer stopped.
    ///
    /// # Errors
    /// [`EncodeError`] cannot happen within the caps of the transports.
    pub fn list<'b>(
        &self,
        host: Option<&str>,
        asker: &Asker,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], EncodeError> {
        let cap = asker.transport.list_cap();
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        match host {
            None => self.list_within(cap, |from| names.range(from..), buffer),
            Some(host) => {
                let served = self.services_of(host);
                let name_of = |id| names.get_key_value(id);
                self.list_within(cap, |from| served.range(from..).filter_map(name_of), buffer)
            }
        }
    }

    /// Lists what `names_from` gives for service number 0 and on, or as much as fits of what it gives
    /// for the number where the last such answer stopped and on, and round to there.
    fn list_within<'b, 'n, I: Iterator<Item = (&'n u64, &'n ServiceName)>>(
        &self,
        cap: usize,
        names_from: impl Fn(u64) -> I,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], EncodeError> {
        let mut bytes = Vec::new();
        // Gives the number of the first that does not fit.
        let mut fill =
            |start: u64, entries: &mut Entries<'_>| -> Result<Option<u64>, EncodeError> {
                let before = names_from(0).take_while(|(id, _)| **id < start);
                for (id, name) in names_from(start).chain(before) {
                    bytes.clear();
                    Writer::new(&mut bytes).str(name.as_str())?;
                    if !entries.push(&bytes) {
                        return Ok(Some(*id));
                    }
                }
                Ok(None)
            };
        let mut entries = Entries::new(buffer, cap);
        if fill(0, &mut entries)?.is_some() {
            entries.clear();
            let stopped_at = fill(self.list_turn.load(Ordering::Relaxed), &mut entries)?;
            self.list_turn.store(stopped_at.unwrap_or(0), Ordering::Relaxed);
        }
        entries.finish()
    }

    /// The numbers of the services that the host with this address serves.
    fn services_of(&self, host: &str) -> BTreeSet<u64> {
        let mut ids = BTreeSet::new();
        let Some(ip) = parse_host(host) else { return ids };
        let mut collect = |ports: &HashMap<Port, Vec<Arc<Lease>>>| {
            ids.extend(ports.values().flatten().map(|lease| lease.service_id));
        };
        let host = Host::new(ip, 0);
        if host.is_link_local() {
            // The same address may stand on several links.
            self.instances.iter().filter(|at| at.key().ip() == ip).for_each(|at| collect(&at));
        } else if let Some(ports) = self.instances.get(&host) {
            collect(&ports);
        }
        ids
    }

    /// Visits the services from number `from` on, with their leases, in order, until `visit` says
    /// to stop by returning `false`.
    pub(super) fn visit(&self, from: u64, mut visit: impl FnMut(u64, &str, &[Arc<Lease>]) -> bool) {
        /// Names copied at a time, so that the lock is not held while they are visited.
        const CHUNK: usize = 256;
        let mut from = from;
        loop {
            let chunk: Vec<_> = {
                let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
                names.range(from..).take(CHUNK).map(|(id, name)| (*id, name.clone())).collect()
            };
            let Some((last, _)) = chunk.last() else { return };
            from = last + 1;
            for (id, name) in chunk {
                let leases =
                    self.services.get(&name).map(|it| it.leases.clone()).unwrap_or_default();
                if !leases.is_empty() && !visit(id, name.as_str(), &leases) {
                    return;
                }
            }
        }
    }

    /// The leases of one name, and the number of the service.
    pub(super) fn leases(&self, name: &FoldedName) -> Option<(u64, Vec<Arc<Lease>>)> {
        self.services.get::<str>(name).map(|service| (service.id, service.leases.clone()))
    }

    // What follows changes the structure and belongs to the registry alone.

    /// What `host` holds on `port`, and on how many ports it holds anything.
    pub(super) fn held(&self, host: &Host, port: &Port) -> (Vec<Arc<Lease>>, usize) {
        self.instances
            .get(host)
            .map(|ports| (ports.get(port).cloned().unwrap_or_default(), ports.len()))
            .unwrap_or_default()
    }

    pub(super) fn service_id(&self, name: &str) -> Option<u64> {
        self.services.get(name).map(|service| service.id)
    }

    pub(super) fn insert(&self, lease: &Arc<Lease>) {
        let mut service = self.services.entry(lease.service.clone()).or_insert_with(|| {
            let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
            names.insert(lease.service_id, lease.service.clone());
            Service { id: lease.service_id, leases: Vec::new(), turn: Turn::default() }
        });
        service.leases.push(Arc::clone(lease));
        drop(service);
        let mut ports = self.instances.entry(lease.host).or_default();
        ports.entry(lease.port.clone()).or_default().push(Arc::clone(lease));
    }

    /// Forgets leases that have been ended; tells how many instances were left without any.
    pub(super) fn remove(&self, ended: &[Arc<Lease>]) -> usize {
        // Many leases of one name often end together; one pass over its list serves them all.
        let names: BTreeMap<u64, &ServiceName> =
            ended.iter().map(|lease| (lease.service_id, &lease.service)).collect();
        for (id, name) in names {
            if let Some(mut service) = self.services.get_mut(name) {
                service.leases.retain(|lease| !lease.has_ended());
            }
            if self.services.remove_if(name, |_, service| service.leases.is_empty()).is_some() {
                self.names.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
            }
        }
        let mut emptied = 0;
        for lease in ended {
            let Some(mut ports) = self.instances.get_mut(&lease.host) else { continue };
            let Some(held) = ports.get_mut(&lease.port) else { continue };
            held.retain(|lease| !lease.has_ended());
            if held.is_empty() {
                ports.remove(&lease.port);
                emptied += 1;
            }
            drop(ports);
            self.instances.remove_if(&lease.host, |_, ports| ports.is_empty());
        }
        emptied
    }
}

/// Reads an address as a client may write it: with or without a zone, mapped or not.
pub(super) fn parse_host(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}
