//! Who asks, and how their request came.

use std::net::IpAddr;

use super::Host;
use super::arrival::Arrival;

/// By which way a request came, which decides how long an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A datagram over IPv4.
    Udp4,
    /// A datagram over IPv6.
    Udp6,
    /// A TCP connection.
    Tcp,
}

impl Transport {
    /// The most bytes of an answer to QUERY: RPyC's clients read 1500, and over UDP an answer must
    /// not need fragments on an Ethernet.
    pub(crate) fn query_cap(self) -> usize {
        match self {
            Self::Udp4 => 1500 - 20 - 8,
            Self::Udp6 => 1500 - 40 - 8,
            Self::Tcp => 1500,
        }
    }

    /// The most bytes of an answer to LIST: what RPyC's clients read.
    pub(crate) fn list_cap(self) -> usize {
        match self {
            Self::Udp4 | Self::Udp6 => 15_000,
            Self::Tcp => 1500,
        }
    }
}

/// Who asks, and how they reached the registry.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "faces build it as a literal")]
pub struct Asker {
    /// Where the request came from.
    pub host: Host,
    /// Whether that is this machine: a loopback address or one of its own.
    pub is_here: bool,
    /// The address by which the asker reached the registry; for a broadcast or a multicast, the
    /// receiving interface's own. `None` where the system does not tell.
    pub reached: Option<IpAddr>,
    /// The interface by which the request came; 0 where the system does not tell.
    pub link: u32,
    /// By which way the request came.
    pub transport: Transport,
    /// When the request arrived.
    pub arrival: Arrival,
}
