//! Requests of a host take effect in the order in which the host sent them.

use rpyc_tests::{Control, Daemon, Host, Lab, Reference, Registry, Settings, Transport, python};
use serde_json::json;

/// The registry's own port.
const PORT: u16 = 18811;

/// Enough rounds to detect, almost certainly, an order that holds by chance in nine rounds of ten.
const ROUNDS: usize = 60;

/// Runs real clients in tight loops, and fails if a request took effect out of order.
#[track_caller]
fn play(reference: Reference, host: Option<&Host>, [first, then]: &[String; 2], load: usize) {
    let (rounds, load) = (ROUNDS.to_string(), load.to_string());
    let arguments = ["--first", first, "--then", then, "--rounds", &rounds, "--load", &load];
    let told = python::run(reference, host, include_str!("../python/order.py"), &arguments);
    assert_eq!(told["failures"], json!({}), "{reference:?}, {first}, then {then}: {told}");
}

/// Runs the clients against a registry on this machine.
#[track_caller]
fn play_here<R: Registry>(registry: &R, reference: Reference, ways: [Transport; 2], load: usize) {
    let way = |transport| match transport {
        Transport::Udp => format!("udp:{}", registry.address(transport)),
        Transport::Tcp => format!("tcp:{}", registry.address(transport)),
    };
    play(reference, None, &ways.map(way), load);
}

const SAME: [[Transport; 2]; 2] = [[Transport::Udp; 2], [Transport::Tcp; 2]];
const MIXED: [[Transport; 2]; 2] =
    [[Transport::Udp, Transport::Tcp], [Transport::Tcp, Transport::Udp]];

with_each_version! {
    changes_of_a_host_take_effect_in_order,
    changes_of_a_host_take_effect_in_order_under_load,
    changes_over_two_transports_come_after_what_was_acknowledged,
}

fn changes_of_a_host_take_effect_in_order(reference: Reference) {
    for ways in SAME {
        // Four sockets, whatever the number of cores.
        play_here(&Daemon::start(&["--udp-sockets", "4"]), reference, ways, 0);
        play_here(&Control::start(Settings::default()), reference, ways, 0);
    }
}

fn changes_of_a_host_take_effect_in_order_under_load(reference: Reference) {
    for ways in SAME {
        play_here(&Daemon::start(&["--udp-sockets", "4"]), reference, ways, 3);
    }
}

/// RPyC's own registry is not tested here: it serves one transport.
fn changes_over_two_transports_come_after_what_was_acknowledged(reference: Reference) {
    for ways in MIXED {
        play_here(&Daemon::start(&["--udp-sockets", "4"]), reference, ways, 2);
    }
}

#[test]
fn changes_by_broadcast_and_to_an_address_take_effect_in_order() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, asking) = (lab.host("registry", &[&office]), lab.host("asking", &[&office]));
    let own = registry.interface().v4.to_string();
    for arguments in [vec!["--udp-sockets", "4"], vec!["--udp-sockets", "4", "--host", &own]] {
        let _daemon = Daemon::start_on(&registry, &arguments);
        for reference in Reference::ALL {
            for ways in [["255.255.255.255", &own], [&own, "255.255.255.255"]] {
                let ways = ways.map(|host| format!("udp:{host}:{PORT}"));
                play(reference, Some(&asking), &ways, 0);
            }
        }
    }
}
