//! The IPv6 multicast group, the counterpart of the IPv4 broadcast.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use rpyc_tests::raw::{Datagrams, hex};
use rpyc_tests::{Daemon, Host, Lab, Reference, Registrar, Server, Via};
use serde_json::json;

use super::{PORT, ask_once, udp};
use crate::golden::{EMPTY, QUERY_FOO};

/// The multicast group of the registries on a link.
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x5250, 0x5943);

with_each_version! {
    rpyc_finds_the_registry_by_multicast,
    a_server_on_the_registrys_loopback_is_told_by_an_address_of_its_interface,
}

/// The group on the link of `host`.
fn group_of(host: &Host) -> SocketAddr {
    SocketAddrV6::new(GROUP, PORT, 0, host.interface().index).into()
}

fn rpyc_finds_the_registry_by_multicast(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let serving = lab.host("server", &[&office]);
    let asking = lab.host("client", &[&office]);

    let _daemon = Daemon::start_on(&registry, &[]);
    // Binds to the routable address: by default the group would use the link-local one.
    let server = Server::named(&["PAYROLL"]).on(&serving).bind(serving.interface().v6.into());
    let server = server.via(Via::Udp(group_of(&serving))).start_registered(reference);
    let mut client = Registrar::start_on(&asking, reference, Via::Udp(group_of(&asking)));

    let address = serving.interface().v6.to_string();
    assert_eq!(client.query("payroll"), json!([[address, server.port()]]));
    let call = json!(["call_at", address, server.port(), true, "pid"]);
    assert_eq!(client.ask(&call), json!(server.pid()));
}

fn a_server_on_the_registrys_loopback_is_told_by_an_address_of_its_interface(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let asking = lab.host("client", &[&office]);
    let interface = registry.interface();

    let _daemon = Daemon::start_on(&registry, &[]);
    let server = Server::named(&["PAYROLL"]).on(&registry).bind(Ipv6Addr::UNSPECIFIED.into());
    let server = server.via(udp(Ipv6Addr::LOCALHOST)).start_registered(reference);

    let mut client = Registrar::start_on(&asking, reference, Via::Udp(group_of(&asking)));
    let found = client.query("payroll");
    let told = |ip: Ipv6Addr| json!([[ip.to_string(), server.port()]]);
    assert!([told(interface.v6), told(interface.link_local)].contains(&found), "{found}");
}

#[test]
fn a_multicast_is_answered_once_by_the_interface_that_heard_it() {
    let Some(lab) = Lab::or_notice() else { return };
    let (office, warehouse) = (lab.segment(), lab.segment());
    let registry = lab.host("registry", &[&office, &warehouse]);
    let _daemon = Daemon::start_on(&registry, &[]);

    for (segment, interface) in [&office, &warehouse].into_iter().zip(registry.interfaces()) {
        let asking = lab.host(&format!("asking-{}", interface.name), &[segment]);
        let own = asking.interface();
        let scoped = SocketAddrV6::new(own.link_local, 0, 0, own.index);
        for from in [scoped, SocketAddrV6::new(own.v6, 0, 0, 0)] {
            let socket = Datagrams::bind_on(&asking, from.into());
            let (reply, source) = ask_once(&socket, &hex(QUERY_FOO), group_of(&asking));
            assert_eq!(reply, hex(EMPTY), "{from}");
            assert_eq!(source.port(), PORT, "{from}");
            let own_addresses = [interface.v6, interface.link_local].map(IpAddr::V6);
            assert!(own_addresses.contains(&source.ip()), "{from} was answered by {source}");
        }
    }
}
