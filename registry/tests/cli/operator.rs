//! The commands of operators.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::daemon::{Daemon, check, run, wait_until};

/// Sends a native request.
pub(crate) fn ask(daemon: &Daemon, mut request: Value) -> Value {
    request["v"] = 1.into();
    let mut stream = TcpStream::connect(daemon.registry()).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let reply: Value = serde_json::from_str(&line).unwrap();
    assert!(reply["error"].is_null(), "{request}: {reply}");
    reply
}

/// Registers with details; returns the number of the instance.
pub(crate) fn register(daemon: &Daemon, names: &[&str], port: u16, more: &Value) -> u64 {
    let mut request = json!({"op": "register", "names": names, "port": port, "ttl_ms": 3_600_000});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ask(daemon, request)["lease"]["instance"].as_u64().unwrap()
}

#[test]
fn lists_are_filtered_by_the_details_of_instances() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    register(&daemon, &["payroll"], 1, &json!({"tags": ["gpu", "big"], "zone": "eu"}));
    register(&daemon, &["payroll", "pay"], 2, &json!({"tags": ["gpu"], "meta": {"os": "linux"}}));
    let third = register(&daemon, &["web"], 3, &json!({"weight": 7}));
    check(&["drain", "--instance", &third.to_string(), "--registry", &daemon.operators()], 0);
    let ports = |args: &[&str]| {
        let args = [&["list", "-o", "json", "--registry", &registry], args].concat();
        let document: Value = serde_json::from_str(&check(&args, 0).0).unwrap();
        let services = document["services"].as_array().unwrap().iter();
        let instances = services.flat_map(|it| it["instances"].as_array().unwrap());
        instances.map(|it| it["port"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for (args, expected) in [
        (&[][..], vec![1, 2, 2, 3]),
        (&["pay"], vec![2]),
        (&["PAY*"], vec![1, 2, 2]),
        (&["?eb"], vec![3]),
        (&["--tag", "gpu"], vec![1, 2, 2]),
        (&["--tag", "gpu", "--tag", "big"], vec![1]),
        (&["--zone", "eu"], vec![1]),
        (&["--meta", "os=linux", "pay*l"], vec![2]),
        (&["--state", "draining"], vec![3]),
        (&["--state", "passing", "--state", "draining"], vec![1, 2, 2, 3]),
        (&["--host", "127.0.0.1", "w*"], vec![3]),
    ] {
        assert_eq!(ports(args), expected, "{args:?}");
    }
    let (out, hint) = check(&["list", "nosuch*", "--registry", &registry], 0);
    assert!(out.is_empty() && hint.contains("no registered service matches"), "{out}{hint}");
}

#[test]
fn a_wide_list_shows_the_state_of_each_instance_and_its_reason() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    register(&daemon, &["payroll"], 1, &json!({}));
    register(&daemon, &["payroll"], 2, &json!({"tags": ["b", "a"], "zone": "eu", "weight": 5}));
    check(&["drain", "payroll", "127.0.0.1:2", "--registry", &daemon.operators()], 0);
    let (list, _) = check(&["list", "--registry", &registry], 0);
    assert_eq!(list, "NAME     INSTANCES  STATES\nPAYROLL  2          1 passing, 1 draining\n");
    let (wide, _) = check(&["list", "--wide", "--registry", &registry], 0);
    let rows: Vec<_> = wide.lines().collect();
    assert!(
        rows[0]
            .split_whitespace()
            .collect::<Vec<_>>()
            .ends_with(&["WHY", "TAGS", "ZONE", "WEIGHT"]),
        "{wide}"
    );
    assert!(rows[1].contains("127.0.0.1:1  passing "), "{wide}");
    assert!(rows[2].contains("127.0.0.1:2  draining "), "{wide}");
    assert!(rows[2].contains("drained by an operator"), "{wide}");
    assert!(rows[2].ends_with("  a,b   eu    5"), "{wide}");
}

#[test]
fn one_instance_is_described_in_full() {
    let allowed = ["192.0.2.3", "2001:db8::3"].map(|it| format!("--addresses-from=127.0.0.1={it}"));
    let daemon = Daemon::start(&[&allowed[0], &allowed[1]]);
    let registry = daemon.registry();
    let details = json!({
        "addresses": ["192.0.2.3", "[2001:db8::3]:9"], "tags": ["gpu"], "zone": "eu", "weight": 2,
        "meta": {"os": "linux", "evil\u{1b}": "a\nb\u{202e}"},
    });
    let id = register(&daemon, &["payroll", "pay"], 18861, &details).to_string();
    check(&["register", "old", "--port", "5", "--once", "--registry", &registry], 0);
    check(&["drain", "--instance", &id, "--registry", &daemon.operators()], 0);
    let (shown, _) = check(&["describe", "payroll", "--registry", &registry], 0);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = shown.lines().map(words).collect();
    for expected in [
        "PAYROLL 1 instance: 1 draining",
        "192.0.2.3:18861 draining: drained by an operator, until an operator undrains it",
        &format!("id {id}"),
        "also at [2001:db8::3]:9",
        "lease 1h left of 1h unless it renews",
        "tags gpu",
        "zone eu",
        "weight 2",
        "meta evil\\u{1b} = a\\nb\\u{202e}",
        "os = linux",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}\n{shown}");
    }
    let (shown, _) = check(&["describe", "--instance", &id, "--registry", &registry], 0);
    assert!(shown.contains("PAYROLL") && shown.contains("\nPAY "), "{shown}");
    let (shown, _) = check(&["describe", "old", "127.0.0.1", "--registry", &registry], 0);
    assert!(shown.contains("by RPyC's protocol"), "{shown}");
    let json = ["describe", "pay", "-o", "json", "--registry", &registry];
    let document: Value = serde_json::from_str(&check(&json, 0).0).unwrap();
    let instance = &document["services"][0]["instances"][0];
    assert_eq!(instance["state"], "draining");
    assert_eq!(instance["ttl_ms"], 3_600_000);
    assert_eq!(instance["addresses"], json!(["[2001:db8::3]:9"]));
    let (_, error) = check(&["describe", "nosuch", "--registry", &registry], 1);
    assert!(error.contains("NOSUCH is not registered at") && error.contains(&registry), "{error}");
}

#[test]
fn an_operator_drains_undrains_and_ends() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    register(&daemon, &["a"], 1, &json!({}));
    let second = register(&daemon, &["a"], 2, &json!({})).to_string();
    let found = || {
        let output = run(&["lookup", "a", "--registry", &registry]);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut found: Vec<_> = text.lines().map(str::to_owned).collect();
        found.sort_unstable();
        found
    };
    let operators = daemon.operators();
    let tell = |args: &[&str]| check(&[args, &["--registry", &operators]].concat(), 0).0;
    let said = tell(&["drain", "A", "127.0.0.1:1"]);
    assert!(said.starts_with("drained 1 instance (A at 127.0.0.1:1)"), "{said}");
    assert_eq!(found(), ["127.0.0.1:2"]);
    let said = tell(&["drain", "a", "127.0.0.1:1"]);
    assert!(said.contains("is already draining"), "{said}");
    assert!(tell(&["undrain", "a"]).contains("1 instance"));
    assert_eq!(found(), ["127.0.0.1:1", "127.0.0.1:2"]);
    let said = tell(&["deregister", "--instance", &second, "-o", "json"]);
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document[0]["changed"], 1);
    assert_eq!(found(), ["127.0.0.1:1"]);
    tell(&["deregister", "a"]);
    assert!(found().is_empty());
    for verb in ["drain", "undrain", "deregister"] {
        let (_, error) = check(&[verb, "a", "--registry", &operators], 1);
        assert!(error.contains("A is not registered") && error.contains(&operators), "{error}");
    }
}

#[test]
fn the_list_and_the_status_show_suspects_and_release_expires_them() {
    let daemon = Daemon::start(&["--protect-min", "3", "--evictions-per-sweep", "9"]);
    let registry = daemon.registry();
    for port in 1..=5 {
        ask(&daemon, json!({"op": "register", "names": ["a"], "port": port, "ttl_ms": 2_000}));
    }
    register(&daemon, &["b"], 6, &json!({}));
    let list = || check(&["list", "--wide", "--registry", &registry], 0).0;
    let mut seen = String::new();
    let of_a = |list: &str| list.lines().filter(|line| line.starts_with("A ")).count();
    // A single expired lease is not protected, so the first may be gone.
    wait_until("suspect", || {
        seen = list();
        seen.matches(" suspect ").count() == of_a(&seen)
    });
    assert!(of_a(&seen) >= 4, "{seen}");
    assert!(seen.contains("overdue by") && seen.contains("too many leases"), "{seen}");
    // The next steps must finish within the further two seconds for which the suspects are kept.
    let (status, _) = check(&["status", "--registry", &registry], 0);
    let (released, _) = check(&["release", "a", "--registry", &daemon.operators()], 0);
    assert!(status.contains("protected ") && status.contains("  suspect"), "{status}");
    assert!(released.starts_with("expired ") && released.contains(" of A at "), "{released}");
    assert!(!list().contains("suspect"), "{}", list());
    let (released, _) = check(&["release", "--registry", &daemon.operators()], 0);
    assert!(released.starts_with("no overdue registration is protected at "), "{released}");
}

#[test]
fn a_change_without_an_answer_may_have_taken_effect() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    for verb in [
        &["drain", "a"][..],
        &["undrain", "a"],
        &["deregister", "a"],
        &["release"],
        &["register", "a", "--port", "1", "--once"],
        &["unregister", "--port", "1"],
    ] {
        let args = [verb, &["--timeout", "100ms", "--registry", &silent]].concat();
        let (_, error) = check(&args, 1);
        assert!(error.contains(&silent) && error.contains("may have taken effect"), "{error}");
    }
    let args = ["drain", "a", "-o", "json", "--timeout", "100ms", "--registry", &silent];
    let outcomes: Value = serde_json::from_str(&check(&args, 1).0).unwrap();
    assert_eq!(outcomes[0]["may_have_run"], true);
}

#[test]
fn a_port_that_is_no_single_word_is_refused_and_never_printed_for_scripts() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    let native = |port: &str| {
        let request = json!({"v": 1, "op": "register", "names": ["x"], "port": port});
        let mut stream = TcpStream::connect(&registry).unwrap();
        stream.write_all(format!("{request}\n").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["error"]["code"].clone()
    };
    for port in ["4444 -e /bin/sh", "/run/a b.sock", "x.sock", "/run/\u{7}.sock", "/run/x\u{a0}y"] {
        assert_eq!(native(port), "bad_request", "{port:?}");
    }
    assert_eq!(native("/run/x.sock"), Value::Null);
    // Servers in Python register any path; one with spaces is for them alone.
    let legacy = |port: &str| {
        let names = [rpyc_protocol::ServiceName::new("x").unwrap()];
        let names = rpyc_protocol::registry::Names::from(&names[..]);
        let port = rpyc_protocol::registry::Port::path(port).unwrap();
        let mut request = Vec::new();
        let register = rpyc_protocol::registry::Request::Register { names, port };
        register.encode(&mut request).unwrap();
        let mut stream = TcpStream::connect(&registry).unwrap();
        stream.write_all(&request).unwrap();
        let mut reply = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut reply).unwrap();
        !reply.is_empty()
    };
    assert!(legacy("x.sock") && legacy("/run/a b.sock") && legacy("/run/$(id)"));
    assert!(!legacy("4444 -e /bin/sh") && !legacy("/run/x\ny"));
    let (found, skipped) = check(&["lookup", "x", "--registry", &registry], 0);
    let mut found: Vec<_> = found.lines().collect();
    found.sort_unstable();
    assert_eq!(found, ["127.0.0.1:/run/x.sock", "127.0.0.1:x.sock"]);
    assert!(skipped.contains("left out 2 addresses"), "{skipped}");
    let (all, _) = check(&["lookup", "x", "-o", "json", "--registry", &registry], 0);
    assert!(all.contains("/run/a b.sock"), "{all}");
    let (_, error) = check(&["register", "x", "--port", "4444 -e /bin/sh", "--once"], 2);
    assert!(error.contains("path of a unix socket"), "{error}");
}

#[test]
fn status_shows_contents_and_store() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.registry();
    register(&daemon, &["a", "b"], 1, &json!({}));
    let (status, _) = check(&["status", "--registry", &registry], 0);
    for expected in
        [registry.as_str(), "store         file", "services      2", "1, under 2 names", "passing"]
    {
        assert!(status.contains(expected), "{expected}\n{status}");
    }
    let json = ["status", "-o", "json", "--registry", &registry];
    let document: Value = serde_json::from_str(&check(&json, 0).0).unwrap();
    assert_eq!(document["instances"], 1);
    assert_eq!(document["states"]["passing"], 2);
    assert!(document["revision"].as_str().unwrap().contains(':'), "{document}");
}

#[test]
fn an_operator_request_goes_to_each_registry() {
    let (one, two) = (Daemon::start(&[]), Daemon::start(&[]));
    let both = format!("{},{}", one.operators(), two.operators());
    for daemon in [&one, &two] {
        register(daemon, &["a"], 1, &json!({}));
    }
    let (said, _) = check(&["drain", "a", "--registry", &both], 0);
    assert_eq!(said.lines().count(), 2, "{said}");
    for daemon in [&one, &two] {
        let (list, _) = check(&["list", "--registry", &daemon.registry()], 0);
        assert!(list.contains("1 draining"), "{list}");
    }
    // A registry that is down is one, and named in every form of the output.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let with_dead = format!("{free},{}", one.operators());
    for verb in ["undrain", "drain", "undrain"] {
        let (said, error) = check(&[verb, "a", "--registry", &with_dead], 1);
        assert!(said.contains(&one.operators()) && error.contains(&free), "{said}{error}");
    }
    let json = ["drain", "a", "-o", "json", "--registry", &with_dead];
    let outcomes: Value = serde_json::from_str(&check(&json, 1).0).unwrap();
    assert!(outcomes[0]["error"].as_str().unwrap().contains("nothing listens"), "{outcomes}");
    assert_eq!((&outcomes[0]["may_have_run"], &outcomes[1]["changed"]), (&json!(false), &json!(1)));
    let (_, error) = check(&["release", "--registry", &with_dead], 1);
    assert!(error.contains(&free), "{error}");
    // A registry without the instance is not a failure, but the output names it.
    register(&one, &["b"], 2, &json!({}));
    let (said, warned) = check(&["drain", "b", "--registry", &both], 0);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(warned.contains(&two.operators()), "{warned}");
}
