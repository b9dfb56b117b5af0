//! Broadcasts, by which RPyC finds its registry without configuration.

use rpyc_tests::raw::hex;
use rpyc_tests::{Daemon, Lab, PATIENCE, Reference, Registrar, Server, Via, eventually};
use serde_json::json;

use super::{PORT, ask_once, everybody, socket_on};
use crate::golden::{EMPTY, QUERY_FOO};

with_each_version! {
    rpyc_without_any_arguments_finds_the_registry,
    programs_beside_the_registry_find_it_as_well,
}

fn rpyc_without_any_arguments_finds_the_registry(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let registry = lab.host("registry", &[&office]);
    let serving = lab.host("server", &[&office]);
    let asking = lab.host("client", &[&office]);

    let _daemon = Daemon::start_on(&registry, &[]);
    let server = Server::named(&["PAYROLL", "WAGES"]).on(&serving).start_registered(reference);
    let mut client = Registrar::start_on(&asking, reference, Via::Default);

    let found = json!([[serving.interface().v4.to_string(), server.port()]]);
    assert_eq!(client.discover("payroll"), Ok(found.clone()));
    assert_eq!(client.discover("wages"), Ok(found));
    assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()));

    server.close();
    eventually("the closed server is gone", PATIENCE, || {
        (client.query("payroll") == json!([])).then_some(())
    });
}

fn programs_beside_the_registry_find_it_as_well(reference: Reference) {
    let Some(lab) = Lab::or_notice() else { return };
    let host = lab.host("only", &[&lab.segment()]);

    let _daemon = Daemon::start_on(&host, &[]);
    let server = Server::named(&["PAYROLL"]).on(&host).start_registered(reference);
    let mut client = Registrar::start_on(&host, reference, Via::Default);

    assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()));
}

#[test]
fn a_broadcast_is_answered_once_by_the_interface_that_heard_it() {
    let Some(lab) = Lab::or_notice() else { return };
    let (office, warehouse) = (lab.segment(), lab.segment());
    let registry = lab.host("registry", &[&office, &warehouse]);
    let _daemon = Daemon::start_on(&registry, &[]);

    for (segment, interface) in [&office, &warehouse].into_iter().zip(registry.interfaces()) {
        let asking = lab.host(&format!("asking-{}", interface.name), &[segment]);
        let socket = socket_on(&asking);
        for to in [everybody(), (interface.broadcast, PORT).into()] {
            let (reply, source) = ask_once(&socket, &hex(QUERY_FOO), to);
            assert_eq!(reply, hex(EMPTY), "{to}");
            assert_eq!(source, (interface.v4, PORT).into(), "{to}");
        }
    }
}
