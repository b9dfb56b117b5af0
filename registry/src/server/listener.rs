//! The addresses that a registry listens on.

use std::fmt;
use std::net::SocketAddr;

/// A socket that a registry listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "those are the transports there are")]
pub enum Listener {
    /// Receives datagrams.
    Udp(SocketAddr),
    /// Accepts connections.
    Tcp(SocketAddr),
}

impl Listener {
    /// The address of the socket.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Udp(address) | Self::Tcp(address) => *address,
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}
