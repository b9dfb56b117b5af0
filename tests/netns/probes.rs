//! The addresses that the registry probes, and the requests that wait for a probe.

use std::net::SocketAddr;

use rpyc_tests::raw::Datagrams;
use rpyc_tests::{Daemon, Host, Lab, PATIENCE, eventually};
use serde_json::{Value, json};

use super::{PORT, socket_on};

const PROBE: &str = "--probe=tcp,interval=100ms,timeout=500ms,failures=2";

/// Sends a native request, padded to allow a reply of any length.
fn send(socket: &Datagrams, registry: SocketAddr, mut request: Value) {
    request["v"] = json!(1);
    socket.send(format!("{:<600}", request.to_string()).as_bytes(), registry);
}

fn receive(socket: &Datagrams) -> Value {
    let (reply, _) = socket.receive(PATIENCE).expect("a reply");
    serde_json::from_slice(&reply).unwrap()
}

/// Asks, and repeats a change with the cookie that the registry sends.
fn ask(socket: &Datagrams, registry: SocketAddr, mut request: Value) -> Value {
    send(socket, registry, request.clone());
    let mut reply = receive(socket);
    if reply["error"]["code"] == "cookie_required" {
        request["cookie"] = reply["cookie"].clone();
        send(socket, registry, request);
        reply = receive(socket);
    }
    assert_eq!(reply["error"], Value::Null);
    reply
}

/// The number of TCP segments that a host has received, accepted or not.
fn segments_received(host: &Host) -> u64 {
    let counters = host.enter(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap());
    let mut lines = counters.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut both = names.split(' ').zip(values.split(' '));
    both.find(|(name, _)| *name == "InSegs").unwrap().1.parse().unwrap()
}

#[test]
fn nothing_but_what_belongs_to_the_registrant_is_ever_connected_to() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, serving) = (lab.host("registry", &[&office]), lab.host("server", &[&office]));
    let bystander = lab.host("bystander", &[&office]);
    let [v4, v6] = [bystander.interface().v4.to_string(), bystander.interface().v6.to_string()];
    let own = serving.interface().v4.to_string();
    let daemon_at = (registry.interface().v4, PORT).into();
    let register = |name: &str| {
        json!({
            "op": "register", "names": [name], "port": 22, "ttl_ms": 600_000,
            "addresses": [&v4, &v6, &own, "10.77.1.1:1"],
        })
    };
    let socket = socket_on(&serving);
    let here = Datagrams::bind_on(&registry, ([127, 0, 0, 1], 0).into());
    let here_at = ([127, 0, 0, 1], PORT).into();
    let wait_for_probes = || {
        eventually("five probes", PATIENCE, || {
            let status = ask(&here, here_at, json!({"op": "status"}));
            (status["status"]["probes"]["done"].as_u64().unwrap() >= 5).then_some(())
        });
    };

    // It may announce the addresses of others, but that makes the registry connect to none.
    let grants = ["10.77.1.0/24", "fd77:1::/64"].map(|it| format!("--addresses-from={own}={it}"));
    let daemon = Daemon::start_on(&registry, &[PROBE, &grants[0], &grants[1]]);
    let lease = ask(&socket, daemon_at, register("a"));
    let unreachable = lease["lease"]["unreachable"].as_str().unwrap();
    assert_eq!(unreachable, format!("connection refused by {own}:22"));
    wait_for_probes();
    let listed = ask(&here, here_at, json!({"op": "describe", "name": "a"}));
    let why = listed["services"][0]["instances"][0]["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with(&format!("connection refused by {own}:22")), "{why}");
    assert!(segments_received(&serving) > 0);
    assert_eq!(segments_received(&bystander), 0);
    // The registry did not probe its own machine either: its loopback would have refused the
    // connection.
    assert_eq!(segments_received(&registry), segments_received(&serving));
    drop(daemon);

    // The control: an allowed probe shows in the same counter.
    let allow = [format!("--probe-allow={v4}/32"), format!("--probe-allow={v6}/128")];
    let _daemon =
        Daemon::start_on(&registry, &[PROBE, &grants[0], &grants[1], &allow[0], &allow[1]]);
    ask(&socket, daemon_at, register("a"));
    wait_for_probes();
    assert!(segments_received(&bystander) > 0);
}

#[test]
fn a_registrant_waits_for_an_address_that_does_not_answer_and_nobody_else_does() {
    let Some(lab) = Lab::or_notice() else { return };
    let office = lab.segment();
    let (registry, serving) = (lab.host("registry", &[&office]), lab.host("server", &[&office]));
    let other = lab.host("other", &[&office]);
    let daemon_at = (registry.interface().v4, PORT).into();
    let allow = ["--probe-allow=10.77.1.0/24", "--addresses-from=10.77.1.0/24=10.77.1.250"];
    let _daemon = Daemon::start_on(&registry, &[PROBE, allow[0], allow[1]]);
    let (waiting, other) = (socket_on(&serving), socket_on(&other));
    // No host has this address.
    let absent = "10.77.1.250:1";
    let cookie = ask(&waiting, daemon_at, json!({"op": "ping"}))["cookie"].clone();
    let register = json!({"op": "register", "names": ["a"], "port": 1, "addresses": [absent],
        "id": 7, "cookie": cookie});
    send(&waiting, daemon_at, register);
    eventually("it is registered", PATIENCE, || {
        let resolved = ask(&other, daemon_at, json!({"op": "resolve", "name": "a"}));
        (!resolved["services"].as_array().unwrap().is_empty()).then_some(())
    });
    for _ in 0..100 {
        ask(&other, daemon_at, json!({"op": "ping"}));
    }
    assert!(waiting.receive(std::time::Duration::from_millis(1)).is_none(), "it waits");
    let told = receive(&waiting);
    assert_eq!((&told["id"], &told["error"]), (&json!(7), &Value::Null));
    let why = told["lease"]["unreachable"].as_str().unwrap();
    assert_eq!(why, format!("no connection to {absent} within 1s"));
}
