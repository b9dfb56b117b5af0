//! SIGKILL at any instant.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::Revision;
use rpyc_protocol::registry::reply::decode_endpoints;
use rpyc_tests::{Reference, Registrar, Scratch, Server, Transport, Via, notice::notice};

use super::*;

const ROUNDS: u64 = 12;

/// The latest acknowledged registrations, of several rounds, that are looked for after each kill.
const LATEST: usize = 500;

with_each_version! {
    what_a_real_client_registered_is_found_after_a_crash,
}

fn what_a_real_client_registered_is_found_after_a_crash(reference: Reference) {
    let state = Scratch::new();
    let daemon = first(&state);
    let port = daemon.port();
    let via = Via::Udp(daemon.address(Transport::Udp));
    let server = Server::named(&["PAYROLL"]).via(via).start_registered(reference);
    let mut client = Registrar::start(reference, via);
    let there = json!([["127.0.0.1", server.port()]]);
    assert_eq!(client.query("payroll"), there);
    daemon.kill();
    // The server registers once a minute, so this result comes from the store and not from a
    // renewal.
    let daemon = again(port, state.path());
    assert_eq!(client.query("payroll"), there);
    daemon.kill();
    let _daemon = again(port, state.path());
    assert_eq!(client.call("payroll", "pid", &[]), json!(server.pid()));
}

/// Registers until the registry dies, and returns the acknowledged registrations.
fn register_until_death(port: u16, round: u64, of: u16) -> Vec<(String, u16)> {
    let mut acknowledged = Vec::new();
    let Some(mut native) = Native::connect(port) else { return acknowledged };
    for n in 1..u16::MAX {
        let name = format!("R{round}-{of}-{n}");
        let request = json!({"op": "register", "names": [name], "port": n, "addresses": [format!("10.0.{round}.{of}")]});
        match native.try_ask(request) {
            Some(answer) if answer.get("lease").is_some() => acknowledged.push((name, n)),
            Some(answer) => panic!("{answer}"),
            None => break,
        }
    }
    acknowledged
}

/// Queries a service that is always registered until `is_over` is set, and returns the number of
/// replies. Fails if a reply does not contain the service.
fn resolve_all_along(port: u16, is_over: &AtomicBool) -> usize {
    let socket = loopback();
    let query = encoded(&Request::Query { name: "kept" });
    let mut answers = 0;
    while !is_over.load(Ordering::Relaxed) {
        socket.send(&query, udp(port));
        if let Some((reply, _)) = socket.receive(Duration::from_millis(20)) {
            assert_eq!(decode_endpoints(&reply).unwrap().len(), 1, "found turned into not found");
            answers += 1;
        }
    }
    answers
}

fn revision(port: u16) -> Revision {
    let answer = Native::connect(port).unwrap().ask(json!({"op": "ping"}));
    answer["revision"].as_str().unwrap().parse().unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_when_the_registry_is_killed() {
    let seed = std::process::id();
    notice(&format!("tests: kills at instants of seed {seed}"));
    let mut random = u64::from(seed) | 1;
    let state = Scratch::new();
    let daemon = first(&state);
    let port = daemon.port();
    loopback().ask(&register("kept", 1), daemon.address(Transport::Udp));
    let mut daemon = Some(daemon);
    let mut told = revision(port);
    let is_over = AtomicBool::new(false);
    let mut acknowledged = Vec::new();
    thread::scope(|scope| {
        let resolving = scope.spawn(|| resolve_all_along(port, &is_over));
        for round in 1..=ROUNDS {
            // The resolver thread must end even if something here fails.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let clients = [1, 2, 3]
                    .map(|of| thread::spawn(move || register_until_death(port, round, of)));
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // This is the random instant of the kill, not a wait for a state.
                let instant = Instant::now() + Duration::from_micros(random >> 46);
                while Instant::now() < instant {
                    thread::yield_now();
                    let now = revision_of(port);
                    assert!(now.is_none_or(|now| !now.is_before(told)), "{now:?} after {told}");
                    told = now.unwrap_or(told);
                }
                daemon.take().unwrap().kill();
                for client in clients {
                    let of_client = client.join().unwrap();
                    acknowledged.extend(of_client);
                }
                let daemon = daemon.insert(again(port, state.path()));
                let now = revision(port);
                assert!(told.is_before(now), "{now} after {told}, round {round}");
                told = now;
                let socket = loopback();
                socket.ask(&register("kept", 1), udp(port));
                // They do not renew, but their TTL is much longer than all rounds together.
                for (name, at) in acknowledged.iter().rev().take(LATEST) {
                    assert_eq!(found(&socket, daemon, name), [*at], "{name}, round {round}");
                }
            }));
            if let Err(cause) = outcome {
                is_over.store(true, Ordering::Relaxed);
                std::panic::resume_unwind(cause);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(resolving.join().unwrap() > 0, "nobody was ever asked");
    });
    assert!(acknowledged.len() > 100, "only {} were acknowledged", acknowledged.len());
}

fn revision_of(port: u16) -> Option<Revision> {
    let answer = Native::connect(port)?.try_ask(json!({"op": "ping"}))?;
    answer["revision"].as_str()?.parse().ok()
}
