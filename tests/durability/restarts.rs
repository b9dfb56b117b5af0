//! Registries that restart often: what stays, what leaves, and what watchers learn.

use std::time::{Duration, Instant};

use super::*;

/// Registers in RPyC's own protocol.
fn announce(daemon: &Daemon, names: &[&str], port: u16) {
    let names: Vec<_> = names.iter().map(|name| ServiceName::new(name).unwrap()).collect();
    let (names, port) = (Names::from(&names[..]), Port::tcp(port).unwrap());
    loopback().ask(&encoded(&Request::Register { names, port }), daemon.address(Transport::Udp));
}

/// Lets the registry run for a while. This is the time that is counted, not a wait for a state.
fn run_for(time: Duration) {
    std::thread::sleep(time);
}

/// Kills every second registry, and lets the others shut down.
fn end(daemon: Daemon, restart: u32) {
    if restart.is_multiple_of(2) {
        daemon.kill();
    } else {
        assert!(daemon.terminate().success());
    }
}

#[test]
fn a_crash_loop_forgets_nobody() {
    let state = Scratch::new();
    let daemon = first(&state);
    let port = daemon.port();
    announce(&daemon, &["a"], 1);
    let mut native = Native::connect(port).unwrap();
    assert!(
        native.ask(json!({"op": "register", "names": ["a"], "port": 2})).get("lease").is_some()
    );
    let mut daemon = Some(daemon);
    for restart in 0..8 {
        end(daemon.take().unwrap(), restart);
        let daemon = daemon.insert(again(port, state.path()));
        assert_eq!(found(&loopback(), daemon, "a"), [1, 2], "restart {restart}");
    }
}

#[test]
fn a_name_that_its_server_dropped_leaves_while_the_registry_restarts() {
    const TTL: Duration = Duration::from_secs(4);
    const RUN: Duration = Duration::from_millis(1500);
    let state = Scratch::new();
    let start = |port| Daemon::restart(port, state.path(), &["--timeout", "4s"]);
    let daemon = start(lasting_port());
    let port = daemon.port();
    announce(&daemon, &["old", "new"], 1);
    let begun = Instant::now();
    let mut daemon = Some(daemon);
    let mut has_left = false;
    for restart in 0..12 {
        end(daemon.take().unwrap(), restart);
        let daemon = daemon.insert(start(port));
        assert_eq!(found(&loopback(), daemon, "new"), [1], "restart {restart}");
        has_left = found(&loopback(), daemon, "old").is_empty();
        if has_left {
            break;
        }
        announce(daemon, &["new"], 1);
        run_for(RUN);
    }
    assert!(has_left, "it is still there after {:?}", begun.elapsed());
    // The first of the runs ends at once, and a kill may lose an eighth of a run.
    assert!(begun.elapsed() >= TTL, "too early: {:?}", begun.elapsed());
}

#[test]
fn a_watch_that_resumes_learns_what_restarts_have_dropped() {
    let state = Scratch::new();
    let daemon = first(&state);
    let port = daemon.port();
    let mut native = Native::connect(port).unwrap();
    let request = json!({"op": "register", "names": ["a"], "port": 1, "ttl_ms": 2000});
    assert!(native.ask(request).get("lease").is_some());
    let since = native.ask(json!({"op": "ping"}))["revision"].clone();
    let mut daemon = Some(daemon);
    let gone = (0..20).any(|_| {
        assert!(daemon.take().unwrap().terminate().success());
        let daemon = daemon.insert(again(port, state.path()));
        run_for(Duration::from_millis(600));
        found(&loopback(), daemon, "a").is_empty()
    });
    assert!(gone, "2 s have passed");
    assert!(daemon.take().unwrap().terminate().success());
    let _daemon = again(port, state.path());
    let mut native = Native::connect(port).unwrap();
    let event = native.ask(json!({"op": "watch", "glob": "a", "since": since}));
    assert_eq!(event["event"]["kind"], "reset", "{event}");
}

#[test]
fn numbers_of_instances_rise_through_every_end() {
    let state = Scratch::new();
    let daemon = first(&state);
    let port = daemon.port();
    let mut daemon = Some(daemon);
    let mut last = 0;
    for restart in 0..6 {
        let mut native = Native::connect(port).unwrap();
        for _ in 0..40 {
            let lease =
                native.ask(json!({"op": "register", "names": ["a"], "port": 1}))["lease"].clone();
            let id = lease["instance"].as_u64().unwrap();
            assert!(id > last, "{id} after {last}, restart {restart}");
            last = id;
            native.ask(json!({"op": "deregister", "lease": lease["lease"]}));
        }
        end(daemon.take().unwrap(), restart);
        daemon = Some(again(port, state.path()));
    }
}
