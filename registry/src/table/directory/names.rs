//! The names in the order in which they appeared.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::PoisonError;

use super::Directory;
use crate::host::parse_host;
use crate::table::endpoint_index::Held;
use crate::table::service_id::{ByNumber, ServiceId};

/// The most hosts behind one address of a rule whose names are listed.
const MAX_HOSTS: usize = 4096;

/// Names in the order in which they appeared: all, or those that one host serves. New names wait
/// until this is dropped.
pub(crate) struct NameOrder<'t> {
    all: &'t BTreeSet<ByNumber>,
    of_host: Option<BTreeSet<u64>>,
}

impl NameOrder<'_> {
    /// The names from service number `from` on.
    pub(crate) fn from(&self, from: u64) -> Box<dyn Iterator<Item = &ServiceId> + '_> {
        match &self.of_host {
            None => Box::new(self.all.range::<u64, _>(from..).map(|it| &*it.0)),
            Some(numbers) => {
                Box::new(numbers.range(from..).filter_map(|it| self.all.get(it)).map(|it| &*it.0))
            }
        }
    }
}

impl Directory {
    /// Reads all names, or those that the host with this address serves.
    pub(crate) fn with_names<T>(
        &self,
        host: Option<&str>,
        read: impl FnOnce(&NameOrder<'_>) -> T,
    ) -> T {
        let of_host =
            host.map(|host| parse_host(host).map_or_else(BTreeSet::new, |ip| self.services_of(ip)));
        let all = self.service_ids.read().unwrap_or_else(PoisonError::into_inner);
        read(&NameOrder { all: &all, of_host })
    }

    /// The numbers of the services that the host with this address serves.
    fn services_of(&self, ip: IpAddr) -> BTreeSet<u64> {
        let mut numbers = BTreeSet::new();
        let mut collect = |held: Held<'_>| {
            numbers.extend(held.all().map(|lease| lease.service_number()));
        };
        self.look_at(ip, &mut collect);
        for network in self.addressing.networks_replaced_by(ip) {
            for host in self.endpoint_index.within(network, MAX_HOSTS) {
                self.endpoint_index.look(&host, &mut collect);
            }
        }
        numbers
    }
}
