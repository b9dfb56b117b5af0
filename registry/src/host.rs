//! The host of a registration.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The address of a machine as the registry sees it.
///
/// An IPv4 address that arrived on a dual-stack socket is IPv4 here. A link-local IPv6 address is
/// unique only on its link, so the link is kept with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    ip: IpAddr,
    link: u32,
}

impl Host {
    /// The host at `ip`. `link` is the index of the interface, used only for link-local addresses.
    #[must_use]
    pub fn new(ip: IpAddr, link: u32) -> Self {
        let ip = ip.to_canonical();
        Self { ip, link: if is_link_local(ip) { link } else { 0 } }
    }

    /// The address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The interface that a link-local address belongs to; 0 for every other address.
    #[must_use]
    pub fn link(&self) -> u32 {
        self.link
    }

    /// Whether the address is valid on one link only.
    #[must_use]
    pub fn is_link_local(&self) -> bool {
        is_link_local(self.ip)
    }
}

impl From<SocketAddr> for Host {
    fn from(address: SocketAddr) -> Self {
        let link = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        Self::new(address.ip(), link)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.link {
            0 => self.ip.fmt(f),
            link => write!(f, "{}%{link}", self.ip),
        }
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Parses an address as a client may write it: with or without a zone, IPv4-mapped or not.
pub(crate) fn parse_host(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// The sender that limits count: an IPv4 address, or the /64 network of an IPv6 address, within
/// which a machine chooses its addresses freely. A link-local address counts alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Source(u64, u64);

impl From<Host> for Source {
    fn from(host: Host) -> Self {
        /// Marks IPv4 addresses: no IPv6 network has it beside bits in its first half.
        const IPV4: u64 = 1 << 63;
        match host.ip {
            IpAddr::V4(ip) => Self(ip.to_bits().into(), IPV4),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h] = ip.segments().map(u64::from);
                let network = a << 48 | b << 32 | c << 16 | d;
                let interface = e << 48 | f << 32 | g << 16 | h;
                match host.is_link_local() {
                    true => Self(interface, u64::from(host.link) | IPV4 >> 1),
                    false => Self(network, 0),
                }
            }
        }
    }
}

/// The network whose senders share a budget of bytes: /24 of an IPv4 address, /56 of an IPv6
/// address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Neighbourhood(u64, bool);

impl From<Host> for Neighbourhood {
    fn from(host: Host) -> Self {
        match host.ip {
            IpAddr::V4(ip) => Self(u64::from(ip.to_bits()) >> 8, true),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments().map(u64::from);
                Self((a << 48 | b << 32 | c << 16 | d) >> 8, false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let source = |ip: &str, link| Source::from(Host::new(ip.parse().unwrap(), link));
        assert_eq!(source("10.0.0.1", 0), source("::ffff:10.0.0.1", 0));
        assert_ne!(source("10.0.0.1", 0), source("10.0.0.2", 0));
        assert_eq!(source("2001:db8::1", 0), source("2001:db8::ffff:2", 0));
        assert_ne!(source("2001:db8::1", 0), source("2001:db8:0:1::1", 0));
        assert_ne!(source("fe80::1", 2), source("fe80::2", 2));
        assert_ne!(source("fe80::1", 2), source("fe80::1", 3));
    }
}
