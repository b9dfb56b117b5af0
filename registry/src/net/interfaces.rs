//! The machine's own addresses and the links they are on.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use if_addrs::Interface;
use ipnet::IpNet;

/// The machine's addresses at one moment.
#[derive(Debug, Default)]
pub(crate) struct Interfaces(Vec<Interface>);

impl Interfaces {
    /// Queries the system; on an error, the machine counts as having only loopback.
    pub(crate) fn read() -> Self {
        Self(if_addrs::get_if_addrs().unwrap_or_default())
    }

    /// Whether `ip` is an address of this machine.
    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.0.iter().any(|interface| interface.ip() == ip)
    }

    /// The machine's addresses, each with the network that it is in.
    pub(crate) fn networks(&self) -> Vec<IpNet> {
        let network = |interface: &Interface| match &interface.addr {
            if_addrs::IfAddr::V4(v4) => IpNet::new(v4.ip.into(), v4.prefixlen).ok(),
            if_addrs::IfAddr::V6(v6) => IpNet::new(v6.ip.into(), v6.prefixlen).ok(),
        };
        self.0.iter().filter_map(network).collect()
    }

    /// The interface that has this address; 0 if it belongs to none.
    pub(crate) fn link_of(&self, ip: IpAddr) -> u32 {
        let has_it = |interface: &&Interface| interface.ip() == ip;
        self.0.iter().find(has_it).and_then(|interface| interface.index).unwrap_or(0)
    }

    /// The broadcast address of the network of the address `ip`, and its interface.
    #[cfg(all(target_os = "linux", not(feature = "portable")))]
    pub(crate) fn broadcast_of(&self, ip: IpAddr) -> Option<(std::net::Ipv4Addr, u32)> {
        let has_it = |interface: &&Interface| interface.ip() == ip;
        self.0.iter().filter(has_it).find_map(|interface| match &interface.addr {
            if_addrs::IfAddr::V4(v4) => {
                // Some systems report the address itself if no broadcast address is set.
                let set = v4.broadcast.filter(|broadcast| *broadcast != v4.ip);
                let usual = (v4.prefixlen < 31).then(|| v4.ip | !v4.netmask);
                set.or(usual).zip(interface.index)
            }
            if_addrs::IfAddr::V6(_) => None,
        })
    }

    /// An IPv6 address of the interface `link` with the same scope as `like`, or else any of its
    /// IPv6 addresses.
    pub(crate) fn address_like(&self, link: u32, like: IpAddr) -> Option<IpAddr> {
        let is_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let on_link = || {
            let here = self.0.iter().filter(move |interface| interface.index == Some(link));
            here.map(Interface::ip).filter(IpAddr::is_ipv6)
        };
        on_link().find(|ip| is_local(*ip) == is_local(like)).or_else(|| on_link().next())
    }

    /// The interfaces that have an IPv6 address, loopback excluded.
    pub(crate) fn ipv6_links(&self) -> BTreeSet<u32> {
        let other = self.0.iter().filter(|interface| !interface.is_loopback());
        other.filter(|interface| interface.ip().is_ipv6()).filter_map(|it| it.index).collect()
    }
}

/// The machine's addresses, refreshed regularly: they change while a registry runs.
#[derive(Debug, Default)]
pub(crate) struct SharedInterfaces(RwLock<Arc<Interfaces>>);

impl SharedInterfaces {
    pub(crate) fn new(interfaces: Interfaces) -> Self {
        Self(RwLock::new(Arc::new(interfaces)))
    }

    pub(crate) fn get(&self) -> Arc<Interfaces> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, interfaces: Interfaces) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(interfaces);
    }
}
