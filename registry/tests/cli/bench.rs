//! The load generator: its counts, and the registrations that it leaves behind.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rpyc_protocol::Limits;
use rpyc_protocol::registry::{Request, reply};
use serde_json::Value;

use super::daemon::{Daemon, check, command, run, wait_until};

/// Runs the generator briefly and returns its JSON output.
fn bench(registry: &str, args: &[&str], code: i32) -> Value {
    let all = [&["bench", registry, "-d", "200ms", "-o", "json"], args].concat();
    let (document, _) = check(&all, code);
    serde_json::from_str(&document).unwrap()
}

fn names(registry: &str) -> Vec<String> {
    let (listed, _) = check(&["list", "-o", "name", "--registry", registry], 0);
    listed.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_all_answered(requests: &Value) {
    assert!(requests["sent"].as_u64().unwrap() > 0, "{requests}");
    assert_eq!(requests["sent"], requests["answered"], "{requests}");
    assert_eq!((requests["lost"].as_u64(), requests["wrong"].as_u64()), (Some(0), Some(0)));
    let percentiles = ["p50_us", "p90_us", "p99_us", "p99.9_us", "max_us"];
    let latencies = percentiles.map(|key| requests[key].as_f64().unwrap());
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{requests}");
}

#[test]
fn every_kind_of_request_is_answered_and_nothing_is_left_registered() {
    let daemon = Daemon::start(&["--host", "127.0.0.1"]);
    let registry = daemon.registry();
    let mix = ["--mix", "query=5,register=4,list=1", "--instances", "300", "--names", "40"];
    let told = bench(&registry, &mix, 0);
    for kind in ["query", "register", "list", "all"] {
        assert_all_answered(&told["requests"][kind]);
    }
    for what in ["registered", "unregistered"] {
        assert_eq!(told[what]["instances"], 300, "{told}");
    }
    assert_eq!(names(&registry), [""; 0]);
    let (table, _) = check(&["bench", &registry, "-d", "50ms", "--threads", "2"], 0);
    assert!(table.contains("registered 1000 instances of 200 names on 16 hosts in "), "{table}");
    assert!(table.contains("P99.9") && table.contains("\nunregistered 1000 instances"), "{table}");
}

#[test]
fn what_is_kept_can_be_asked_again() {
    let daemon = Daemon::start(&["--host", "127.0.0.1"]);
    let registry = daemon.registry();
    let people = ["--instances", "20", "--hosts", "2", "--prefix", "load", "--keep"];
    let (told, _) = check(&[&["bench", &registry, "-d", "0"], &people[..]].concat(), 0);
    assert!(told.starts_with("registered 20 instances of 4 names on 2 hosts in "), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    // Several sockets register, so the order varies.
    let mut there = names(&registry);
    there.sort();
    assert_eq!(there, ["LOAD-0", "LOAD-1", "LOAD-2", "LOAD-3"]);
    let (lookup, _) = check(&["lookup", "load-3", "--registry", &registry], 0);
    assert_eq!(lookup.lines().count(), 5, "{lookup}");
    assert!(lookup.lines().all(|line| line.starts_with("127.64.0.2:")), "{lookup}");
    // The rate determines the number of requests, even if none is answered.
    let args = [&["--registered", "--rate", "1000", "--mix", "query=1"], &people[..]].concat();
    let told = bench(&registry, &args, 0);
    assert_all_answered(&told["requests"]["query"]);
    assert_eq!(told["requests"]["query"]["sent"], 200);
    assert_eq!((told.get("registered"), told.get("unregistered")), (None, None));
}

#[test]
fn an_interrupted_run_tells_what_it_has_and_unregisters() {
    let daemon = Daemon::start(&["--host", "127.0.0.1"]);
    let registry = daemon.registry();
    let mut bench =
        command(&["bench", &registry, "-d", "1h", "--instances", "10", "--rate", "100"]);
    let child = bench.stdout(Stdio::piped()).spawn().unwrap();
    wait_until("registered", || names(&registry).len() == 2);
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("unregistered 10 instances"), "{told}");
    assert_eq!(names(&registry), [""; 0]);
}

/// A registry for one test, which chooses its answers.
fn registry_that(
    answer: impl Fn(Request<'_>) -> Option<&'static [u8]> + Sync,
    during: impl FnOnce(&str),
) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut message = [0; 2048];
            while !is_over.load(Ordering::Relaxed) {
                let (len, from) = match socket.recv_from(&mut message) {
                    Ok(received) => received,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => panic!("{error}"),
                };
                let request = Request::decode(&message[..len], &Limits::REQUEST).unwrap();
                if let Some(told) = answer(request) {
                    socket.send_to(told, from).unwrap();
                }
            }
        });
        // Ends the thread even if the test fails.
        let during = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| during(&address)));
        is_over.store(true, Ordering::Relaxed);
        during.unwrap();
    });
}

#[test]
fn an_answer_that_is_not_what_was_registered_is_wrong() {
    const NOBODY: &[u8] = b"\x02";
    let answer = |request: Request<'_>| match request {
        Request::Query { .. } => Some(NOBODY),
        _ => Some(reply::ACKNOWLEDGEMENT),
    };
    registry_that(answer, |address| {
        let output = run(&["bench", address, "-d", "100ms", "-o", "json", "--mix", "query=1"]);
        assert_eq!(output.status.code(), Some(1));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let queries = &told["requests"]["query"];
        assert!(queries["answered"].as_u64() > Some(0), "{told}");
        assert_eq!(queries["answered"], queries["wrong"]);
        assert!(queries["p50_us"].is_null(), "a wrong answer has no latency");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("answers were wrong"), "{error}");
    });
}

#[test]
fn what_is_lost_is_counted_and_told_again() {
    let (asked, dropped) = (AtomicU64::new(0), AtomicU64::new(0));
    // Drops one in fifty: of the first hundred requests, which register, and of all later ones.
    let answer = |_: Request<'_>| {
        let is_dropped = asked.fetch_add(1, Ordering::Relaxed) % 50 == 10;
        dropped.fetch_add(u64::from(is_dropped), Ordering::Relaxed);
        (!is_dropped).then_some(reply::ACKNOWLEDGEMENT)
    };
    registry_that(answer, |address| {
        let mix = ["--mix", "register=1", "--rate", "2000", "--timeout", "100ms"];
        let told = bench(address, &[&mix[..], &["--instances", "100"]].concat(), 0);
        let renewals = &told["requests"]["register"];
        let count = |value: &Value| value.as_u64().unwrap();
        let again =
            [&told["registered"], &told["unregistered"]].map(|it| count(&it["asked_again"]));
        assert!(count(&renewals["lost"]) > 0 && again[0] > 0, "{told}");
        assert_eq!(
            count(&renewals["sent"]),
            count(&renewals["answered"]) + count(&renewals["lost"])
        );
        let lost = count(&renewals["lost"]) + again[0] + again[1];
        assert_eq!(lost, dropped.load(Ordering::Relaxed), "{told}");
        assert_eq!(told["registered"]["instances"], 100);
    });
}

#[test]
fn a_registry_that_is_silent_is_told_so() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (_, error) = check(&["bench", &address, "--timeout", "20ms"], 1);
    assert!(error.contains("does not answer: 0 of 1000"), "{error}");
    drop(silent);
    let (_, error) = check(&["bench", &address, "--timeout", "20ms"], 1);
    assert!(error.contains("does not answer"), "{error}");
}

#[test]
fn only_one_registry_is_put_under_load() {
    for args in [
        &["255.255.255.255"][..],
        &["239.0.0.1"],
        &["0.0.0.0"],
        &["[ff05::1:5]"],
        &["tcp://127.0.0.1"],
        &["127.0.0.1", "--registry", "127.0.0.1"],
        &["192.0.2.1", "--hosts", "2"],
        &["127.0.0.1", "--first-host", "10.0.0.1"],
        &["127.0.0.1", "--first-host", "127.255.255.250"],
    ] {
        let (_, error) = check(&[&["bench"], args].concat(), 2);
        assert!(error.starts_with("rpyc-registry: "), "{args:?}: {error}");
    }
    for args in [&[][..], &["127.0.0.1", "--mix", "query=0"], &["127.0.0.1", "--registered"]] {
        check(&[&["bench"], args].concat(), 2);
    }
}
