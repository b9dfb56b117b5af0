//! Indexes: leases by the addresses of their servers and by their secrets, instances by numbers.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use ipnet::IpNet;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::LeaseId;

use super::instance::Instance;
use super::lease::Lease;
use crate::host::Host;

/// Shards of an index, each with a lock. With so many, a shard of a million leases moves about a
/// thousand when it grows, and only requests for that shard wait. The number is not a power of two:
/// hash tables have power-of-two capacities, and a million leases would half fill them.
const SHARDS: usize = 1200;

/// A sharded hash table. An entry is a pointer and four bytes of hash. Its key is behind the
/// pointer, which only a matching look-up follows. With keys in the table, as in dashmap, a lease
/// would cost 40 bytes more.
struct Sharded<T> {
    shards: Box<[RwLock<HashTable<T>>]>,
    hasher: RandomState,
}

/// The hash of a key: its shard, and its hash within the shard.
#[derive(Clone, Copy)]
struct Hash {
    shard: u32,
    within: u32,
}

impl Hash {
    fn new(hasher: &RandomState, key: impl std::hash::Hash) -> Self {
        let hash = hasher.hash_one(key);
        let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        Self { shard: half(hash >> 32), within: half(hash) }
    }
}

/// Expands a hash for `HashTable`, which uses the lowest and the highest bits.
fn spread(within: u32) -> u64 {
    u64::from(within) << 32 | u64::from(within)
}

impl<T> Sharded<T> {
    fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }

    fn shard(&self, hash: Hash) -> &RwLock<HashTable<T>> {
        let at = usize::try_from(hash.shard).unwrap_or(0) % SHARDS;
        self.shards.get(at).unwrap_or_else(|| unreachable!("there are as many as that"))
    }

    fn read<R>(&self, hash: Hash, look: impl FnOnce(&HashTable<T>) -> R) -> R {
        look(&self.shard(hash).read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, hash: Hash, change: impl FnOnce(&mut HashTable<T>) -> R) -> R {
        change(&mut self.shard(hash).write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A lease with the hash of its key.
struct Hashed {
    hash: u32,
    lease: Arc<Lease>,
}

/// The leases of each host. Most hosts have one; a host with many has an index by port.
pub(super) struct EndpointIndex {
    hosts: Sharded<OfHost>,
    /// The hosts within these networks, in order.
    ruled: Box<[IpNet]>,
    within: RwLock<BTreeSet<Host>>,
    /// The links of link-local hosts, also of those that are gone: no more than the machine has had
    /// interfaces.
    links: RwLock<BTreeSet<u32>>,
}

/// The leases of a host, with the hash of the host.
enum OfHost {
    One(u32, Arc<Lease>),
    Many(u32, Box<Many>),
}

struct Many {
    host: Host,
    /// Indexed by the ports of their instances.
    leases: HashTable<Hashed>,
}

/// A view of the leases of one host.
pub(super) struct Held<'a> {
    of_host: &'a OfHost,
    hasher: &'a RandomState,
}

impl EndpointIndex {
    /// An empty index, which can also find the hosts within the networks of `ruled`.
    pub(super) fn new(ruled: Box<[IpNet]>) -> Self {
        let (within, links) = (RwLock::default(), RwLock::default());
        Self { hosts: Sharded::new(), ruled, within, links }
    }

    /// Up to `max` hosts within one of the networks that the index knows.
    pub(super) fn within(&self, network: IpNet, max: usize) -> Vec<Host> {
        let hosts = self.within.read().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = (network.network(), network.broadcast());
        let range = hosts.range(Host::new(first, 0)..=Host::new(last, u32::MAX));
        range.take(max).copied().collect()
    }

    /// The links of the link-local hosts.
    pub(super) fn links(&self) -> Vec<u32> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Looks at the leases of a host, if it has any.
    pub(super) fn look<T>(&self, host: &Host, look: impl FnOnce(Held<'_>) -> T) -> Option<T> {
        let hasher = &self.hosts.hasher;
        let hash = Hash::new(hasher, host);
        self.hosts.read(hash, |hosts| {
            let of_host = hosts.find(spread(hash.within), |it| it.is(hash, host))?;
            Some(look(Held { of_host, hasher }))
        })
    }

    pub(super) fn insert(&self, lease: &Arc<Lease>) {
        let (host, hasher) = (&lease.instance.host, &self.hosts.hasher);
        if host.is_link_local() && !self.links().contains(&host.link()) {
            self.links.write().unwrap_or_else(PoisonError::into_inner).insert(host.link());
        }
        if self.is_ruled(host) {
            self.within.write().unwrap_or_else(PoisonError::into_inner).insert(*host);
        }
        let hash = Hash::new(hasher, host);
        self.hosts.write(hash, |hosts| {
            let rehash = |it: &OfHost| spread(it.hash());
            match hosts.entry(spread(hash.within), |it| it.is(hash, host), rehash) {
                Entry::Vacant(vacant) => {
                    vacant.insert(OfHost::One(hash.within, Arc::clone(lease)));
                }
                Entry::Occupied(mut there) => there.get_mut().add(lease, hasher),
            }
        });
    }

    pub(super) fn remove(&self, lease: &Arc<Lease>) {
        let (host, hasher) = (&lease.instance.host, &self.hosts.hasher);
        let hash = Hash::new(hasher, host);
        self.hosts.write(hash, |hosts| {
            if let Ok(mut there) = hosts.find_entry(spread(hash.within), |it| it.is(hash, host))
                && there.get_mut().take(lease, hasher)
            {
                there.remove();
                if self.is_ruled(host) {
                    self.within.write().unwrap_or_else(PoisonError::into_inner).remove(host);
                }
            }
        });
    }

    fn is_ruled(&self, host: &Host) -> bool {
        self.ruled.iter().any(|network| network.contains(&host.ip()))
    }
}

impl fmt::Debug for EndpointIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointIndex").finish_non_exhaustive()
    }
}

impl OfHost {
    fn hash(&self) -> u32 {
        match self {
            Self::One(hash, _) | Self::Many(hash, _) => *hash,
        }
    }

    fn is(&self, hash: Hash, host: &Host) -> bool {
        self.hash() == hash.within && self.host() == host
    }

    fn host(&self) -> &Host {
        match self {
            Self::One(_, lease) => &lease.instance.host,
            Self::Many(_, many) => &many.host,
        }
    }

    fn add(&mut self, lease: &Arc<Lease>, hasher: &RandomState) {
        if let Self::One(hash, only) = self {
            let mut many = Many { host: only.instance.host, leases: HashTable::new() };
            many.add(Arc::clone(only), hasher);
            *self = Self::Many(*hash, Box::new(many));
        }
        if let Self::Many(_, many) = self {
            many.add(Arc::clone(lease), hasher);
        }
    }

    /// Removes a lease; returns whether no lease is left.
    fn take(&mut self, lease: &Arc<Lease>, hasher: &RandomState) -> bool {
        match self {
            Self::One(_, only) => Arc::ptr_eq(only, lease),
            Self::Many(hash, many) => {
                many.take(lease, hasher);
                if many.leases.len() == 1
                    && let Some(only) = many.leases.iter().next()
                {
                    *self = Self::One(*hash, Arc::clone(&only.lease));
                }
                false
            }
        }
    }
}

impl Many {
    fn at(&self, port: &Port, hasher: &RandomState) -> impl Iterator<Item = &Arc<Lease>> {
        let hash = Hash::new(hasher, port).within;
        let alike = self.leases.iter_hash(spread(hash)).filter(move |it| it.hash == hash);
        alike.map(|it| &it.lease).filter(move |lease| lease.instance.port == *port)
    }

    fn add(&mut self, lease: Arc<Lease>, hasher: &RandomState) {
        let port = &lease.instance.port;
        let hash = Hash::new(hasher, port).within;
        self.leases.insert_unique(spread(hash), Hashed { hash, lease }, |it| spread(it.hash));
    }

    fn take(&mut self, lease: &Arc<Lease>, hasher: &RandomState) {
        let port = &lease.instance.port;
        let hash = spread(Hash::new(hasher, port).within);
        if let Ok(there) = self.leases.find_entry(hash, |it| Arc::ptr_eq(&it.lease, lease)) {
            there.remove();
        }
    }
}

impl<'a> Held<'a> {
    /// The leases on one port, in no order.
    pub(super) fn at(&self, port: &Port) -> impl Iterator<Item = &'a Arc<Lease>> {
        let (one, many) = match self.of_host {
            OfHost::One(_, lease) => (Some(lease).filter(|it| it.instance.port == *port), None),
            OfHost::Many(_, many) => (None, Some(many.at(port, self.hasher))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The leases on all ports, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &'a Arc<Lease>> {
        let (one, many) = match self.of_host {
            OfHost::One(_, lease) => (Some(lease), None),
            OfHost::Many(_, many) => (None, Some(many.leases.iter().map(|it| &it.lease))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Native leases by the secrets that renew them.
pub(super) struct Secrets {
    leases: Sharded<Hashed>,
}

impl Secrets {
    pub(super) fn new() -> Self {
        Self { leases: Sharded::new() }
    }

    /// The leases with this secret, in the order of their numbers.
    pub(super) fn get(&self, secret: LeaseId) -> Vec<Arc<Lease>> {
        let hash = Hash::new(&self.leases.hasher, secret);
        let mut held: Vec<_> = self.leases.read(hash, |leases| {
            let alike = leases.iter_hash(spread(hash.within)).map(|it| &it.lease);
            alike.filter(|lease| secret_of(lease) == Some(secret)).cloned().collect()
        });
        held.sort_by_key(|lease| lease.id);
        held
    }

    /// Adds a lease, if it has a secret.
    pub(super) fn insert(&self, lease: &Arc<Lease>) {
        let Some(secret) = secret_of(lease) else { return };
        let hash = Hash::new(&self.leases.hasher, secret);
        let hashed = Hashed { hash: hash.within, lease: Arc::clone(lease) };
        self.leases.write(hash, |leases| {
            leases.insert_unique(spread(hash.within), hashed, |it| spread(it.hash));
        });
    }

    pub(super) fn remove(&self, lease: &Arc<Lease>) {
        let Some(secret) = secret_of(lease) else { return };
        let hash = Hash::new(&self.leases.hasher, secret);
        self.leases.write(hash, |leases| {
            let is_it = |it: &Hashed| Arc::ptr_eq(&it.lease, lease);
            if let Ok(there) = leases.find_entry(spread(hash.within), is_it) {
                there.remove();
            }
        });
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Instances by their numbers.
pub(super) struct Numbers {
    instances: Sharded<Arc<Instance>>,
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self { instances: Sharded::new() }
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<Instance>> {
        let hash = Hash::new(&self.instances.hasher, number);
        let find = |it: &HashTable<Arc<Instance>>| {
            it.find(spread(hash.within), |it| it.id == number).map(Arc::clone)
        };
        self.instances.read(hash, find)
    }

    pub(super) fn insert(&self, instance: &Arc<Instance>) {
        let hasher = &self.instances.hasher;
        let hash = Hash::new(hasher, instance.id);
        let rehash = |it: &Arc<Instance>| spread(Hash::new(hasher, it.id).within);
        self.instances.write(hash, |instances| {
            instances.insert_unique(spread(hash.within), Arc::clone(instance), rehash);
        });
    }

    pub(super) fn remove(&self, instance: &Instance) {
        let hash = Hash::new(&self.instances.hasher, instance.id);
        self.instances.write(hash, |instances| {
            let is_it = |it: &Arc<Instance>| it.id == instance.id;
            if let Ok(there) = instances.find_entry(spread(hash.within), is_it) {
                there.remove();
            }
        });
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Numbers").finish_non_exhaustive()
    }
}

fn secret_of(lease: &Lease) -> Option<LeaseId> {
    lease.instance.native.as_ref().map(|native| native.lease)
}
