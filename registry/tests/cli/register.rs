//! Registering with a lease, and with details besides names and a port.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::Stdio;

use serde_json::{Value, json};

use super::daemon::{Daemon, check, command, run, wait_until};

fn described(registry: &str, name: &str) -> Option<Value> {
    let output = run(&["describe", name, "-o", "json", "--registry", registry]);
    let document: Value = serde_json::from_slice(&output.stdout).ok()?;
    document["services"][0]["instances"].get(0).cloned()
}

#[test]
fn what_is_told_is_described_and_ends_with_its_owner_alone() {
    let daemon = Daemon::start(&["--addresses-from", "127.0.0.1=203.0.113.3"]);
    let registry = daemon.registry();
    let mut args = vec!["register", "web", "--port", "8080", "--registry", &registry];
    args.extend(["--tag", "b", "--tag", "a", "--meta", "os=linux", "--weight", "3"]);
    args.extend(["--zone", "eu", "--ttl", "30s", "--address", "203.0.113.3", "--protocol", "http"]);
    let mut owner = command(&args).stderr(Stdio::null()).spawn().unwrap();
    let mut seen = None;
    wait_until("registered", || {
        seen = described(&registry, "web");
        seen.is_some()
    });
    let seen = seen.unwrap();
    assert_eq!(seen["tags"], json!(["a", "b"]));
    assert_eq!(seen["meta"], json!({"os": "linux"}));
    assert_eq!((&seen["weight"], &seen["zone"]), (&json!(3), &json!("eu")));
    assert_eq!((&seen["host"], &seen["protocol"]), (&json!("203.0.113.3"), &json!("http")));
    assert_eq!((&seen["ttl_ms"], &seen["legacy"]), (&json!(30_000), &json!(false)));
    check(&["unregister", "--port", "8080", "--registry", &registry], 0);
    assert!(described(&registry, "web").is_some(), "it has an owner");
    let pid = owner.id().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(owner.wait().unwrap().code(), Some(0));
    assert!(described(&registry, "web").is_none(), "given back before it ends");
}

#[test]
fn a_lease_is_renewed_and_begun_again_when_the_registry_has_forgotten_it() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let args = ["register", "web", "--port", "8080", "--ttl", "2s", "--registry", &registry];
    let mut owner = command(&args).stderr(Stdio::null()).spawn().unwrap();
    let id = || described(&registry, "web").and_then(|it| it["id"].as_u64());
    wait_until("registered", || id().is_some());
    let first = id();
    wait_until("older than its lease", || {
        described(&registry, "web").unwrap()["age_ms"].as_u64().unwrap() > 2_500
    });
    assert_eq!(id(), first, "renewed");
    check(&["deregister", "web", "--registry", &daemon.operators()], 0);
    wait_until("registered again", || id().is_some_and(|id| Some(id) != first));
    owner.kill().unwrap();
    owner.wait().unwrap();
}

/// It knows neither the lease nor the key of the process before it.
#[test]
fn a_server_that_was_killed_comes_back_at_once_under_its_port() {
    let daemon = Daemon::start(&[]);
    let udp = daemon.registry();
    for registry in [udp.clone(), format!("tcp://{}", udp.trim_start_matches("udp://"))] {
        let args = ["register", "web", "--port", "8080", "--registry", &registry];
        let start = || command(&args).stderr(Stdio::null()).spawn().unwrap();
        let id = || described(&registry, "web").and_then(|it| it["id"].as_u64());
        let mut first = start();
        wait_until("registered", || id().is_some());
        let old = id();
        first.kill().unwrap();
        first.wait().unwrap();
        let mut second = start();
        wait_until("back", || id() != old);
        let output = run(&["describe", "web", "-o", "json", "--registry", &registry]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["services"][0]["instances"].as_array().unwrap().len(), 1);
        // Its lease is its own: the registration ends with it.
        let pid = second.id().to_string();
        assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
        assert_eq!(second.wait().unwrap().code(), Some(0));
        assert_eq!(id(), None);
    }
}

/// One datagram, as any program can send it, against the daemon itself.
#[test]
fn a_datagram_without_a_cookie_changes_nothing_native() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let args = ["register", "web", "--port", "8080", "--registry", &registry];
    let mut owner = command(&args).stderr(Stdio::null()).spawn().unwrap();
    wait_until("registered", || described(&registry, "web").is_some());
    let before = described(&registry, "web").unwrap();
    let (socket, mut buffer) = (UdpSocket::bind("127.0.0.1:0").unwrap(), [0; 2000]);
    socket.connect(("127.0.0.1", daemon.port())).unwrap();
    for change in [
        json!({"v": 1, "op": "register", "names": ["web"], "port": 8080, "key": "other"}),
        json!({"v": 1, "op": "drain", "name": "web"}),
        json!({"v": 1, "op": "deregister", "name": "web"}),
    ] {
        socket.send(change.to_string().as_bytes()).unwrap();
        let len = socket.recv(&mut buffer).unwrap();
        let reply: Value = serde_json::from_slice(&buffer[..len]).unwrap();
        assert_eq!(reply["error"]["code"], "cookie_required", "{change}");
    }
    let after = described(&registry, "web").unwrap();
    assert_eq!((&after["id"], &after["state"]), (&before["id"], &before["state"]));
    owner.kill().unwrap();
    owner.wait().unwrap();
}

#[test]
fn the_lease_that_was_granted_is_printed() {
    let daemon = Daemon::start(&["--max-ttl", "1h"]);
    let registry = daemon.registry();
    let args = ["register", "web", "--port", "1", "--once", "--registry", &registry, "--ttl"];
    let (said, _) = check(&[&args[..], &["100d"]].concat(), 0);
    assert!(said.contains("with a TTL of 1h (asked for 3months"), "{said}");
    let (said, _) = check(&[&args[..], &["30s"]].concat(), 0);
    assert!(said.trim_end().ends_with("with a TTL of 30s"), "{said}");
    let args = ["register", "web", "--port", "2", "--ttl", "100d", "--registry", &registry];
    let mut owner = command(&args).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(owner.stderr.take().unwrap()).read_line(&mut line).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(line.contains("with a TTL of 1h (asked for"), "{line}");
}

#[test]
fn an_exclusive_name_is_refused_to_the_second() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let register = |port, more: &[&str]| {
        let args = ["--registry", &registry, "register", "lead", "--exclusive", "--port", port];
        [&args, more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let check =
        |args: Vec<String>, code| check(&args.iter().map(String::as_str).collect::<Vec<_>>(), code);
    let (said, _) = check(register("1", &["--once"]), 0);
    assert!(said.contains("registered LEAD"), "{said}");
    for more in [&["--once"][..], &[], &["--", "sleep", "1000"]] {
        let (_, error) = check(register("2", more), 1);
        assert!(error.contains("LEAD is already served by 127.0.0.1 port 1"), "{error}");
    }
}

#[test]
fn nobody_promises_that_a_name_is_held_alone_without_an_answer() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (_, error) =
        check(&["register", "a", "--port", "1", "--exclusive", "--once", "--registry", &silent], 1);
    assert!(error.contains(&silent), "{error}");
}
