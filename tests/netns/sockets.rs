//! A registry with several sockets for each address, independent of the number of cores.

use std::net::{Ipv6Addr, SocketAddrV6};

use rpyc_tests::raw::{Datagrams, hex};
use rpyc_tests::{Daemon, Lab};

use super::{PORT, assert_silent, everybody, socket_on};
use crate::golden::{EMPTY, QUERY_FOO};

/// Enough clients for each of the sockets to receive some of the datagrams to one address.
const ASKERS: usize = 16;

#[test]
fn one_of_several_sockets_answers_what_all_of_them_hear() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, asking) = (lab.host("registry", &[&office]), lab.host("asking", &[&office]));
    let _daemon = Daemon::start_on(&registry, &["--udp-sockets", "4"]);
    let (interface, own) = (registry.interface(), asking.interface());
    let group = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x5250, 0x5943);
    let group = SocketAddrV6::new(group, PORT, 0, own.index).into();

    let mut askers = Vec::new();
    for _ in 0..ASKERS {
        let socket = socket_on(&asking);
        for to in [everybody(), (interface.broadcast, PORT).into(), (interface.v4, PORT).into()] {
            let (reply, source) = socket.ask(&hex(QUERY_FOO), to);
            assert_eq!((reply, source), (hex(EMPTY), (interface.v4, PORT).into()), "{to}");
        }
        askers.push(socket);
        let socket = Datagrams::bind_on(&asking, (own.v6, 0).into());
        for to in [group, (interface.v6, PORT).into()] {
            assert_eq!(socket.ask(&hex(QUERY_FOO), to).0, hex(EMPTY), "{to}");
        }
        askers.push(socket);
    }
    assert_silent(&askers);
}

#[test]
fn several_sockets_of_one_address_hear_broadcasts_once() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, asking) = (lab.host("registry", &[&office]), lab.host("asking", &[&office]));
    let interface = registry.interface();
    let host = interface.v4.to_string();
    let _daemon = Daemon::start_on(&registry, &["--udp-sockets", "4", "--host", &host]);

    let mut askers = Vec::new();
    for _ in 0..ASKERS {
        let socket = socket_on(&asking);
        for to in [everybody(), (interface.broadcast, PORT).into(), (interface.v4, PORT).into()] {
            let (reply, source) = socket.ask(&hex(QUERY_FOO), to);
            assert_eq!((reply, source), (hex(EMPTY), (interface.v4, PORT).into()), "{to}");
        }
        askers.push(socket);
    }
    assert_silent(&askers);
}
