//! The real daemon probes real RPyC servers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use rpyc_tests::process::{Process, Signal};
use rpyc_tests::{Daemon, PATIENCE, Reference, Scratch, Transport, eventually, python};
use serde_json::{Value, json};

with_each_version! {
    a_stopped_server_accepts_but_does_not_answer,
    a_killed_server_fails_until_it_is_restarted,
    a_tls_server_passes_with_any_certificate,
    pings_are_no_trouble_to_a_server,
    the_text_of_an_exception_reaches_logs_and_terminals_escaped,
}

const FAST: &str = "interval=200ms,timeout=2s,failures=2,successes=2";

/// A registry that probes each service with the kind of probe that its name states.
struct Registry {
    daemon: Daemon,
    stream: BufReader<TcpStream>,
}

impl Registry {
    fn start() -> Self {
        let rule = |kind: &str| format!("--probe={kind},service={kind}*,{FAST}");
        Self::with(&[&rule("tcp"), &rule("tls"), &rule("rpyc")])
    }

    fn with(rules: &[&str]) -> Self {
        let daemon = Daemon::start(rules);
        let stream = TcpStream::connect(daemon.address(Transport::Tcp)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { daemon, stream: BufReader::new(stream) }
    }

    fn ask(&mut self, mut request: Value) -> Value {
        request["v"] = json!(1);
        self.stream.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let reply: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(reply["error"], Value::Null, "{request}");
        reply
    }

    /// Registers a server once for each kind of probe in `kinds`, under the name of the kind.
    fn register(&mut self, port: u16, kinds: &[&str]) {
        // An instance has one kind of probe, so each kind needs a separate instance.
        for (kind, last) in kinds.iter().zip(1..) {
            self.ask(json!({
                "op": "register", "names": [kind], "port": port, "ttl_ms": 600_000,
                "addresses": [format!("127.0.0.{last}:{port}")],
            }));
        }
    }

    /// The state of the service of this kind, and the reason for it.
    fn state(&mut self, kind: &str) -> (String, String) {
        let described = self.ask(json!({"op": "describe", "name": kind}));
        let instance = &described["services"][0]["instances"][0];
        let text = |key: &str| instance[key].as_str().unwrap_or_default().to_owned();
        (text("state"), text("why"))
    }

    /// Waits until the service of this kind is in this state, and returns the reason.
    #[track_caller]
    fn wait_for(&mut self, kind: &str, expected: &str) -> String {
        eventually(&format!("{kind} is {expected}"), PATIENCE, || {
            let (state, why) = self.state(kind);
            (state == expected).then_some(why)
        })
    }

    fn counter(&mut self, name: &str) -> u64 {
        self.ask(json!({"op": "status"}))["status"]["probes"][name].as_u64().unwrap()
    }

    /// Waits until `more` further probes have ended, and returns the total of failed probes.
    #[track_caller]
    fn wait_for_probes(&mut self, more: u64) -> u64 {
        let goal = self.counter("done") + more;
        eventually("further probes", PATIENCE, || (self.counter("done") >= goal).then_some(()));
        self.counter("failed")
    }
}

/// Starts a real server on every IPv4 address.
fn serve(reference: Reference, port: u16, more: &[String]) -> (Process, u16) {
    let mut options = vec![format!("--port={port}"), "--host=0.0.0.0".to_owned()];
    options.extend(more.iter().cloned());
    let process = python::script(reference, None, "service.py", &options);
    let port = process.wait_for("READY", |lines| {
        lines.iter().find_map(|line| line.strip_prefix("READY ")?.parse().ok())
    });
    (process, port)
}

fn a_stopped_server_accepts_but_does_not_answer(reference: Reference) {
    let mut registry = Registry::start();
    let (server, port) = serve(reference, 0, &[]);
    registry.register(port, &["tcp", "rpyc"]);
    assert_eq!(registry.wait_for_probes(6), 0);
    server.signal(Signal::SIGSTOP);
    let why = registry.wait_for("rpyc", "failing");
    assert!(why.contains(&format!("no answer to a ping from 127.0.0.2:{port} within 2s")), "{why}");
    assert_eq!(registry.state("tcp").0, "passing", "the system accepts for it");
    server.signal(Signal::SIGCONT);
    registry.wait_for("rpyc", "passing");
}

fn a_killed_server_fails_until_it_is_restarted(reference: Reference) {
    let mut registry = Registry::start();
    let (mut server, port) = serve(reference, 0, &[]);
    registry.register(port, &["tcp", "rpyc"]);
    assert_eq!(registry.wait_for_probes(4), 0);
    server.kill();
    for (kind, address) in [("tcp", "127.0.0.1"), ("rpyc", "127.0.0.2")] {
        let why = registry.wait_for(kind, "failing");
        assert!(why.starts_with(&format!("connection refused by {address}:{port}, ")), "{why}");
        registry.daemon.wait_for_log(&format!("connection refused by {address}:{port}"));
    }
    let (_server, same) = serve(reference, port, &[]);
    assert_eq!(same, port);
    registry.wait_for("tcp", "passing");
    registry.wait_for("rpyc", "passing");
}

fn a_tls_server_passes_with_any_certificate(reference: Reference) {
    let papers = Scratch::new();
    let certified = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let (key, certificate) = (papers.path().join("key.pem"), papers.path().join("crt.pem"));
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    let options =
        [format!("--keyfile={}", key.display()), format!("--certfile={}", certificate.display())];
    let mut registry = Registry::start();
    let (server, port) = serve(reference, 0, &options);
    let (_plain, other) = serve(reference, 0, &[]);
    registry.register(port, &["tls"]);
    registry.register(other, &["tls2"]);
    let why = registry.wait_for("tls2", "failing");
    assert!(why.starts_with(&format!("no TLS handshake with 127.0.0.1:{other}")), "{why}");
    registry.wait_for_probes(3);
    assert_eq!(registry.state("tls").0, "passing");
    server.signal(Signal::SIGSTOP);
    registry.wait_for("tls", "failing");
}

fn pings_are_no_trouble_to_a_server(reference: Reference) {
    let mut registry = Registry::start();
    let (server, port) = serve(reference, 0, &[]);
    registry.register(port, &["rpyc"]);
    assert_eq!(registry.wait_for_probes(10), 0);
    // RPyC 5 logs the first probe, which uses the dialect of RPyC 6. The registry then knows the
    // dialect.
    let complaints = server.stderr().matches("terminated abruptly").count();
    assert_eq!(complaints, usize::from(reference == Reference::Rpyc5), "{}", server.stderr());
    assert_eq!(server.stderr().is_empty(), complaints == 0);
    assert_eq!(registry.counter("unable"), 0);
}

fn the_text_of_an_exception_reaches_logs_and_terminals_escaped(reference: Reference) {
    let server = python::script(reference, None, "raiser.py", &[]);
    let port = server.wait_for("READY", |lines| {
        lines.iter().find_map(|line| line.strip_prefix("READY ").map(str::to_owned))
    });
    // The exception is an answer: it tells the dialect, which is forgotten with each failure. So
    // every other probe passes.
    let rule = "--probe=rpyc,interval=200ms,timeout=2s,failures=1,successes=9";
    let mut registry = Registry::with(&[rule]);
    registry.register(port.parse().unwrap(), &["rpyc"]);
    let why = registry.wait_for("rpyc", "failing");
    assert!(why.contains("hostile\n") && why.contains('\u{1b}'), "the exception is told: {why}");
    registry.daemon.wait_for_log("hostile");
    let log = registry.daemon.log();
    let line = log.lines().find(|line| line.contains("hostile")).unwrap();
    assert!(line.contains("failing") && line.contains("forged\\u{1b}[2J\\u{9b}2J"), "{line}");
    for line in log.lines() {
        assert!(!line.starts_with("2020") && !line.contains(char::is_control), "{line:?}");
    }
    let address = registry.daemon.address(Transport::Tcp);
    let server = format!("127.0.0.1:{port}");
    for args in [
        &["describe", "rpyc"][..],
        &["describe", "rpyc", "-o", "json"],
        &["list", "--wide"],
        &["list", "-o", "json"],
        &["lookup", "rpyc", "-o", "json"],
        &["ping", "rpyc"],
        &["ping", &server, "-o", "json"],
        &["watch", "rpyc"],
    ] {
        let mut command = std::process::Command::new(rpyc_tests::daemon::executable());
        command.args(args).env("RPYC_REGISTRY", format!("tcp://{address}"));
        let shown = match args {
            ["watch", ..] => {
                let watch = Process::start("watch", command);
                watch.wait_for("a change", |lines| {
                    lines.iter().find(|line| line.contains("hostile")).map(ToString::to_string)
                })
            }
            _ => String::from_utf8(command.output().unwrap().stdout).unwrap(),
        };
        // A lookup has no reasons.
        assert!(shown.contains("hostile") || args[0] == "lookup", "{args:?} {shown}");
        let is_raw = |character: char| character.is_control() && character != '\n';
        assert!(!shown.contains(is_raw) && !shown.contains("\n2020"), "{args:?} {shown:?}");
        if args.contains(&"json") {
            serde_json::from_str::<Value>(&shown).unwrap();
        }
    }
}
