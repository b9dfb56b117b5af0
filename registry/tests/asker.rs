//! The clients of the registry in these tests.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use rpyc_registry::{Arrival, Asker, Host, Transport};

/// A client at `ip`, over TCP and interface 2; on this machine if `ip` is a loopback address.
pub(crate) fn at(ip: &str) -> Asker {
    let ip: std::net::IpAddr = ip.parse().unwrap();
    let reached = if ip.is_ipv4() { "10.0.0.1" } else { "fd00::1" };
    Asker {
        host: Host::new(ip, 2),
        is_here: ip.is_loopback(),
        reached: Some(reached.parse().unwrap()),
        link: 2,
        transport: Transport::Tcp,
        arrival: Arrival::UNKNOWN,
    }
}

/// An operator on the registry's machine, over the socket for operators.
pub(crate) fn operator() -> Asker {
    Asker { transport: Transport::Unix, ..at("127.0.0.1") }
}

/// As [`at`], over UDP and IPv4.
pub(crate) fn by_udp(ip: &str) -> Asker {
    Asker { transport: Transport::Udp4, ..at(ip) }
}

/// As [`at`], from the host with this last number in the registry's network.
pub(crate) fn neighbour(last: u8) -> Asker {
    at(&format!("10.0.0.{last}"))
}

/// As [`neighbour`], over UDP and IPv4.
pub(crate) fn neighbour_by_udp(last: u8) -> Asker {
    by_udp(&format!("10.0.0.{last}"))
}
