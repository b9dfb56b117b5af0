//! Rate limits for other machines and for the registry's own.

use rpyc_tests::raw::hex;
use rpyc_tests::{Daemon, Lab};

use super::{A_WHILE, PORT, socket_on};
use crate::golden::QUERY_FOO;

const OK: &str = "080b4f4b";

/// `REGISTER (("FOO",), port)` for a port of five digits.
fn register(port: u16) -> Vec<u8> {
    let mut request = hex("12080d52505943080e0852454749535445521110080c464f4f1605");
    request.extend(port.to_string().bytes());
    request
}

#[test]
fn a_machine_that_asks_too_often_is_not_answered_but_its_servers_stay_known() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, other) = (lab.host("registry", &[&office]), lab.host("other", &[&office]));
    // A rate so low that no token is refilled during the test.
    let daemon = Daemon::start_on(&registry, &["--max-rate", "5", "-t", "1h"]);
    let to = (registry.interface().v4, PORT).into();
    let socket = socket_on(&other);

    assert_eq!(socket.ask(&register(10_001), to).0, hex(OK));
    let mut answered = 0;
    for _ in 0..100 {
        socket.send(&hex(QUERY_FOO), to);
    }
    while socket.receive(A_WHILE).is_some() {
        answered += 1;
    }
    assert!((4..40).contains(&answered), "{answered} of 100 answered");
    daemon.wait_for_log("requests a second");

    for _ in 0..100 {
        socket.send(&hex(QUERY_FOO), to);
    }
    while socket.receive(A_WHILE).is_some() {}
    for _ in 0..20 {
        socket.send(&hex(QUERY_FOO), to);
    }
    // Renewals have separate tokens, which queries do not consume.
    let renewal = register(10_001);
    socket.send(&renewal, to);
    let mut acknowledged = false;
    while let Some((reply, _)) = socket.receive(A_WHILE) {
        acknowledged |= reply == hex(OK);
    }
    assert!(acknowledged, "a known server was refused its renewal");

    // The registry's own machine is not limited.
    let here = socket_on(&registry);
    for _ in 0..50 {
        here.ask(&hex(QUERY_FOO), to);
    }
}

#[test]
fn a_machine_may_register_so_much_and_no_more() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, other) = (lab.host("registry", &[&office]), lab.host("other", &[&office]));
    let daemon = Daemon::start_on(&registry, &["--max-instances-per-source", "3"]);
    let to = (registry.interface().v4, PORT).into();
    let there = socket_on(&other);
    for port in 10_001..=10_003 {
        assert_eq!(there.ask(&register(port), to).0, hex(OK));
    }
    there.send(&register(10_004), to);
    assert!(there.receive(A_WHILE).is_none(), "the fourth is refused");
    daemon.wait_for_log("the limit of one machine");
    assert_eq!(there.ask(&register(10_002), to).0, hex(OK), "what is known is renewed");
    let here = socket_on(&registry);
    for port in 10_001..=10_009 {
        assert_eq!(here.ask(&register(port), to).0, hex(OK), "this machine is exempt");
    }
}
