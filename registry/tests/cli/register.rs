//! Registering with a lease, and with details besides names and a port.

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
    let daemon = Daemon::start(&[]);
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
