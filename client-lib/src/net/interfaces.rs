//! The network interfaces of this machine: the only file that asks the system for them.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use if_addrs::{IfAddr, Interface};

/// The addresses of this machine, each with its interface.
#[derive(Debug)]
pub(crate) struct Interfaces(Vec<Interface>);

impl Interfaces {
    /// Asks the system; takes some microseconds.
    pub(crate) fn read() -> io::Result<Self> {
        if_addrs::get_if_addrs().map(Self)
    }

    /// One IPv4 address of each interface that carries broadcasts.
    pub(crate) fn broadcasting(&self) -> impl Iterator<Item = Ipv4Addr> {
        let mut seen = HashSet::new();
        self.usable().filter(|interface| !interface.is_p2p()).filter_map(move |interface| {
            match &interface.addr {
                IfAddr::V4(v4) => seen.insert(&interface.name).then_some(v4.ip),
                IfAddr::V6(_) => None,
            }
        })
    }

    /// The number of each interface that carries IPv6.
    pub(crate) fn multicasting(&self) -> impl Iterator<Item = u32> {
        let mut seen = HashSet::new();
        self.usable()
            .filter(|interface| matches!(interface.addr, IfAddr::V6(_)))
            .filter_map(move |interface| interface.index.filter(|index| seen.insert(*index)))
    }

    fn usable(&self) -> impl Iterator<Item = &Interface> {
        self.0.iter().filter(|interface| interface.is_oper_up() && !interface.is_loopback())
    }

    /// Whether `ip` is the broadcast address of one of this machine's networks.
    pub(crate) fn is_broadcast(&self, ip: Ipv4Addr) -> bool {
        self.0.iter().any(|interface| match &interface.addr {
            // Where no broadcast address is set, Linux returns the interface's own in its place.
            IfAddr::V4(v4) if v4.prefixlen < 31 && !v4.ip.is_loopback() => {
                ip != v4.ip && (v4.broadcast == Some(ip) || v4.ip | !v4.netmask == ip)
            }
            _ => false,
        })
    }

    /// Whether `ip` is an address of this machine.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.0.iter().any(|interface| interface.ip() == ip)
    }

    /// The number of the interface that a zone names.
    pub(crate) fn index_of(&self, zone: &str) -> Option<u32> {
        let named = self.0.iter().find(|interface| interface.name == zone);
        named.and_then(|interface| interface.index).or_else(|| zone.parse().ok())
    }

    /// The number of the interface with the address `ip`.
    pub(crate) fn index_with(&self, ip: IpAddr) -> Option<u32> {
        self.0.iter().find(|interface| interface.ip() == ip).and_then(|interface| interface.index)
    }

    /// The zone of link-local addresses in an answer that came to this machine's address `local`.
    pub(crate) fn zone_at(&self, local: SocketAddr) -> Option<&str> {
        let index = match local {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => Some(v6.scope_id()),
            _ => None,
        };
        let mut there = self.0.iter().filter(|interface| !interface.is_loopback());
        there
            .find(|interface| match index {
                Some(_) => interface.index == index,
                None => interface.ip() == local.ip(),
            })
            .map(|interface| interface.name.as_str())
    }
}

/// Whether `ip` means nothing without the interface it is reached by.
pub(crate) fn needs_zone(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
}

#[cfg(test)]
impl Interfaces {
    /// Made-up interfaces, each of a name, a number, an address and a prefix length.
    pub(crate) fn of(addrs: &[(&str, u32, &str, u8)]) -> Self {
        let interface = |&(name, index, ip, prefixlen): &(&str, u32, &str, u8)| Interface {
            name: name.to_owned(),
            index: Some(index),
            addr: match ip.parse().unwrap() {
                IpAddr::V4(ip) => IfAddr::V4(if_addrs::Ifv4Addr {
                    ip,
                    netmask: Ipv4Addr::from_bits(u32::MAX << (32 - u32::from(prefixlen))),
                    prefixlen,
                    broadcast: Some(ip),
                }),
                IpAddr::V6(ip) => IfAddr::V6(if_addrs::Ifv6Addr {
                    ip,
                    netmask: Ipv6Addr::UNSPECIFIED,
                    prefixlen,
                    broadcast: None,
                }),
            },
            oper_status: if_addrs::IfOperStatus::Up,
            is_p2p: name.starts_with("tun"),
            #[cfg(windows)]
            adapter_name: String::new(),
        };
        Self(addrs.iter().map(interface).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Interfaces {
        Interfaces::of(&[
            ("lo", 1, "127.0.0.1", 8),
            ("lo", 1, "::1", 128),
            ("eth0", 2, "10.0.0.1", 25),
            ("eth0", 2, "10.0.9.1", 24),
            ("eth0", 2, "fe80::1", 64),
            ("eth0", 2, "2001:db8::1", 64),
            ("eth1", 3, "192.168.7.1", 24),
            ("tun0", 4, "10.8.0.1", 24),
            ("tun0", 4, "fe80::4", 64),
        ])
    }

    #[test]
    fn each_interface_is_used_once() {
        let machine = machine();
        let v4: Vec<_> = machine.broadcasting().map(|ip| ip.to_string()).collect();
        assert_eq!(v4, ["10.0.0.1", "192.168.7.1"]);
        assert_eq!(machine.multicasting().collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn a_broadcast_address_is_known_by_its_network() {
        let machine = machine();
        assert!(machine.is_broadcast("10.0.0.127".parse().unwrap()));
        assert!(!machine.is_broadcast("10.0.0.126".parse().unwrap()));
        assert!(!machine.is_broadcast("10.0.0.1".parse().unwrap()));
        assert!(!machine.is_broadcast("10.0.1.127".parse().unwrap()));
        assert!(!machine.is_broadcast("127.255.255.255".parse().unwrap()));
    }

    #[test]
    fn a_zone_is_a_name_or_a_number() {
        let machine = machine();
        assert_eq!(machine.index_of("eth1"), Some(3));
        assert_eq!(machine.index_of("7"), Some(7));
        assert_eq!(machine.index_of("eth9"), None);
    }

    #[test]
    fn an_answers_zone_is_the_interface_it_came_by() {
        let machine = machine();
        let zone = |local: &str| machine.zone_at(local.parse().unwrap());
        assert_eq!(zone("[fe80::1%2]:5"), Some("eth0"));
        assert_eq!(zone("[fe80::77%3]:5"), Some("eth1"));
        assert_eq!(zone("[2001:db8::1]:5"), Some("eth0"));
        assert_eq!(zone("192.168.7.1:5"), Some("eth1"));
        assert_eq!(zone("[::1]:5"), None);
        assert_eq!(zone("10.9.9.9:5"), None);
    }
}
