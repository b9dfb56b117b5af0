//! The clients of the registry in these tests.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use rpyc_protocol::registry::native::{ErrorCode, Reply, Request};
use rpyc_registry::{AddressGrant, Arrival, Asker, Host, Transport};

/// The permission to announce any address.
pub(crate) fn any_address() -> Vec<AddressGrant> {
    let all = ["0.0.0.0/0", "::/0"];
    let both = |from| all.map(|to| format!("{from}={to}").parse().unwrap());
    all.into_iter().flat_map(both).collect()
}

/// The request to repeat with the cookie of a reply, if the reply asks for that.
pub(crate) fn with_cookie(request: &[u8], reply: &[u8]) -> Option<Vec<u8>> {
    let reply = Reply::parse(reply).ok()?;
    let is_wanted = reply.error.as_ref().is_some_and(|it| it.code == ErrorCode::CookieRequired);
    let request = Request { cookie: reply.cookie, ..Request::parse(request).ok()? };
    is_wanted.then(|| request.to_bytes())
}

/// A client at `ip`, over TCP and interface 2; on this machine if `ip` is a loopback address.
pub(crate) fn at(ip: &str) -> Asker {
    let ip: std::net::IpAddr = ip.parse().unwrap();
    let reached = if ip.is_ipv4() { "10.0.0.1" } else { "fd00::1" };
    Asker {
        port: 1,
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
