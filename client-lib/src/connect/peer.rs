//! The other end of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The other end of a connection, as far as the system and TLS identify it.
///
/// [`Connection::peer`](crate::Connection::peer) returns it at either end, and
/// [`Context::peer`](crate::Context::peer) wherever something is served.
///
/// ```
/// use rpyc_client::{Context, Exception};
///
/// fn only_for_root(context: &Context) -> Result<(), Exception> {
///     match context.peer().credentials {
///         Some(credentials) if credentials.user == 0 => Ok(()),
///         _ => Err(Exception::builtin("PermissionError", "only for root")),
///     }
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its address, over TCP. An IPv4 client of an IPv6 socket appears with its IPv4 address.
    pub addr: Option<SocketAddr>,
    /// The process at the other end, over a unix socket.
    pub credentials: Option<Credentials>,
    /// The certificate that it has shown over TLS, in DER. Servers show one always, clients where
    /// one was asked for.
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
    /// Its number, where the system reports it.
    pub process: Option<i32>,
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Self { addr: Some(addr), ..Self::default() }
    }
}

#[cfg(unix)]
impl From<&tokio::net::UnixStream> for Peer {
    fn from(stream: &tokio::net::UnixStream) -> Self {
        let credentials = stream.peer_cred().ok().map(|peer| Credentials {
            user: peer.uid(),
            group: peer.gid(),
            process: peer.pid(),
        });
        Self { credentials, ..Self::default() }
    }
}

impl Peer {
    /// Its IP address, over TCP.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.addr.map(|addr| addr.ip())
    }

    /// The source that limits count: its IPv4 address, or the 64-bit network of its IPv6 address,
    /// because one machine can use every address of such a network. `None` except over TCP.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.ip().map(|ip| match ip.to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        })
    }

    /// The fingerprint of the certificate that it has shown over TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn fingerprint(&self) -> Option<crate::Fingerprint> {
        self.certificate.as_deref().map(crate::Fingerprint::of_der)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
