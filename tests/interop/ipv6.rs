//! IPv6 on loopback, which the daemon serves on the same port by default.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rpyc_tests::raw::{ask_tcp, hex};
use rpyc_tests::{Daemon, PATIENCE, Reference, Registrar, Server, Via, eventually};
use serde_json::json;

use crate::golden::{OK, QUERY_FOO, REGISTER_FOO};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

with_each_version! {
    a_server_over_ipv6_is_found_called_and_unregistered,
    who_asks_over_one_family_finds_servers_of_the_other,
}

#[test]
fn tcp_is_served_over_ipv6_as_well() {
    let registry = Daemon::start(&[]);
    let address = (V6, registry.port()).into();
    assert_eq!(ask_tcp(&hex(REGISTER_FOO), address), hex(OK));
    assert_eq!(ask_tcp(&hex(QUERY_FOO), address), hex("1011080c3a3a3116053138383631"));
}

fn a_server_over_ipv6_is_found_called_and_unregistered(reference: Reference) {
    let registry = Daemon::start(&[]);
    let via = Via::Udp((V6, registry.port()).into());
    let server = Server::named(&["PAYROLL"]).bind(V6).via(via).start_registered(reference);
    let mut client = Registrar::start(reference, via);

    assert_eq!(client.query("payroll"), json!([["::1", server.port()]]));
    // RPyC's connect_by_service itself connects over IPv4 only.
    let pid = client.ask(&json!(["call_at", "::1", server.port(), true, "pid"]));
    assert_eq!(pid, json!(server.pid()));

    server.close();
    eventually("the closed server is gone", PATIENCE, || {
        (client.query("payroll") == json!([])).then_some(())
    });
}

fn who_asks_over_one_family_finds_servers_of_the_other(reference: Reference) {
    let registry = Daemon::start(&[]);
    let over = |ip| Via::Udp((ip, registry.port()).into());
    for (serving, asking) in [(V4, V6), (V6, V4)] {
        let name = format!("SERVES-{serving}");
        let server = Server::named(&[&name]).bind(serving).via(over(serving));
        let server = server.start_registered(reference);
        let mut client = Registrar::start(reference, over(asking));
        assert_eq!(client.query(&name), json!([[serving.to_string(), server.port()]]));
    }
}
