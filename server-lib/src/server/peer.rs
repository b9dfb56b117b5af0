//! Who has connected.

use std::net::{IpAddr, SocketAddr};

/// Who has connected, as far as the system tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its address, over TCP. An IPv4 client of an IPv6 socket appears with its IPv4 address.
    pub addr: Option<SocketAddr>,
    /// The process at the other end, over a unix socket.
    pub credentials: Option<Credentials>,
    /// The certificate that it has shown over TLS, in DER, where one was asked for.
    pub certificate: Option<Vec<u8>>,
}

/// The process at the other end of a unix socket, when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The user it ran as.
    pub user: u32,
    /// The group it ran as.
    pub group: u32,
    /// Its number, where the system tells.
    pub process: Option<i32>,
}

impl Peer {
    pub(super) fn tcp(addr: SocketAddr) -> Self {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Self { addr: Some(addr), ..Self::default() }
    }

    /// Its IP address, over TCP.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.addr.map(|addr| addr.ip())
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.addr, self.credentials) {
            (Some(addr), _) => addr.fmt(f),
            (None, Some(Credentials { user, process: Some(process), .. })) => {
                write!(f, "process {process} of user {user}")
            }
            (None, Some(Credentials { user, .. })) => write!(f, "user {user}"),
            (None, None) => f.write_str("a stream"),
        }
    }
}
