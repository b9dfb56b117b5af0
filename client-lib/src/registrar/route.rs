//! From the address of a registry to the sockets that reach it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use tokio::time::{Instant, timeout_at};

use crate::address::Host;
use crate::net::interfaces::{Interfaces, needs_zone};
use crate::{Fault, RegistryAddr};

/// One way to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where a request is sent.
    pub(crate) to: SocketAddr,
    /// The address of this machine that it leaves from, if it matters; the port is 0.
    pub(crate) from: Option<SocketAddr>,
    /// Whether many may hear it, so that answers come from other addresses than `to`.
    pub(crate) to_many: bool,
}

/// Finds the ways to `registry`, the preferred first; there is at least one.
///
/// `source` chooses the address that requests leave from, and with it the IP version. The
/// unspecified addresses choose the version alone, and `::` not even that if only the other exists:
/// a server that listens there may well listen to both.
pub(crate) async fn find(
    registry: &RegistryAddr,
    source: Option<SocketAddr>,
    deadline: Instant,
) -> Result<Vec<Route>, Fault> {
    let interfaces = Interfaces::read();
    let interfaces = interfaces.as_ref().ok();
    let fixed = |ip, scope| vec![with_scope(ip, registry.port(), scope)];
    let addrs = match registry.parsed_host() {
        Host::V4(ip) => fixed(IpAddr::V4(*ip), 0),
        Host::V6 { ip, zone: None } => fixed(IpAddr::V6(*ip), 0),
        Host::V6 { ip, zone: Some(zone) } => {
            let index = interfaces.and_then(|interfaces| interfaces.index_of(zone));
            let absent = || io::Error::new(io::ErrorKind::NotFound, "the interface does not exist");
            fixed(IpAddr::V6(*ip), index.ok_or_else(|| Fault::Unresolved(absent()))?)
        }
        // No network leads to the path of a socket.
        Host::Path(_) => return Err(Fault::NoInterface),
        Host::Name(name) => resolve(name, registry.port(), deadline).await?,
    };
    let fitting: Vec<_> = match source {
        None => addrs,
        Some(source) => match same_version(&addrs, source) {
            fitting if fitting.is_empty() && source.ip() == V6_ANY => addrs,
            fitting => fitting,
        },
    };
    if fitting.is_empty() {
        let message = "the registry has no address of its IP version";
        return Err(Fault::Source(io::Error::new(io::ErrorKind::AddrNotAvailable, message)));
    }
    let from = source.filter(|source| !source.ip().is_unspecified()).map(|source| {
        let index = interfaces.and_then(|interfaces| interfaces.index_with(source.ip()));
        zoned(source, index.unwrap_or_default())
    });
    let routes: Vec<_> =
        fitting.into_iter().flat_map(|to| routes_to(to, from, interfaces)).collect();
    if routes.is_empty() { Err(Fault::NoInterface) } else { Ok(routes) }
}

const V6_ANY: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

async fn resolve(name: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, Fault> {
    match timeout_at(deadline, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(addrs)) => Ok(addrs.collect()),
        Ok(Err(error)) => Err(Fault::Unresolved(error)),
        Err(_) => Err(Fault::Unresolved(io::ErrorKind::TimedOut.into())),
    }
}

fn same_version(addrs: &[SocketAddr], source: SocketAddr) -> Vec<SocketAddr> {
    addrs.iter().copied().filter(|addr| addr.is_ipv4() == source.is_ipv4()).collect()
}

fn with_scope(ip: IpAddr, port: u16, scope: u32) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
    }
}

/// The ways to one address. What goes out on every interface has one way for each.
fn routes_to(
    to: SocketAddr,
    from: Option<SocketAddr>,
    interfaces: Option<&Interfaces>,
) -> Vec<Route> {
    let single = |to_many| vec![Route { to, from, to_many }];
    let Some(interfaces) = interfaces else {
        return single(match to.ip() {
            IpAddr::V4(ip) => looks_like_broadcast(ip),
            IpAddr::V6(ip) => ip.is_multicast(),
        });
    };
    let is_chosen = |ip: IpAddr| from.is_none_or(|from| from.ip() == ip);
    match to {
        // Linux sends a limited broadcast by the interface that has the socket's own address.
        SocketAddr::V4(v4) if v4.ip().is_broadcast() => interfaces
            .broadcasting()
            .filter(|ip| is_chosen((*ip).into()))
            .map(|ip| Route { to, from: Some(SocketAddr::new(ip.into(), 0)), to_many: true })
            .collect(),
        SocketAddr::V4(v4) => single(
            looks_like_broadcast(*v4.ip())
                || v4.ip().is_multicast()
                || interfaces.is_broadcast(*v4.ip()),
        ),
        SocketAddr::V6(v6) if v6.ip().is_multicast() && v6.scope_id() == 0 => {
            let chosen = from.map(|from| match from {
                SocketAddr::V6(v6) if v6.scope_id() != 0 => Some(v6.scope_id()),
                _ => interfaces.index_with(from.ip()),
            });
            interfaces
                .multicasting()
                .filter(|index| chosen.is_none_or(|chosen| chosen == Some(*index)))
                .map(|index| Route {
                    to: with_scope(to.ip(), to.port(), index),
                    from: from.map(|from| zoned(from, index)),
                    to_many: true,
                })
                .collect()
        }
        SocketAddr::V6(v6) => {
            let from = from.map(|from| zoned(from, v6.scope_id()));
            vec![Route { to, from, to_many: v6.ip().is_multicast() }]
        }
    }
}

/// RPyC's own rule, which catches the broadcast addresses of most networks wherever they are.
fn looks_like_broadcast(ip: Ipv4Addr) -> bool {
    ip.octets().contains(&255)
}

/// A link-local source can only be bound with its interface.
fn zoned(from: SocketAddr, index: u32) -> SocketAddr {
    match from {
        SocketAddr::V6(v6) if needs_zone(*v6.ip()) && v6.scope_id() == 0 => {
            with_scope(from.ip(), from.port(), index)
        }
        _ => from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Interfaces {
        Interfaces::of(&[
            ("lo", 1, "127.0.0.1", 8),
            ("eth0", 2, "10.0.0.1", 25),
            ("eth0", 2, "fe80::1", 64),
            ("eth1", 3, "192.168.7.1", 24),
            ("eth1", 3, "2001:db8::3", 64),
        ])
    }

    fn check(to: &str, from: Option<&str>, expected: &[(&str, Option<&str>, bool)]) {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let routes = routes_to(parse(to), from.map(parse), Some(&machine()));
        let expected: Vec<_> = expected
            .iter()
            .map(|(to, from, to_many)| Route {
                to: parse(to),
                from: from.map(parse),
                to_many: *to_many,
            })
            .collect();
        assert_eq!(routes, expected, "to {to} from {from:?}");
    }

    #[test]
    fn unicast_has_one_way() {
        check("10.0.0.9:1", None, &[("10.0.0.9:1", None, false)]);
        check("10.0.0.9:1", Some("10.0.0.1:0"), &[("10.0.0.9:1", Some("10.0.0.1:0"), false)]);
        check("[fe80::9%3]:1", None, &[("[fe80::9%3]:1", None, false)]);
        check(
            "[fe80::9%3]:1",
            Some("[fe80::3]:0"),
            &[("[fe80::9%3]:1", Some("[fe80::3%3]:0"), false)],
        );
    }

    #[test]
    fn a_broadcast_goes_out_on_each_interface_or_on_that_of_the_source() {
        let all = "255.255.255.255:1";
        let (eth0, eth1) = ((all, Some("10.0.0.1:0"), true), (all, Some("192.168.7.1:0"), true));
        check(all, None, &[eth0, eth1]);
        check(all, Some("192.168.7.1:0"), &[eth1]);
        check(all, Some("127.0.0.1:0"), &[]);
        check("10.0.0.127:1", None, &[("10.0.0.127:1", None, true)]);
        check("172.16.255.255:1", None, &[("172.16.255.255:1", None, true)]);
    }

    #[test]
    fn a_multicast_goes_out_on_each_interface_or_on_that_of_the_zone() {
        check("[ff12::1]:1", None, &[("[ff12::1%2]:1", None, true), ("[ff12::1%3]:1", None, true)]);
        check("[ff12::1%3]:1", None, &[("[ff12::1%3]:1", None, true)]);
        check(
            "[ff12::1]:1",
            Some("[2001:db8::3]:0"),
            &[("[ff12::1%3]:1", Some("[2001:db8::3]:0"), true)],
        );
        check(
            "[ff12::1]:1",
            Some("[fe80::1]:0"),
            &[("[ff12::1%2]:1", Some("[fe80::1%2]:0"), true)],
        );
        check("[ff12::1]:1", Some("[::1]:0"), &[]);
    }

    async fn find(registry: &str, source: &str) -> Result<Vec<Route>, Fault> {
        let registry = registry.parse().unwrap();
        super::find(&registry, Some(source.parse().unwrap()), Instant::now()).await
    }

    #[tokio::test]
    async fn a_source_of_the_other_version_is_a_fault_of_its_own() {
        assert!(matches!(find("10.0.0.9", "[::1]:0").await, Err(Fault::Source(_))));
        assert!(matches!(find("::1", "0.0.0.0:0").await, Err(Fault::Source(_))));
        let dual = find("10.0.0.9", "[::]:0").await.unwrap();
        assert_eq!(dual[0].from, None);
    }
}
