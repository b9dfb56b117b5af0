//! Address rules: containers behind their host.

use std::net::IpAddr;

use rpyc_tests::{Daemon, Lab, Reference, Registrar, Server};
use serde_json::json;

use super::{tcp, udp};

with_each_version! {
    containers_are_told_as_their_host_to_those_outside,
}

/// A network as with Docker: the registry and the containers' host are on the office's network. The
/// containers are on a separate network to which the host is attached as well.
fn containers_are_told_as_their_host_to_those_outside(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let (office, bridge) = (lab.segment(), lab.segment());
    let docker = lab.host("docker", &[&office, &bridge]);
    let container = lab.host("container", &[&bridge]);
    let neighbour = lab.host("neighbour", &[&bridge]);
    let asking = lab.host("client", &[&office]);
    let [outer, inner] = docker.interfaces() else { panic!("the host is on both") };

    // The third byte of each address is the segment's number.
    let rules = [
        format!("--address-rule=10.77.2.0/24={}", outer.v4),
        format!("--address-rule=fd77:2::/64={}", outer.v6),
    ];
    let _daemon = Daemon::start_on(&docker, &[&rules[0], &rules[1]]);
    let check = |server: &Server, registry: [IpAddr; 2], inside: IpAddr, outside: IpAddr| {
        let [outer, inner] = registry;
        // RPyC's TCP clients support IPv4 only.
        let vias = |ip: IpAddr| if ip.is_ipv4() { vec![udp(ip), tcp(ip)] } else { vec![udp(ip)] };
        for via in vias(inner) {
            let mut client = Registrar::start_on(&neighbour, reference, via);
            let original = json!([[inside.to_string(), server.port()]]);
            assert_eq!(client.query("payroll"), original, "{via:?}");
        }
        for via in vias(outer) {
            let mut client = Registrar::start_on(&asking, reference, via);
            let told = json!([[outside.to_string(), server.port()]]);
            assert_eq!(client.query("payroll"), told, "{via:?}");
        }
        // The host itself is on the containers' network and needs no forwarded port.
        let mut client = Registrar::start_on(&docker, reference, udp(inner));
        let call = json!(["call_at", inside.to_string(), server.port(), inside.is_ipv6(), "pid"]);
        assert_eq!(client.ask(&call), json!(server.pid()));
        let original = json!([[inside.to_string(), server.port()]]);
        assert_eq!(client.query("payroll"), original);
    };

    let server = Server::named(&["PAYROLL"]).on(&container).via(udp(inner.v4));
    let server = server.start_registered(reference);
    let inside = container.interface();
    check(&server, [outer.v4.into(), inner.v4.into()], inside.v4.into(), outer.v4.into());
    server.close();

    let server = Server::named(&["PAYROLL"]).on(&container).bind(inside.v6.into());
    let server = server.via(udp(inner.v6)).start_registered(reference);
    check(&server, [outer.v6.into(), inner.v6.into()], inside.v6.into(), outer.v6.into());
}
