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
