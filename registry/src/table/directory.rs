//! The half of the table that every worker shares: queries and renewals.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use dashmap::DashMap;
use ipnet::IpNet;
use rpyc_protocol::brine::{EncodeError, Writer};
use rpyc_protocol::registry::native::{Granted, LeaseId, Revision, State};
use rpyc_protocol::registry::reply::Entries;
use rpyc_protocol::registry::{Names, Port};
use rpyc_protocol::rpc::Dialect;
use rpyc_protocol::{FoldedName, ServiceName};

use super::address_rule::AddressRule;
use super::addressing::Addressing;
use super::arrival::Arrival;
use super::clock::{LeaseClock, Tick};
use super::cuts::Cuts;
use super::dialects::Dialects;
use super::failure::Failure;
use super::host::parse_host;
use super::instance::{Instance, Mark};
use super::journal::Journal;
use super::lease::Lease;
use super::places::{Held, Places, Secrets};
use super::service::{FailingPolicy, Rank, Service, Slot};
use super::title::{Numbered, Title};
use super::turn::Turn;
use super::{Asker, Host};
use crate::store::Ticket;

/// Answers queries and renews leases, on the thread that received the request.
///
/// Every method takes `&self` and holds a lock for microseconds, never across I/O or a sweep.
/// Changes of *structure* (a new lease, an ended one) go through the one
/// [`Registry`](crate::Registry), which alone calls the `pub(super)` methods below.
#[derive(Debug)]
pub struct Directory {
    ttl: Duration,
    failing: FailingPolicy,
    pub(crate) addressing: Addressing,
    pub(super) clock: LeaseClock,
    pub(crate) journal: Journal,
    services: DashMap<ServiceName, Service>,
    places: Places,
    secrets: Secrets,
    /// Titles by number: the order in which they appeared, which is the order of RPyC's lists.
    titles: RwLock<BTreeSet<Numbered>>,
    /// The current probe failures of instances, by their numbers.
    failures: DashMap<u64, Arc<Failure>>,
    dialects: Dialects,
    /// The number of the service that comes first in the next LIST that cannot hold every name.
    list_turn: AtomicU64,
    /// The answers that left something out.
    pub(crate) cuts: Cuts,
}

/// Shards of the map of services, each with a lock: enough that a shard that grows moves few names.
const SHARDS: usize = 256;

/// The most names of one instance that are renewed on the receiving thread.
const RENEWED_AT_ONCE: usize = 64;

/// Spreads inputs that differ in a few bits: an odd number without a pattern.
const JITTER: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

/// The divisor of an answer's size that gives the room for instances ranked last.
const SHARE_OF_LAST: usize = 8;

/// The most bytes of an entry other than a unix socket's path: an IPv6 address with a zone.
const LONGEST_ENTRY: usize = 64;

/// The outcome of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a renewal moves a deadline, or there is more to do")]
pub enum Renewal {
    /// Every lease existed and has a new deadline; acknowledge once the ticket is durable.
    Done(Ticket),
    /// A lease does not exist, or needs more than a new deadline: ask the registry.
    ForTheRegistry,
}

impl Directory {
    pub(super) fn new(
        start: Instant,
        ttl: Duration,
        failing: FailingPolicy,
        rules: Vec<AddressRule>,
        journal: Journal,
    ) -> Self {
        Self {
            ttl,
            failing,
            addressing: Addressing::new(rules),
            clock: LeaseClock::new(start),
            journal,
            services: DashMap::with_shard_amount(SHARDS),
            places: Places::new(),
            secrets: Secrets::new(),
            titles: RwLock::new(BTreeSet::new()),
            failures: DashMap::new(),
            dialects: Dialects::default(),
            list_turn: AtomicU64::new(0),
            cuts: Cuts::default(),
        }
    }

    /// How long a lease lasts without renewal, if its registrant requested no other TTL.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Replaces the addresses of the registry's own machine, each with its network.
    pub fn set_own_addresses(&self, addresses: Vec<IpNet>) {
        self.addressing.set_own(addresses);
    }

    /// The current revision of the table.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.journal.revision()
    }

    /// Renews the leases of all `names` that the asker's host serves on `port`, if it holds every
    /// one of them; otherwise changes nothing.
    #[must_use]
    pub fn renew(&self, now: Instant, asker: &Asker, port: &Port, names: Names<'_>) -> Renewal {
        let deadline = self.clock.tick(now).after(self.ttl);
        let renewal = self.places.look(&asker.host, |held| {
            // Filled in place: the array is large, and moving it would cost more than the renewal.
            let mut leases = ArrayVec::new();
            if !renewable(&held, port, names.clone(), &mut leases) {
                return Renewal::ForTheRegistry;
            }
            let (mut ticket, mut is_noted) = (Ticket::default(), false);
            for lease in leases {
                ticket = ticket.max(lease.ticket());
                // A native registration of the same server has an owner, and is not renewed this
                // way.
                if !lease.instance.is_legacy() {
                    continue;
                }
                if !is_noted {
                    // Before any lease is renewed: see `Registry::unregister`.
                    self.note_arrival(&lease.instance, &asker.arrival);
                    is_noted = true;
                }
                // A sweep may end a lease between the look and the renewal; the registry then adds
                // it anew.
                if !lease.renew(deadline) {
                    return Renewal::ForTheRegistry;
                }
            }
            Renewal::Done(ticket)
        });
        renewal.unwrap_or_else(|| renewed_nothing(names))
    }

    /// Records that a registration of this instance has arrived.
    pub(super) fn note_arrival(&self, instance: &Instance, arrival: &Arrival) {
        instance.latest_arrival.note(self.clock.start(), arrival);
    }

    /// Whether a request arrived before the latest registration of this instance.
    pub(super) fn is_late(&self, instance: &Instance, arrival: &Arrival) -> bool {
        instance.latest_arrival.is_after(self.clock.start(), arrival)
    }

    /// Renews a native lease, if it exists and needs only a new deadline; returns its new terms.
    pub(crate) fn renew_native(
        &self,
        now: Instant,
        asker: &Asker,
        lease: LeaseId,
    ) -> Option<(Granted, Ticket)> {
        let leases = self.secrets.get(lease);
        let first = leases.first()?;
        let tick = self.clock.tick(now);
        let deadline = tick.after(first.ttl(self.ttl));
        if !leases.iter().all(|lease| may_renew(lease)) || !renew_all(leases.iter(), deadline) {
            return None;
        }
        let ticket = leases.iter().map(|lease| lease.ticket()).max().unwrap_or_default();
        // One lease is never renewed twice in the same nanosecond.
        let jitter = (lease.get() ^ u128::from(tick.get())).wrapping_mul(JITTER);
        Some((self.granted(asker, &first.instance, jitter >> 64), ticket))
    }

    /// Writes the answer to QUERY: as many whole entries as fit. Each answer begins with another
    /// entry, so that each entry comes first in turn and all are returned sooner or later.
    /// Instances of rank `Last` come after all others, in their own turns. If not everything fits,
    /// the last eighth of the answer is reserved for them.
    ///
    /// # Errors
    /// [`EncodeError`] cannot happen within the caps of the transports.
    pub fn query<'b>(
        &self,
        name: &FoldedName,
        asker: &Asker,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], EncodeError> {
        let cap = asker.transport.query_cap();
        let mut entries = Entries::new(buffer, cap);
        if let Some(service) = self.services.get::<str>(name) {
            let mut tell = |turn: &Turn, slots: &[Slot], spare: usize| {
                // An instance without an address for this asker takes no room.
                let fits = |slot: &&Slot| match slot.fragment.told(asker.is_here) {
                    Some(told) => entries.push_sparing(spare, told),
                    None => {
                        let told = self.addressing.entry_of(asker, &slot.lease.instance);
                        told.is_none_or(|told| entries.push_sparing(spare, &told))
                    }
                };
                let seen = in_turn(turn, slots).take_while(fits).count();
                turn.advance(seen, slots.len());
            };
            let last = service.last();
            let spare = if last.is_empty() { 0 } else { room_for_last(&service, asker) };
            tell(&service.turn_of_first, service.first(), spare);
            if !last.is_empty() {
                tell(&service.turn_of_last, last, 0);
            }
            if entries.is_cut() {
                let of = service.first().len() + last.len();
                self.cuts.note_query(name, entries.len(), of);
            }
        }
        entries.finish()
    }

    /// Writes the answer to LIST: every name in the order in which names appeared. If not all fit,
    /// as many as fit, from where the last such answer stopped.
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
        let titles = self.titles.read().unwrap_or_else(PoisonError::into_inner);
        match host {
            None => {
                let from = |from| titles.range::<u64, _>(from..).map(|it| &*it.0);
                self.list_within(cap, from, buffer)
            }
            Some(host) => {
                let served = self.services_of(host);
                let title_of = |number| titles.get::<u64>(number).map(|it| &*it.0);
                self.list_within(cap, |from| served.range(from..).filter_map(title_of), buffer)
            }
        }
    }

    /// Lists the titles from service number 0 on. If not all fit, lists as many as fit from where
    /// the last such answer stopped, and wraps round.
    fn list_within<'b, 'n, I: Iterator<Item = &'n Title>>(
        &self,
        cap: usize,
        titles_from: impl Fn(u64) -> I,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], EncodeError> {
        let mut bytes = Vec::new();
        // Returns the number of the first title that does not fit.
        let mut fill =
            |start: u64, entries: &mut Entries<'_>| -> Result<Option<u64>, EncodeError> {
                let before = titles_from(0).take_while(|title| title.number < start);
                for title in titles_from(start).chain(before) {
                    bytes.clear();
                    Writer::new(&mut bytes).str(title.as_str())?;
                    if !entries.push(&bytes) {
                        return Ok(Some(title.number));
                    }
                }
                Ok(None)
            };
        let mut entries = Entries::new(buffer, cap);
        if fill(0, &mut entries)?.is_some() {
            entries.clear();
            let stopped_at = fill(self.list_turn.load(Ordering::Relaxed), &mut entries)?;
            self.list_turn.store(stopped_at.unwrap_or(0), Ordering::Relaxed);
            self.cuts.note_list(entries.len(), titles_from(0).count());
        }
        entries.finish()
    }

    /// The numbers of the services that the host with this address serves.
    fn services_of(&self, host: &str) -> BTreeSet<u64> {
        let mut ids = BTreeSet::new();
        let Some(ip) = parse_host(host) else { return ids };
        let collect = |ids: &mut BTreeSet<u64>, held: Held<'_>| {
            ids.extend(held.all().map(|lease| lease.service_id()));
        };
        self.look_at(ip, |held| collect(&mut ids, held));
        for network in self.addressing.networks_told_as(ip) {
            self.places.for_each(|host, held| {
                if network.contains(&host.ip()) {
                    collect(&mut ids, held);
                }
            });
        }
        ids
    }

    /// Looks at the leases held at an address, on whichever link.
    fn look_at(&self, ip: IpAddr, mut look: impl FnMut(Held<'_>)) {
        let host = Host::new(ip, 0);
        if host.is_link_local() {
            self.places.for_each(|host, held| {
                if host.ip() == ip {
                    look(held);
                }
            });
        } else {
            let _ = self.places.look(&host, look);
        }
    }

    /// Visits the services from number `from` on, with their leases, in order, until `visit`
    /// returns `false`.
    pub(crate) fn visit(&self, from: u64, mut visit: impl FnMut(u64, &str, &[Arc<Lease>]) -> bool) {
        /// Names copied at a time, so that the lock is not held while they are visited.
        const CHUNK: usize = 256;
        let mut from = from;
        loop {
            let chunk: Vec<_> = {
                let titles = self.titles.read().unwrap_or_else(PoisonError::into_inner);
                titles.range::<u64, _>(from..).take(CHUNK).map(|it| Arc::clone(&it.0)).collect()
            };
            let Some(last) = chunk.last() else { return };
            from = last.number + 1;
            for title in chunk {
                let leases = self.services.get(&title.name).map(|it| it.all()).unwrap_or_default();
                if !leases.is_empty() && !visit(title.number, title.as_str(), &leases) {
                    return;
                }
            }
        }
    }

    /// The current names of an instance.
    pub(crate) fn names_of(&self, instance: &Arc<Instance>) -> Vec<ServiceName> {
        self.leases_of(instance).into_iter().map(|lease| lease.service.name.clone()).collect()
    }

    /// The current probe failure of an instance.
    pub(crate) fn failure(&self, instance: &Instance) -> Option<Arc<Failure>> {
        let failure = || self.failures.get(&instance.id).map(|failure| Arc::clone(&failure));
        instance.has(Mark::Failing).then(failure).flatten()
    }

    /// The dialect that the server of a lease, or another server of its name on its host, was last
    /// found to speak.
    pub(crate) fn dialect(&self, lease: &Lease) -> Option<Dialect> {
        self.dialects.of(lease)
    }

    /// The dialect that an instance, or another one of its name on its host, was last found to
    /// speak.
    pub(crate) fn dialect_of(&self, instance: &Arc<Instance>) -> Option<Dialect> {
        self.leases_of(instance).iter().find_map(|lease| self.dialect(lease))
    }

    /// Records, under each of its names, that `instance` was found to speak `dialect`.
    pub(crate) fn learn_dialect(&self, instance: &Arc<Instance>, dialect: Dialect) {
        for lease in self.leases_of(instance) {
            self.dialects.learn(&lease, dialect);
        }
    }

    fn leases_of(&self, instance: &Arc<Instance>) -> Vec<Arc<Lease>> {
        let (mut held, _) = self.held(&instance.host, &instance.port);
        held.retain(|lease| Arc::ptr_eq(&lease.instance, instance));
        held
    }

    /// The instance of a native lease.
    pub(crate) fn instance_of(&self, lease: LeaseId) -> Option<Arc<Instance>> {
        self.secrets.get(lease).first().map(|lease| Arc::clone(&lease.instance))
    }

    /// The leases of one name, and the number of its service.
    pub(super) fn leases(&self, name: &str) -> Option<(u64, Vec<Arc<Lease>>)> {
        self.services.get(name).and_then(|it| Some((it.title()?.number, it.all())))
    }

    /// The leases of one name by rank: first, last and never.
    pub(super) fn ranks(&self, name: &str) -> [Vec<Arc<Lease>>; 3] {
        self.services.get(name).map(|service| service.ranks()).unwrap_or_default()
    }

    /// Whether an instance in this state is returned to clients that want to connect.
    pub(super) fn is_answered(&self, state: State) -> bool {
        self.failing.rank(state) != Rank::Never
    }

    /// How many leases are in each state.
    pub(crate) fn states(&self) -> BTreeMap<State, u64> {
        let mut states = BTreeMap::new();
        for service in &self.services {
            service.count(&mut states);
        }
        states
    }

    /// The name of the service with this number.
    pub(super) fn name_of(&self, service: u64) -> Option<ServiceName> {
        let titles = self.titles.read().unwrap_or_else(PoisonError::into_inner);
        titles.get(&service).map(|it| it.0.name.clone())
    }

    /// How many leases the service with this number has.
    pub(super) fn service_len(&self, service: u64) -> usize {
        let name = self.name_of(service);
        name.and_then(|name| self.services.get(&name).map(|it| it.len())).unwrap_or(0)
    }

    /// How many names have at least one instance.
    pub(super) fn services_len(&self) -> usize {
        self.titles.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    // The methods below change the structure; only the registry calls them.

    /// The leases that `host` holds on `port`, and the number of ports on which it holds any.
    pub(super) fn held(&self, host: &Host, port: &Port) -> (Vec<Arc<Lease>>, usize) {
        let look = |held: Held<'_>| (in_order(held.at(port).cloned()), held.ports());
        self.places.look(host, look).unwrap_or_default()
    }

    /// The leases of a native lease id.
    pub(super) fn native(&self, lease: LeaseId) -> Vec<Arc<Lease>> {
        self.secrets.get(lease)
    }

    /// The leases held at an address, on any port.
    pub(super) fn held_by(&self, ip: IpAddr) -> Vec<Arc<Lease>> {
        let mut leases = Vec::new();
        self.look_at(ip, |held| leases.extend(held.all().cloned()));
        in_order(leases)
    }

    /// The leases of the instance with this number. Scans the whole table; for operators.
    pub(super) fn held_by_number(&self, instance: u64) -> Vec<Arc<Lease>> {
        let mut leases = Vec::new();
        self.places.for_each(|_, held| {
            leases.extend(held.all().filter(|lease| lease.instance.id == instance).cloned());
        });
        in_order(leases)
    }

    /// Adds a lease of a service, which gets a `title` if it has no lease yet.
    pub(super) fn insert(
        &self,
        name: &ServiceName,
        title: impl FnOnce() -> Title,
        lease: impl FnOnce(Arc<Title>) -> Lease,
    ) -> Arc<Lease> {
        let add = |service: &mut Service| {
            let title = service.title().map_or_else(|| Arc::new(title()), Arc::clone);
            let lease = Arc::new(lease(title));
            let fragment = self.addressing.fragment_of(&lease.instance);
            service.add(&lease, fragment, self.failing.rank(lease.state()));
            lease
        };
        let lease = if let Some(mut service) = self.services.get_mut(name) {
            add(&mut service)
        } else {
            let mut service = Service::default();
            let lease = add(&mut service);
            let title = Arc::clone(&lease.service);
            // The one copy of the name that is kept.
            self.services.insert(title.name.clone(), service);
            let mut titles = self.titles.write().unwrap_or_else(PoisonError::into_inner);
            titles.insert(Numbered(title));
            lease
        };
        lease.instance.leases.fetch_add(1, Ordering::Relaxed);
        self.places.insert(&lease);
        self.secrets.insert(&lease);
        lease
    }

    /// Sets or clears the probe failure of an instance; returns whether the state changed.
    pub(super) fn set_failure(&self, instance: &Instance, failure: Option<Failure>) -> bool {
        let is_failing = failure.is_some();
        match failure {
            Some(failure) => drop(self.failures.insert(instance.id, Arc::new(failure))),
            None => drop(self.failures.remove(&instance.id)),
        }
        instance.set(Mark::Failing, is_failing)
    }

    /// Moves leases to the ranks that their states imply.
    pub(super) fn rank(&self, leases: &[Arc<Lease>]) {
        for lease in leases {
            if let Some(mut service) = self.services.get_mut(&lease.service.name) {
                service.place(lease, self.failing.rank(lease.state()));
            }
        }
    }

    /// Removes leases that have ended; returns how many instances have no lease left.
    pub(super) fn remove(&self, ended: &[Arc<Lease>]) -> usize {
        let mut emptied = 0;
        for lease in ended {
            let Title { name, number } = &*lease.service;
            let instance = &lease.instance;
            let was_last = self.services.get_mut(name).is_some_and(|mut service| {
                service.remove(lease);
                service.is_empty()
            });
            if was_last {
                self.services.remove(name);
                self.titles.write().unwrap_or_else(PoisonError::into_inner).remove(number);
            }
            if instance.leases.fetch_sub(1, Ordering::Relaxed) == 1 {
                emptied += 1;
                if instance.has(Mark::Failing) {
                    self.failures.remove(&instance.id);
                }
            }
            self.places.remove(lease);
            self.secrets.remove(lease);
        }
        emptied
    }
}

/// The bytes that an answer reserves for instances of rank `Last`: the size of the next few of
/// them.
fn room_for_last(service: &Service, asker: &Asker) -> usize {
    let limit = asker.transport.query_cap() / SHARE_OF_LAST;
    let entries = in_turn(&service.turn_of_last, service.last());
    let lens =
        entries.map(|slot| slot.fragment.told(asker.is_here).map_or(LONGEST_ENTRY, <[u8]>::len));
    lens.scan(0, |sum, len| {
        *sum += len;
        (*sum <= limit).then_some(*sum)
    })
    .last()
    .unwrap_or(0)
}

/// The slots, beginning with the one whose turn it is.
fn in_turn<'s>(turn: &Turn, slots: &'s [Slot]) -> impl Iterator<Item = &'s Slot> + use<'s> {
    let (before, from) = slots.split_at_checked(turn.first(slots.len())).unwrap_or_default();
    from.iter().chain(before)
}

/// Finds the leases of `names` on `port`; returns whether all exist and need only a new deadline.
fn renewable<'h>(
    held: &'h Held<'_>,
    port: &Port,
    names: Names<'_>,
    leases: &mut ArrayVec<&'h Arc<Lease>, RENEWED_AT_ONCE>,
) -> bool {
    for name in names {
        let Ok(name) = FoldedName::new(name) else { return false };
        let lease = held.at(port).find(|lease| lease.service.as_str() == &*name);
        let Some(lease) = lease.filter(|lease| may_renew(lease)) else { return false };
        // The registry renews an instance with more names, which takes longer.
        if leases.try_push(lease).is_err() {
            return false;
        }
    }
    true
}

fn in_order(leases: impl IntoIterator<Item = Arc<Lease>>) -> Vec<Arc<Lease>> {
    let mut leases: Vec<_> = leases.into_iter().collect();
    leases.sort_by_key(|lease| lease.id);
    leases
}

/// Whether a renewal only moves the deadline.
fn may_renew(lease: &Lease) -> bool {
    !lease.has_ended() && lease.suspicion().is_none()
}

/// Renews all of `leases`; returns whether none of them had ended.
fn renew_all<'l>(leases: impl Iterator<Item = &'l Arc<Lease>>, deadline: Tick) -> bool {
    leases.filter(|lease| !lease.renew(deadline)).count() == 0
}

fn renewed_nothing(names: Names<'_>) -> Renewal {
    if names.count() == 0 { Renewal::Done(Ticket::default()) } else { Renewal::ForTheRegistry }
}
