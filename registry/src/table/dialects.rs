//! The dialects of RPyC that servers were found to speak.
//!
//! RPyC's registrations do not state the dialect, so clients and probes report it. A report is a
//! hint for the next client: it tries that dialect first, and the other one if the hint is wrong.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::rpc::Dialect;

use super::lease::Lease;

/// How many addresses, and how many names of hosts, are remembered.
const REMEMBERED: usize = 4096;

/// The dialects of servers by address and port, and by host and name.
///
/// A server that returns on another port, as a `OneShotServer` does, probably speaks the dialect of
/// the last server of that name on its host.
#[derive(Debug, Default)]
pub(super) struct Dialects(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    by_place: HashMap<(IpAddr, Port), Dialect>,
    by_name: HashMap<(IpAddr, ServiceName), Dialect>,
}

impl Dialects {
    /// The dialect that the server of a lease probably speaks.
    pub(super) fn of(&self, lease: &Lease) -> Option<Dialect> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.by_place.is_empty() {
            return None;
        }
        let instance = &lease.instance;
        let ip = instance.host.ip();
        let by_place = known.by_place.get(&(ip, instance.port.clone()));
        let by_name = || known.by_name.get(&(ip, lease.service.name.clone()));
        by_place.or_else(by_name).copied()
    }

    /// Records the dialect that the server of a lease was found to speak.
    pub(super) fn learn(&self, lease: &Lease, dialect: Dialect) {
        let (host, port) = (lease.instance.host.ip(), lease.instance.port.clone());
        let mut known = self.write();
        insert(&mut known.by_place, (host, port), dialect);
        insert(&mut known.by_name, (host, lease.service.name.clone()), dialect);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to a bounded map. A forgotten dialect costs the next client one more connection.
fn insert<K: Eq + Hash>(map: &mut HashMap<K, Dialect>, key: K, dialect: Dialect) {
    if map.len() >= REMEMBERED && !map.contains_key(&key) {
        map.clear();
    }
    map.insert(key, dialect);
}
