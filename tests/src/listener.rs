//! The lines in which a registry announces its listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A transport of the registry protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the registry protocol has these two")]
pub enum Transport {
    /// One request per datagram.
    Udp,
    /// One request per connection.
    Tcp,
}

/// A transport and an address on which a registry listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Listener {
    /// The transport.
    pub transport: Transport,
    /// The address that the registry printed.
    pub address: SocketAddr,
}

impl Listener {
    /// Finds the `udp://ADDRESS` or `tcp://ADDRESS` in a line of a registry's output.
    pub fn parse(line: &str) -> Option<Self> {
        [("udp://", Transport::Udp), ("tcp://", Transport::Tcp)].into_iter().find_map(
            |(scheme, transport)| {
                let (_, rest) = line.split_once(scheme)?;
                let address = rest.split_whitespace().next()?.trim_end_matches([',', '.', '"']);
                Some(Self { transport, address: address.parse().ok()? })
            },
        )
    }

    /// An address of this machine that reaches the listener.
    pub fn local_address(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                Ipv4Addr::LOCALHOST.into()
            }
            bound => bound,
        };
        SocketAddr::new(ip, self.address.port())
    }
}
