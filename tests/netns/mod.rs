//! The daemon and real RPyC programs on several hosts.
//!
//! Tests of broadcasts, multicasts, other machines and the registry's fixed port need namespaces.

mod addresses;
mod broadcast;
mod crowds;
mod leases;
mod limits;
mod listing;
mod multicast;
mod one_address;
mod operators;
mod ours;
mod ownership;
mod probes;
mod rules;
mod sockets;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rpyc_tests::raw::Datagrams;
use rpyc_tests::{Host, Via};

/// The registry's port, where RPyC looks for it by default.
const PORT: u16 = 18811;

/// A wait that is long enough for a duplicate reply to arrive.
const A_WHILE: Duration = Duration::from_millis(300);

/// A socket on `host` that sends from its first IPv4 address.
fn socket_on(host: &Host) -> Datagrams {
    Datagrams::bind_on(host, (host.interface().v4, 0).into())
}

/// The broadcast address, which reaches every host on the sender's link.
fn everybody() -> SocketAddr {
    (Ipv4Addr::BROADCAST, PORT).into()
}

/// `UDPRegistryClient` for a registry at `ip`.
fn udp(ip: impl Into<IpAddr>) -> Via {
    Via::Udp((ip.into(), PORT).into())
}

/// `TCPRegistryClient` for a registry at `ip`.
fn tcp(ip: impl Into<IpAddr>) -> Via {
    Via::Tcp((ip.into(), PORT).into())
}

/// Checks that none of `sockets` receives a further reply, with one wait for all of them. A request
/// with two replies leaves one over.
#[track_caller]
fn assert_silent(sockets: &[Datagrams]) {
    let mut within = A_WHILE;
    for socket in sockets {
        let second = socket.receive(within);
        assert!(second.is_none(), "answered again: {second:?}");
        within = Duration::from_millis(1);
    }
}

/// Sends `request`, and checks that exactly one reply arrives.
#[track_caller]
fn ask_once(socket: &Datagrams, request: &[u8], to: SocketAddr) -> (Vec<u8>, SocketAddr) {
    let reply = socket.ask(request, to);
    let second = socket.receive(A_WHILE);
    assert!(second.is_none(), "answered again: {reply:?}, {second:?}");
    reply
}
