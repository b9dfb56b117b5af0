//! The address of one registry, as people write it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rpyc_protocol::registry::{MULTICAST_GROUP, REGISTRY_PORT};

/// The address of a registry: `[udp://|tcp://]HOST[:PORT]`, or `unix:PATH`.
///
/// The transport is UDP and the port 18811 by default. `HOST` is a name, an IPv4 address, or an
/// IPv6 address, in brackets where a port follows and with a `%zone` where the address needs one.
///
/// Over UDP it may also be an address that many hear. As in RPyC, an IPv4 address with an octet of
/// 255 is taken for a broadcast, and so is the broadcast address of any of this machine's networks;
/// an IPv6 multicast group is asked on every interface, or on that of the zone alone.
///
/// `unix:PATH` is a unix socket of this machine: the one over which operators reach this project's
/// registry. (`unix:` and a number is the port of a host with that name.)
///
/// ```
/// use rpyc_client::RegistryAddr;
///
/// let addr: RegistryAddr = "registry.example".parse()?;
/// assert_eq!(addr.to_string(), "udp://registry.example:18811");
/// let addr: RegistryAddr = "tcp://[fe80::1%eth0]:1234".parse()?;
/// assert_eq!(addr.to_string(), "tcp://[fe80::1%eth0]:1234");
/// let addr: RegistryAddr = "unix:/run/rpyc-registry/operator.sock".parse()?;
/// assert_eq!(addr.to_string(), "unix:/run/rpyc-registry/operator.sock");
/// assert!("http://registry.example".parse::<RegistryAddr>().is_err());
/// # Ok::<(), rpyc_client::RegistryAddrError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryAddr {
    transport: Transport,
    host: Host,
    port: u16,
}

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Transport {
    /// One connection a request. Crosses routers and firewalls that stop UDP.
    Tcp,
    /// One datagram a request. The way of RPyC's own programs.
    Udp,
    /// One connection a request, to a unix socket of this machine.
    Unix,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Host {
    Name(Box<str>),
    V4(Ipv4Addr),
    V6 { ip: Ipv6Addr, zone: Option<Box<str>> },
    Path(Box<Path>),
}

impl RegistryAddr {
    /// A registry at `addr`, spoken to over `transport`.
    ///
    /// # Errors
    /// [`RegistryAddrError`] for port 0, for a broadcast or multicast address over TCP, and for
    /// [`Transport::Unix`], which has paths.
    pub fn new(transport: Transport, addr: SocketAddr) -> Result<Self, RegistryAddrError> {
        let host = match addr {
            SocketAddr::V4(v4) => Host::V4(*v4.ip()),
            SocketAddr::V6(v6) => Host::V6 {
                ip: *v6.ip(),
                zone: (v6.scope_id() != 0).then(|| v6.scope_id().to_string().into()),
            },
        };
        if transport == Transport::Unix {
            return Err(RegistryAddrError::Scheme { scheme: "unix".into() });
        }
        Self::check(transport, host, addr.port())
    }

    /// A registry at the unix socket `path` of this machine.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        let host = Host::Path(path.into().into_boxed_path());
        Self { transport: Transport::Unix, host, port: 0 }
    }

    pub(crate) const BROADCAST: Self = Self::udp(Host::V4(Ipv4Addr::BROADCAST));
    pub(crate) const LOCALHOST_V4: Self = Self::udp(Host::V4(Ipv4Addr::LOCALHOST));
    pub(crate) const LOCALHOST_V6: Self =
        Self::udp(Host::V6 { ip: Ipv6Addr::LOCALHOST, zone: None });
    pub(crate) const MULTICAST: Self = Self::udp(Host::V6 { ip: MULTICAST_GROUP, zone: None });

    const fn udp(host: Host) -> Self {
        Self { transport: Transport::Udp, host, port: REGISTRY_PORT }
    }

    fn check(transport: Transport, host: Host, port: u16) -> Result<Self, RegistryAddrError> {
        let addr = Self { transport, host, port };
        if port == 0 {
            return Err(RegistryAddrError::Port { port: "0".into() });
        }
        let many = match &addr.host {
            Host::Name(_) | Host::Path(_) => false,
            Host::V4(ip) => ip.is_broadcast() || ip.is_multicast(),
            Host::V6 { ip, .. } => ip.is_multicast(),
        };
        if many && transport == Transport::Tcp {
            return Err(RegistryAddrError::ManyOverTcp { host: addr.host.to_string().into() });
        }
        Ok(addr)
    }

    /// How it is spoken to.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The path of its socket, if its transport is [`Transport::Unix`].
    #[must_use]
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.host {
            Host::Path(path) => Some(path),
            Host::Name(_) | Host::V4(_) | Host::V6 { .. } => None,
        }
    }

    /// Its port; 0 for a unix socket, which has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its host, without the brackets of an IPv6 address; the path of a unix socket.
    #[must_use]
    pub fn host(&self) -> String {
        self.host.to_string()
    }

    /// The same registry over TCP, or over its unix socket; `None` for an address that many hear.
    pub(crate) fn over_tcp(&self) -> Option<Self> {
        if self.transport == Transport::Unix {
            return Some(self.clone());
        }
        Self::check(Transport::Tcp, self.host.clone(), self.port).ok()
    }

    pub(crate) fn parsed_host(&self) -> &Host {
        &self.host
    }

    /// Whether a socket bound to an address of `ip`'s family could reach it; a name could have
    /// either.
    pub(crate) fn may_be_reached_from(&self, ip: IpAddr) -> bool {
        match self.host {
            Host::Name(_) => true,
            Host::V4(_) => ip.is_ipv4(),
            Host::V6 { .. } => ip.is_ipv6(),
            // No other address of this machine leads there.
            Host::Path(_) => ip.is_loopback() || ip.is_unspecified(),
        }
    }
}

impl FromStr for RegistryAddr {
    type Err = RegistryAddrError;

    fn from_str(text: &str) -> Result<Self, RegistryAddrError> {
        let text = text.trim();
        if let Some(path) = unix_path(text) {
            return if path.is_empty() {
                Err(RegistryAddrError::Empty)
            } else {
                Ok(Self::unix(path))
            };
        }
        let (transport, rest) = match text.split_once("://") {
            None => (Transport::Udp, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("udp") => (Transport::Udp, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tcp") => (Transport::Tcp, rest),
            Some((scheme, _)) => return Err(RegistryAddrError::Scheme { scheme: scheme.into() }),
        };
        if rest.is_empty() {
            return Err(RegistryAddrError::Empty);
        }
        let (host, port) = split_port(rest)?;
        let port = match port {
            None => REGISTRY_PORT,
            Some(port) => match port.parse() {
                Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => number,
                _ => return Err(RegistryAddrError::Port { port: port.into() }),
            },
        };
        Self::check(transport, host, port)
    }
}

/// The path in `unix:PATH` or `unix://PATH`, unless it is the port of a host.
fn unix_path(text: &str) -> Option<&str> {
    let (scheme, path) = text.split_once(':')?;
    let is_port = !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_digit());
    let is_path = scheme.eq_ignore_ascii_case("unix") && !is_port;
    // An absolute path begins with one slash, however many are written.
    let rooted = path.trim_start_matches('/');
    let slashes = path.len() - rooted.len();
    is_path.then(|| path.get(slashes.saturating_sub(1)..).unwrap_or_default())
}

/// Splits `HOST[:PORT]`; more than one colon outside brackets makes a bare IPv6 address.
fn split_port(text: &str) -> Result<(Host, Option<&str>), RegistryAddrError> {
    let bad_host = || RegistryAddrError::Host { host: text.into() };
    if let Some(bracketed) = text.strip_prefix('[') {
        let (inside, after) = bracketed.split_once(']').ok_or_else(bad_host)?;
        let host = parse_v6(inside).ok_or_else(bad_host)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(bad_host()),
        };
    }
    if text.matches(':').count() > 1 {
        return Ok((parse_v6(text).ok_or_else(bad_host)?, None));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if let Ok(ip) = host.parse() {
        return Ok((Host::V4(ip), port));
    }
    let is_numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_name = host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if is_numeric || !is_name {
        return Err(bad_host());
    }
    Ok((Host::Name(host.into()), port))
}

fn parse_v6(text: &str) -> Option<Host> {
    let (ip, zone) = match text.split_once('%') {
        Some((_, "")) => return None,
        Some((ip, zone)) => (ip, Some(zone)),
        None => (text, None),
    };
    Some(Host::V6 { ip: ip.parse().ok()?, zone: zone.map(Box::from) })
}

impl fmt::Display for RegistryAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::V6 { .. } => write!(f, "{}://[{}]:{}", self.transport, self.host, self.port),
            Host::Path(_) => write!(f, "{}:{}", self.transport, self.host),
            Host::Name(_) | Host::V4(_) => {
                write!(f, "{}://{}:{}", self.transport, self.host, self.port)
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::V4(ip) => ip.fmt(f),
            Self::V6 { ip, zone: None } => ip.fmt(f),
            Self::V6 { ip, zone: Some(zone) } => write!(f, "{ip}%{zone}"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
        })
    }
}

/// A text that is not the address of a registry; the fault of its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryAddrError {
    /// Nothing is written where an address should be.
    #[error("the address of a registry is empty: write [udp://|tcp://]HOST[:PORT] or unix:PATH")]
    Empty,
    /// The host is neither a name nor an address.
    #[error(
        "`{host}` is not a host: write a name, an IPv4 address, or an IPv6 address, in brackets if a port follows"
    )]
    Host {
        /// What stands in its place.
        host: Box<str>,
    },
    /// A broadcast or multicast address, which only datagrams can reach.
    #[error(
        "`{host}` is a broadcast or multicast address: TCP cannot reach it; write udp://{host}"
    )]
    ManyOverTcp {
        /// The address.
        host: Box<str>,
    },
    /// The variable [`REGISTRY_VARIABLE`](crate::REGISTRY_VARIABLE) is not UTF-8.
    #[error("the addresses of registries in {} are not UTF-8", crate::REGISTRY_VARIABLE)]
    NotUnicode,
    /// The port is not a number from 1 to 65535.
    #[error("`{port}` is not a port: write a number from 1 to 65535")]
    Port {
        /// What stands in its place.
        port: Box<str>,
    },
    /// Something other than `udp` or `tcp` before the `://`.
    #[error("unknown scheme `{scheme}`: write udp:// or tcp://, or unix:PATH")]
    Scheme {
        /// What stands in its place.
        scheme: Box<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_in_full() {
        let cases = [
            ("localhost", "udp://localhost:18811"),
            ("Registry-1.example_x.org:99", "udp://Registry-1.example_x.org:99"),
            (" tcp://10.0.0.1 ", "tcp://10.0.0.1:18811"),
            ("UDP://10.0.0.1:1", "udp://10.0.0.1:1"),
            ("255.255.255.255", "udp://255.255.255.255:18811"),
            ("10.255.0.7:65535", "udp://10.255.0.7:65535"),
            ("::1", "udp://[::1]:18811"),
            ("[::1]", "udp://[::1]:18811"),
            ("[::1]:7", "udp://[::1]:7"),
            ("tcp://2001:DB8::5", "tcp://[2001:db8::5]:18811"),
            ("fe80::1%eth0", "udp://[fe80::1%eth0]:18811"),
            ("[ff12::1%3]:7", "udp://[ff12::1%3]:7"),
            ("bücher.example", "udp://bücher.example:18811"),
            ("unix:/run/x/o.sock", "unix:/run/x/o.sock"),
            ("UNIX:///run/o.sock", "unix:/run/o.sock"),
            ("unix:o.sock", "unix:o.sock"),
            ("unix:/a b:c://[x]", "unix:/a b:c://[x]"),
            ("unix:18811", "udp://unix:18811"),
            ("unix", "udp://unix:18811"),
        ];
        for (text, shown) in cases {
            let addr: RegistryAddr = text.parse().unwrap();
            assert_eq!(addr.to_string(), shown, "{text:?}");
            assert_eq!(shown.parse(), Ok(addr), "{shown:?} reads back");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let host = |text: &str| RegistryAddrError::Host { host: text.into() };
        let port = |text: &str| RegistryAddrError::Port { port: text.into() };
        let cases = [
            ("", RegistryAddrError::Empty),
            ("udp://", RegistryAddrError::Empty),
            ("unix:", RegistryAddrError::Empty),
            ("http://a", RegistryAddrError::Scheme { scheme: "http".into() }),
            ("10.0.0.256", host("10.0.0.256")),
            ("1.2.3", host("1.2.3")),
            (":80", host(":80")),
            ("a b", host("a b")),
            ("a/b", host("a/b")),
            ("[::1", host("[::1")),
            ("[::1]x", host("[::1]x")),
            ("[10.0.0.1]:5", host("[10.0.0.1]:5")),
            ("fe80::1%", host("fe80::1%")),
            ("::1::2", host("::1::2")),
            ("a:", port("")),
            ("a:0", port("0")),
            ("a:+5", port("+5")),
            ("a:65536", port("65536")),
            (
                "tcp://255.255.255.255",
                RegistryAddrError::ManyOverTcp { host: "255.255.255.255".into() },
            ),
            ("tcp://[ff02::1]", RegistryAddrError::ManyOverTcp { host: "ff02::1".into() }),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<RegistryAddr>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_unix_socket_has_a_path_and_no_network_address() {
        let addr = RegistryAddr::unix("/run/o.sock");
        assert_eq!(addr.socket_path(), Some(Path::new("/run/o.sock")));
        assert_eq!((addr.transport(), addr.port()), (Transport::Unix, 0));
        assert_eq!(addr.over_tcp(), Some(addr));
        RegistryAddr::new(Transport::Unix, ([127, 0, 0, 1], 1).into()).unwrap_err();
    }

    #[test]
    fn a_socket_address_keeps_its_zone() {
        let v6 = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 5, 0, 3);
        let addr = RegistryAddr::new(Transport::Tcp, v6.into()).unwrap();
        assert_eq!(addr.to_string(), "tcp://[fe80::1%3]:5");
    }
}
