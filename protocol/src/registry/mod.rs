//! Requests to a registry, and its answers.
//!
//! Two encodings of the same few verbs share one port and differ in the first byte:
//!
//! * the *legacy face*, RPyC's own: one brine value a datagram, or one a TCP connection
//!   ([`Request`], [`reply`]);
//! * the *native face*: one JSON object a datagram, or one a line on TCP ([`native`]), for what the
//!   legacy face cannot carry.
//!
//! Both are described in `docs/wire.md`, section 2 and 3.

pub mod native;
mod port;
pub mod reply;
mod request;

pub use port::{Port, PortError};
pub use request::{Names, Request, RequestError};

/// The default port of every registry, over UDP and TCP.
pub const REGISTRY_PORT: u16 = 18811;

/// The IPv6 link-local multicast group that registries join, in place of IPv4's broadcast.
///
/// It is a transient group of link-local scope (`ff12`); the rest spells `RPYC` in ASCII. RPyC
/// itself has no such group.
pub const MULTICAST_GROUP: std::net::Ipv6Addr =
    std::net::Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x5250, 0x5943);

/// How often RPyC's servers register again.
pub const RENEWAL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);

/// How long RPyC's registry keeps a server that stays silent.
pub const DEFAULT_TTL: std::time::Duration = std::time::Duration::from_secs(240);
