//! Real RPyC clients with the conformance service, in Rust and in Python.

use std::net::SocketAddr;

use rpyc_tests::process::{Process, Signal};
use rpyc_tests::{Daemon, PATIENCE, Reference, Registrar, Transport, Via, eventually};
use rpyc_tests::{examples, python};
use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Python(Reference),
    Rust,
}

/// A conformance server on a free port.
struct Server {
    process: Process,
    port: u16,
}

impl Server {
    fn start(language: Language, options: &[&str]) -> Self {
        let mut command = match language {
            Language::Python(reference) => examples::python(reference, "conformance_server"),
            Language::Rust => examples::rust("conformance_server"),
        };
        command.args(["--port", "0"]).args(options);
        let process = Process::start("the conformance server", command);
        let port = process.wait_for("address", |lines| {
            lines.iter().find_map(|line| line.rsplit_once(':')?.1.parse().ok())
        });
        Self { process, port }
    }

    /// Runs a script that plays against the server, each part of which must end well.
    fn play(&self, reference: Reference, script: &str, arguments: &[&str]) {
        let port = self.port.to_string();
        let arguments: Vec<_> = ["127.0.0.1", &port].iter().chain(arguments).copied().collect();
        let Value::Object(outcomes) = python::run(reference, None, script, &arguments) else {
            panic!("no outcomes")
        };
        assert!(!outcomes.is_empty());
        let failed: Vec<_> = outcomes.iter().filter(|(_, outcome)| !outcome.is_null()).collect();
        let told = failed
            .iter()
            .map(|(name, outcome)| format!("{name}:\n{}", outcome.as_str().unwrap_or_default()));
        let told: Vec<_> = told.collect();
        assert!(failed.is_empty(), "{}\n{}", told.join("\n"), self.process.stderr());
    }
}

const SCENARIOS: &str = include_str!("../python/conformance.py");
const MISDEEDS: &str = include_str!("../python/hostile.py");

with_each_version! {
    plain_clients_get_on_with_the_rust_service,
    background_serving_clients_get_on_with_the_rust_service,
    thread_binding_clients_get_on_with_the_rust_service,
    plain_clients_get_on_with_the_python_service,
    background_serving_clients_get_on_with_the_python_service,
    misbehaving_clients_harm_nobody_but_themselves,
}

fn plain_clients_get_on_with_the_rust_service(reference: Reference) {
    Server::start(Language::Rust, &[]).play(reference, SCENARIOS, &["plain", "rust"]);
}

fn background_serving_clients_get_on_with_the_rust_service(reference: Reference) {
    Server::start(Language::Rust, &[]).play(reference, SCENARIOS, &["serving", "rust"]);
}

fn thread_binding_clients_get_on_with_the_rust_service(reference: Reference) {
    Server::start(Language::Rust, &[]).play(reference, SCENARIOS, &["bind_threads", "rust"]);
}

fn plain_clients_get_on_with_the_python_service(reference: Reference) {
    let server = Server::start(Language::Python(reference), &[]);
    server.play(reference, SCENARIOS, &["plain", "python"]);
}

fn background_serving_clients_get_on_with_the_python_service(reference: Reference) {
    let server = Server::start(Language::Python(reference), &[]);
    server.play(reference, SCENARIOS, &["serving", "python"]);
}

fn misbehaving_clients_harm_nobody_but_themselves(reference: Reference) {
    Server::start(Language::Rust, &[]).play(reference, MISDEEDS, &[]);
}

#[test]
fn clients_of_all_versions_are_served_side_by_side() {
    let server = Server::start(Language::Rust, &[]);
    std::thread::scope(|scope| {
        for reference in Reference::ALL {
            for mode in ["plain", "bind_threads"] {
                let server = &server;
                scope.spawn(move || server.play(reference, SCENARIOS, &[mode, "rust"]));
            }
        }
    });
}

#[test]
fn the_service_is_found_by_its_name_and_its_alias_until_it_ends() {
    let daemon = Daemon::start(&[]);
    let registry: SocketAddr = daemon.address(Transport::Udp);
    for language in [Language::Rust, Language::Python(Reference::Rpyc6)] {
        let mut server = Server::start(language, &["--registry", &registry.to_string()]);
        let mut asking = Registrar::start(Reference::Rpyc6, Via::Udp(registry));
        for name in ["CONFORMANCE", "conf"] {
            eventually("the service is found", PATIENCE, || {
                (asking.query(name) == json!([["127.0.0.1", server.port]])).then_some(())
            });
        }
        server.process.signal(Signal::SIGINT);
        server.process.wait();
        eventually("the service is found no more", PATIENCE, || {
            (asking.query("CONF") == json!([])).then_some(())
        });
    }
}
