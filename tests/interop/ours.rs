//! Behaviour that RPyC's own registry lacks or gets wrong.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rpyc_tests::raw::{Datagrams, ask_tcp, hex};
use rpyc_tests::{Daemon, PATIENCE, Transport, eventually};
use serde_json::{Value, json};

use super::{Case, sorted};
use crate::golden::{EMPTY, OK, QUERY_FOO, REGISTER_FOO, SERVER};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

scenarios! { ours:
    two_hundred_instances_are_all_reachable,
    the_first_place_goes_round,
    a_list_too_long_for_one_reply_is_told_in_turns,
    a_dead_name_leaves_the_list_without_a_query,
    living_servers_outlast_a_pause_of_the_registry,
}

fn two_hundred_instances_are_all_reachable(case: Case) {
    let registry = Daemon::start(&[]);
    let mut client = case.client(&registry);
    let all: BTreeSet<u64> = (20_001..=20_200).collect();
    for &port in &all {
        assert!(client.register(&["foo"], port));
    }

    let reply = raw_query(case.transport, &registry);
    assert!((1400..=largest_reply(case.transport)).contains(&reply.len()), "{}", reply.len());

    // A truncated reply makes RPyC raise an exception or return a port that is not in `all`. The
    // registry rotates the first endpoint, so as many queries as instances return each of them.
    let mut unseen = all.clone();
    for _ in 0..all.len() {
        let found = ports(&client.query("foo"));
        assert!(found.is_subset(&all), "{:?}", found.difference(&all));
        unseen.retain(|port| !found.contains(port));
    }
    assert_eq!(unseen, BTreeSet::new());
}

fn ports(found: &Value) -> BTreeSet<u64> {
    found.as_array().unwrap().iter().map(|server| server[1].as_u64().unwrap()).collect()
}

/// The largest UDP payload without IPv4 fragmentation, or the most that RPyC's TCP client reads.
fn largest_reply(transport: Transport) -> usize {
    match transport {
        Transport::Udp => 1472,
        Transport::Tcp => 1500,
    }
}

fn raw_query(transport: Transport, registry: &Daemon) -> Vec<u8> {
    let address = registry.address(transport);
    match transport {
        Transport::Udp => {
            let socket = Datagrams::bind(LOOPBACK);
            socket.ask(&hex(QUERY_FOO), address).0
        }
        Transport::Tcp => ask_tcp(&hex(QUERY_FOO), address),
    }
}

fn the_first_place_goes_round(case: Case) {
    let registry = Daemon::start(&[]);
    let mut client = case.client(&registry);
    for port in [20_001, 20_002, 20_003] {
        assert!(client.register(&["PAYROLL"], port));
    }
    let all = json!([["127.0.0.1", 20_001], ["127.0.0.1", 20_002], ["127.0.0.1", 20_003]]);

    let mut first_places = BTreeSet::new();
    for _ in 0..60 {
        let found = client.query("payroll");
        assert_eq!(sorted(&found), sorted(&all), "each of them is told each time");
        first_places.insert(found[0].to_string());
    }
    assert_eq!(Vec::from_iter(first_places), sorted(&all));
}

fn a_list_too_long_for_one_reply_is_told_in_turns(case: Case) {
    let registry = Daemon::start(&["--listing"]);
    let mut client = case.client(&registry);
    let names: Vec<String> = (0..600).map(|n| format!("SERVICE-WITH-A-LONG-NAME-{n:03}")).collect();
    for (port, some) in (20_001..).zip(names.chunks(50)) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        assert!(client.register(&some, port));
    }

    let mut unseen = BTreeSet::from_iter(sorted(&json!(names)));
    for _ in 0..names.len() {
        let told = sorted(&client.list(None).unwrap());
        assert!(told.len() < names.len(), "they do not fit");
        unseen.retain(|name| !told.contains(name));
        if unseen.is_empty() {
            return;
        }
    }
    panic!("never told: {unseen:?}");
}

fn a_dead_name_leaves_the_list_without_a_query(case: Case) {
    let registry = Daemon::start(&["--listing", "--timeout", "2"]);
    let mut client = case.client(&registry);
    assert!(client.register(&["PAYROLL"], 20_001));
    assert_eq!(client.list(None), Ok(json!(["PAYROLL"])));

    eventually("the list is empty", PATIENCE, || {
        (client.list(None) == Ok(json!([]))).then_some(())
    });
}

fn living_servers_outlast_a_pause_of_the_registry(case: Case) {
    let registry = Daemon::start(&["--timeout", "3"]);
    let renewing = case.options(&registry, &["PAYROLL"]).renewing_every(Duration::from_secs(1));
    let server = renewing.start_registered(case.reference);
    let mut client = case.client(&registry);

    registry.pause();
    // The server waits two seconds for each reply and one before the next attempt. Two refusals
    // take longer than the timeout.
    server.wait_for_refusals(2);
    registry.resume();

    assert_eq!(client.query("payroll"), json!([["127.0.0.1", server.port()]]));
    assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()));
}

#[test]
fn a_pause_is_not_held_against_a_lease() {
    let timeout = Duration::from_secs(2);
    let registry = Daemon::start(&["--timeout", "2"]);
    let address = registry.address(Transport::Udp);
    let socket = Datagrams::bind(LOOPBACK);
    assert_eq!(socket.ask(&hex(REGISTER_FOO), address).0, hex(OK));

    // This is not a wait for a state: the test needs a pause of this length.
    registry.pause();
    std::thread::sleep(timeout + Duration::from_secs(1));
    // This query arrives before the registry can read its clock.
    socket.send(&hex(QUERY_FOO), address);
    registry.resume();

    assert_eq!(socket.receive(PATIENCE).unwrap().0, hex(SERVER));
    eventually("it expires all the same", timeout + PATIENCE, || {
        (socket.ask(&hex(QUERY_FOO), address).0 == hex(EMPTY)).then_some(())
    });
}
