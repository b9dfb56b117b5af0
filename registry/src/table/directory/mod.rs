//! The half of the table that every worker shares: queries and renewals.

mod changes;
mod find;
mod names;
mod renewal;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use ipnet::IpNet;
use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{LeaseId, Revision, State};
use rpyc_protocol::rpc::Dialect;

use super::address_rule::AddressRule;
use super::addressing::Addressing;
use super::clock::LeaseClock;
use super::dialects::Dialects;
use super::endpoint_index::{EndpointIndex, Held, Numbers, Secrets};
use super::failure::Failure;
use super::instance::{Instance, Mark};
use super::journal::Journal;
use super::lease::Lease;
use super::service::{FailingPolicy, Rank, Service, leases_in_order};
use super::service_id::{ByNumber, ServiceId};
use crate::host::Host;
pub(crate) use names::NameOrder;
pub use renewal::Renewal;
use states::StateCounts;

/// Answers queries and renews leases, on the thread that received the request.
///
/// Every method takes `&self` and holds a lock for microseconds, never across I/O or a sweep.
/// Changes of *structure* (a new lease, an ended one) go through the one
/// [`Registry`](crate::Registry), which alone calls the methods in `changes`.
#[derive(Debug)]
pub struct Directory {
    ttl: Duration,
    failing: FailingPolicy,
    pub(crate) addressing: Addressing,
    pub(super) clock: LeaseClock,
    pub(crate) journal: Journal,
    pub(super) services: DashMap<ServiceName, Service>,
    endpoint_index: EndpointIndex,
    secrets: Secrets,
    numbers: Numbers,
    states: StateCounts,
    /// Service ids by number: the order in which they appeared, which is the order of RPyC's lists.
    service_ids: RwLock<BTreeSet<ByNumber>>,
    /// The current probe failures of instances, by their numbers.
    failures: DashMap<u64, Arc<Failure>>,
    dialects: Dialects,
}

/// Shards of the map of services, each with a lock: enough that a shard that grows moves few names.
const SHARDS: usize = 256;

impl Directory {
    pub(super) fn new(
        start: Instant,
        ttl: Duration,
        failing: FailingPolicy,
        rules: Vec<AddressRule>,
        journal: Journal,
    ) -> Self {
        let ruled = rules.iter().map(AddressRule::from).collect();
        Self {
            ttl,
            failing,
            addressing: Addressing::new(rules),
            clock: LeaseClock::new(start),
            journal,
            services: DashMap::with_shard_amount(SHARDS),
            endpoint_index: EndpointIndex::new(ruled),
            secrets: Secrets::new(),
            numbers: Numbers::new(),
            states: StateCounts::default(),
            service_ids: RwLock::new(BTreeSet::new()),
            failures: DashMap::new(),
            dialects: Dialects::default(),
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

    /// Records that the process runs at `now`, and that the next such record comes within
    /// `interval`. If this one comes more than [`SWEEP_INTERVAL`](crate::SWEEP_INTERVAL) late, the
    /// process stood still: every lease is extended by that time, which is returned.
    pub fn is_alive(&self, now: Instant, interval: Duration) -> Option<Duration> {
        self.clock.is_alive(now, interval)
    }

    /// The current revision of the table.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.journal.revision()
    }

    /// Looks at the leases held at an address, on whichever link.
    fn look_at(&self, ip: IpAddr, mut look: impl FnMut(Held<'_>)) {
        let host = Host::new(ip, 0);
        let links = if host.is_link_local() { self.endpoint_index.links() } else { vec![0] };
        for link in links {
            self.endpoint_index.look(&Host::new(ip, link), &mut look);
        }
    }

    /// Visits the names from service number `from` on, in order, until `visit` returns `false`.
    pub(super) fn visit_names(&self, from: u64, mut visit: impl FnMut(&ServiceId) -> bool) {
        /// Names copied at a time, so that the lock is not held while they are visited.
        const CHUNK: usize = 256;
        let mut from = from;
        loop {
            let chunk: Vec<_> = {
                let ids = self.service_ids.read().unwrap_or_else(PoisonError::into_inner);
                ids.range::<u64, _>(from..).take(CHUNK).map(|it| Arc::clone(&it.0)).collect()
            };
            let Some(last) = chunk.last() else { return };
            from = last.number + 1;
            if !chunk.iter().all(|id| visit(id)) {
                return;
            }
        }
    }

    /// Visits the leases of every name, in order. Takes as long as the table is large.
    pub(crate) fn visit(&self, mut visit: impl FnMut(&[Arc<Lease>])) {
        self.visit_names(0, |id| {
            visit(&self.of_name(id.as_str(), 0, usize::MAX));
            true
        });
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
        let mut held = self.held(&instance.host, &instance.port);
        held.retain(|lease| Arc::ptr_eq(&lease.instance, instance));
        held
    }

    /// The instance of a native lease.
    pub(crate) fn instance_of(&self, lease: LeaseId) -> Option<Arc<Instance>> {
        self.secrets.get(lease).first().map(|lease| Arc::clone(&lease.instance))
    }

    /// The leases of one name, and the number of its service.
    pub(super) fn leases(&self, name: &str) -> Option<(u64, Vec<Arc<Lease>>)> {
        self.services
            .get(name)
            .and_then(|it| Some((it.id()?.number, leases_in_order(it.all(), 0, usize::MAX))))
    }

    /// An instance that holds a name and for which `is_sought` holds. Looks at a bounded number of
    /// them: an instance that holds its name exclusively is alone, but for another at its endpoint
    /// that a registration is about to replace.
    pub(super) fn holder(
        &self,
        name: &ServiceName,
        is_sought: impl Fn(&Instance) -> bool,
    ) -> Option<Arc<Instance>> {
        const MOST: usize = 4;
        let service = self.services.get(name)?;
        let mut holders = service.all().iter().take(MOST).map(|slot| &slot.lease.instance);
        holders.find(|instance| is_sought(instance)).map(Arc::clone)
    }

    /// Up to `max` leases of one name and rank with numbers above `after`, in order.
    pub(super) fn of_rank(
        &self,
        name: &str,
        rank: Rank,
        after: u64,
        max: usize,
    ) -> Vec<Arc<Lease>> {
        let service = self.services.get(name);
        service.map(|it| leases_in_order(it.of_rank(rank), after, max)).unwrap_or_default()
    }

    /// Up to `max` leases of one name with numbers above `after`, in order.
    pub(super) fn of_name(&self, name: &str, after: u64, max: usize) -> Vec<Arc<Lease>> {
        let service = self.services.get(name);
        service.map(|it| leases_in_order(it.all(), after, max)).unwrap_or_default()
    }

    /// Whether an instance in this state is returned to clients that want to connect.
    pub(super) fn is_answered(&self, state: State) -> bool {
        self.failing.rank(state) != Rank::Never
    }

    /// How many leases are in each state.
    pub(crate) fn states(&self) -> BTreeMap<State, u64> {
        self.states.all()
    }

    /// The name of the service with this number.
    pub(super) fn name_of(&self, service: u64) -> Option<ServiceName> {
        let service_ids = self.service_ids.read().unwrap_or_else(PoisonError::into_inner);
        service_ids.get(&service).map(|it| it.0.name.clone())
    }

    /// How many leases the service with this number has.
    pub(super) fn service_len(&self, service: u64) -> usize {
        let name = self.name_of(service);
        name.and_then(|name| self.services.get(&name).map(|it| it.len())).unwrap_or(0)
    }

    /// How many names have at least one instance.
    pub(super) fn services_len(&self) -> usize {
        self.service_ids.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The leases that `host` holds on `port`.
    pub(super) fn held(&self, host: &Host, port: &Port) -> Vec<Arc<Lease>> {
        let look = |held: Held<'_>| in_order(held.at(port).cloned());
        self.endpoint_index.look(host, look).unwrap_or_default()
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

    /// The leases of the instance with this number.
    pub(super) fn held_by_number(&self, instance: u64) -> Vec<Arc<Lease>> {
        self.numbers.get(instance).map(|it| self.leases_of(&it)).unwrap_or_default()
    }
}

fn in_order(leases: impl IntoIterator<Item = Arc<Lease>>) -> Vec<Arc<Lease>> {
    let mut leases: Vec<_> = leases.into_iter().collect();
    leases.sort_by_key(|lease| lease.id);
    leases
}
