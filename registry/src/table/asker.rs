//! Where a request came from, and by which transport.

use std::net::IpAddr;

use super::arrival::Arrival;
use crate::host::Host;

/// The transport of a request, which limits the length of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A datagram over IPv4.
    Udp4,
    /// A datagram over IPv6.
    Udp6,
    /// A TCP connection.
    Tcp,
    /// A connection to the unix socket for operators, on this machine.
    Unix,
}

impl Transport {
    /// Whether each request is a datagram, which has no connection.
    pub(crate) fn is_datagram(self) -> bool {
        match self {
            Self::Udp4 | Self::Udp6 => true,
            Self::Tcp | Self::Unix => false,
        }
    }

    /// The most bytes of an answer to QUERY: RPyC's clients read 1500, and over UDP an answer must
    /// not need fragments on an Ethernet.
    pub(crate) fn query_cap(self) -> usize {
        match self {
            Self::Udp4 => 1500 - 20 - 8,
            Self::Udp6 => 1500 - 40 - 8,
            Self::Tcp | Self::Unix => 1500,
        }
    }

    /// The most bytes of an answer to LIST: what RPyC's clients read.
    pub(crate) fn list_cap(self) -> usize {
        match self {
            Self::Udp4 | Self::Udp6 => 15_000,
            Self::Tcp | Self::Unix => 1500,
        }
    }
}

/// The sender of a request, and how it reached the registry.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "faces build it as a literal")]
pub struct Asker {
    /// The address that the request came from.
    pub host: Host,
    /// The port that the request came from: a cookie is valid for this port only.
    pub port: u16,
    /// Whether that is this machine: a loopback address or an address of its interfaces.
    pub is_here: bool,
    /// The address by which the asker reached the registry; for a broadcast or a multicast, the
    /// receiving interface's own. `None` where the system does not report it.
    pub reached: Option<IpAddr>,
    /// The interface that received the request; 0 where the system does not report it.
    pub link: u32,
    /// The transport of the request.
    pub transport: Transport,
    /// When the request arrived.
    pub arrival: Arrival,
}
