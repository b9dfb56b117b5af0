//! A registry that listens on one address, given with `--host`.

use rpyc_tests::raw::hex;
use rpyc_tests::{Daemon, Lab, Reference, Registrar, Server, Via};
use serde_json::json;

use super::{A_WHILE, PORT, ask_once, everybody, socket_on};
use crate::golden::{EMPTY, QUERY_FOO};

with_each_version! {
    rpyc_without_any_arguments_finds_a_registry_of_one_address,
}

fn rpyc_without_any_arguments_finds_a_registry_of_one_address(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let serving = lab.host("server", &[&office]);
    let asking = lab.host("client", &[&office]);

    let _daemon = Daemon::start_on(&registry, &["--host", &registry.interface().v4.to_string()]);
    let server = Server::named(&["PAYROLL"]).on(&serving).start_registered(reference);
    let mut client = Registrar::start_on(&asking, reference, Via::Default);

    let found = json!([[serving.interface().v4.to_string(), server.port()]]);
    assert_eq!(client.discover("payroll"), Ok(found));
    assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()));
}

#[test]
fn it_answers_broadcasts_on_the_interface_of_its_address_only() {
    let Some(lab) = Lab::or_notice() else { return };
    let (office, warehouse) = (lab.segment(), lab.segment());
    let registry = lab.host("registry", &[&office, &warehouse]);
    let [inner, outer] = registry.interfaces() else { panic!("it is on two segments") };
    let _daemon = Daemon::start_on(&registry, &["--host", &inner.v4.to_string()]);
    let welcome = socket_on(&lab.host("welcome", &[&office]));
    let unheard = socket_on(&lab.host("unheard", &[&warehouse]));

    for to in [everybody(), (outer.broadcast, PORT).into(), (outer.v4, PORT).into()] {
        unheard.send(&hex(QUERY_FOO), to);
    }
    for to in [everybody(), (inner.broadcast, PORT).into(), (inner.v4, PORT).into()] {
        let (reply, source) = ask_once(&welcome, &hex(QUERY_FOO), to);
        assert_eq!((reply, source), (hex(EMPTY), (inner.v4, PORT).into()), "{to}");
    }
    assert_eq!(unheard.receive(A_WHILE), None);
}

#[test]
fn several_addresses_are_served_each_by_itself() {
    let Some(lab) = Lab::or_notice() else { return };
    let (office, warehouse) = (lab.segment(), lab.segment());
    let registry = lab.host("registry", &[&office, &warehouse]);
    let [inner, outer] = registry.interfaces() else { panic!("it is on two segments") };
    let hosts = [inner.v4.to_string(), outer.v4.to_string()];
    let _daemon = Daemon::start_on(&registry, &["--host", &hosts[0], "--host", &hosts[1]]);

    for (segment, interface) in [(&office, inner), (&warehouse, outer)] {
        let socket = socket_on(&lab.host(&format!("asking-{}", interface.name), &[segment]));
        for to in [everybody(), (interface.broadcast, PORT).into(), (interface.v4, PORT).into()] {
            let (reply, source) = ask_once(&socket, &hex(QUERY_FOO), to);
            assert_eq!((reply, source), (hex(EMPTY), (interface.v4, PORT).into()), "{to}");
        }
    }
}
