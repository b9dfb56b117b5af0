//! The addresses that each client receives, and the source addresses of replies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};

use rpyc_tests::raw::{Datagrams, hex};
use rpyc_tests::{Daemon, Lab, PATIENCE, Reference, Registrar, Server, Via, eventually};
use serde_json::json;

use super::{PORT, ask_once, socket_on, tcp, udp};
use crate::golden::{EMPTY, QUERY_FOO};
use crate::interop::sorted;

with_each_version! {
    loopback_is_never_told_to_another_host,
    ipv6_loopback_is_never_told_to_another_host,
    each_network_is_told_an_address_on_it,
    servers_on_two_hosts_are_told_apart,
    hosts_meet_over_tcp,
    hosts_meet_over_ipv6,
}

fn loopback_is_never_told_to_another_host(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let asking = lab.host("client", &[&office]);
    let address = registry.interface().v4;

    let _daemon = Daemon::start_on(&registry, &[]);
    let server = Server::named(&["PAYROLL"]).on(&registry).via(udp(Ipv4Addr::LOCALHOST));
    let server = server.start_registered(reference);

    for via in [udp(address), tcp(address), Via::Default] {
        let mut client = Registrar::start_on(&asking, reference, via);
        let found = client.query("payroll");
        assert_eq!(found, json!([[address.to_string(), server.port()]]), "{via:?}");
        assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()), "{via:?}");
    }
    for via in [udp(Ipv4Addr::LOCALHOST), tcp(Ipv4Addr::LOCALHOST), udp(address), Via::Default] {
        let mut client = Registrar::start_on(&registry, reference, via);
        assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()), "{via:?}");
    }
}

fn ipv6_loopback_is_never_told_to_another_host(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let asking = lab.host("client", &[&office]);
    let address = registry.interface().v6;

    let _daemon = Daemon::start_on(&registry, &[]);
    let server = Server::named(&["PAYROLL"]).on(&registry).bind(Ipv6Addr::UNSPECIFIED.into());
    let server = server.via(udp(Ipv6Addr::LOCALHOST)).start_registered(reference);

    let mut client = Registrar::start_on(&asking, reference, udp(address));
    assert_eq!(client.query("payroll"), json!([[address.to_string(), server.port()]]));
    let call = json!(["call_at", address.to_string(), server.port(), true, "pid"]);
    assert_eq!(client.ask(&call), json!(server.pid()));
}

fn each_network_is_told_an_address_on_it(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let (office, warehouse) = (lab.segment(), lab.segment());
    let registry = lab.host("registry", &[&office, &warehouse]);

    let _daemon = Daemon::start_on(&registry, &[]);
    let server = Server::named(&["PAYROLL"]).on(&registry).via(udp(Ipv4Addr::LOCALHOST));
    let server = server.start_registered(reference);

    for (segment, interface) in [&office, &warehouse].into_iter().zip(registry.interfaces()) {
        let asking = lab.host(&format!("asking-{}", interface.name), &[segment]);
        for via in [Via::Default, udp(interface.v4), tcp(interface.v4)] {
            let mut client = Registrar::start_on(&asking, reference, via);
            let found = client.query("payroll");
            assert_eq!(found, json!([[interface.v4.to_string(), server.port()]]), "{via:?}");
            assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()), "{via:?}");
        }
    }
}

fn servers_on_two_hosts_are_told_apart(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let hosts = [lab.host("first", &[&office]), lab.host("second", &[&office])];
    let asking = lab.host("client", &[&office]);

    let _daemon = Daemon::start_on(&registry, &["--listing"]);
    let own_names = ["FIRST", "SECOND"];
    let servers = [0, 1].map(|n| {
        let server = Server::named(&["PAYROLL", own_names[n]]).on(&hosts[n]);
        server.start_registered(reference)
    });
    let address = |n: usize| json!([hosts[n].interface().v4.to_string(), servers[n].port()]);
    let (both, second) = (json!([address(0), address(1)]), json!([address(1)]));
    let mut client = Registrar::start_on(&asking, reference, Via::Default);

    assert_eq!(sorted(&client.query("payroll")), sorted(&both));
    for n in [0, 1] {
        let host = hosts[n].interface().v4.to_string();
        let discovered = client.try_ask(&json!(["discover", "payroll", host]));
        assert_eq!(discovered, Ok(json!([address(n)])));
        assert_eq!(client.call(own_names[n], "pid", &[]), json!(servers[n].pid()));
        let listed = client.list(Some(&host)).unwrap();
        assert_eq!(sorted(&listed), sorted(&json!([own_names[n], "PAYROLL"])));
    }

    let [leaving, _staying] = servers;
    leaving.close();
    eventually("only the second is found", PATIENCE, || {
        (client.query("payroll") == second).then_some(())
    });
    assert_eq!(client.query("first"), json!([]));
}

fn hosts_meet_over_tcp(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let serving = lab.host("server", &[&office]);
    let asking = lab.host("client", &[&office]);
    let via = tcp(registry.interface().v4);

    let _daemon = Daemon::start_on(&registry, &[]);
    let server = Server::named(&["PAYROLL"]).on(&serving).via(via).start_registered(reference);
    let mut client = Registrar::start_on(&asking, reference, via);

    let found = json!([[serving.interface().v4.to_string(), server.port()]]);
    assert_eq!(client.query("payroll"), found);
    assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()));
}

fn hosts_meet_over_ipv6(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let serving = lab.host("server", &[&office]);
    let asking = lab.host("client", &[&office]);
    let via = udp(registry.interface().v6);

    let _daemon = Daemon::start_on(&registry, &[]);
    let server = Server::named(&["PAYROLL"]).on(&serving).bind(Ipv6Addr::UNSPECIFIED.into());
    let server = server.via(via).start_registered(reference);
    let mut client = Registrar::start_on(&asking, reference, via);

    let address = serving.interface().v6.to_string();
    assert_eq!(client.query("payroll"), json!([[address, server.port()]]));
    let call = json!(["call_at", address, server.port(), true, "pid"]);
    assert_eq!(client.ask(&call), json!(server.pid()));
}

#[test]
fn a_reply_leaves_from_the_address_asked() {
    let Some(lab) = Lab::or_notice() else { return };
    let (office, warehouse) = (lab.segment(), lab.segment());
    let registry = lab.host("registry", &[&office, &warehouse]);
    let asking = lab.host("client", &[&office]);
    let _daemon = Daemon::start_on(&registry, &[]);

    // The registry's host would not use the second address as the source towards this client.
    let socket = socket_on(&asking);
    for interface in registry.interfaces() {
        let to = (interface.v4, PORT).into();
        assert_eq!(ask_once(&socket, &hex(QUERY_FOO), to), (hex(EMPTY), to));
    }

    let near = registry.interface();
    let socket = Datagrams::bind_on(&asking, (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0).into());
    let scope = asking.interface().index;
    for (address, scope) in [(near.v6, 0), (near.link_local, scope)] {
        let to = SocketAddrV6::new(address, PORT, 0, scope).into();
        assert_eq!(ask_once(&socket, &hex(QUERY_FOO), to), (hex(EMPTY), to));
    }
}
