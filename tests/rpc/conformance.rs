//! Real RPyC clients against the conformance service, in Rust and in Python.

use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use rpyc_client::{Connection, Local, Parcel, RemoteObject, args, kwargs};
use rpyc_tests::process::{Process, Signal};
use rpyc_tests::{Daemon, PATIENCE, Reference, Registrar, Transport, Via, eventually};
use rpyc_tests::{conformance, python};
use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Python(Reference),
    Rust,
}

/// A conformance server on a free port.
pub(super) struct Server {
    pub(super) process: Process,
    pub(super) port: u16,
}

impl Server {
    pub(super) fn start(language: Language, options: &[&str]) -> Self {
        let mut command = match language {
            Language::Python(reference) => conformance::python(reference),
            Language::Rust => conformance::rust(),
        };
        command.args(["--port", "0"]).args(options);
        Self::run(command)
    }

    pub(super) fn run(command: Command) -> Self {
        let process = Process::start("the conformance server", command);
        let port = process.wait_for("address", |lines| {
            lines.iter().find_map(|line| line.rsplit_once(':')?.1.parse().ok())
        });
        Self { process, port }
    }

    /// Runs a script of scenarios against the server, and fails if one of them fails.
    pub(super) fn play(&self, reference: Reference, script: &str, arguments: &[&str]) {
        let failed = failures(reference, self.port, script, arguments);
        let told: Vec<_> = failed.iter().map(|(name, why)| format!("{name}:\n{why}")).collect();
        assert!(failed.is_empty(), "{}\n{}", told.join("\n"), self.process.stderr());
    }
}

/// Runs a script of scenarios against a server, and returns the failed ones with their reasons.
pub(super) fn failures(
    reference: Reference,
    port: u16,
    script: &str,
    arguments: &[&str],
) -> Vec<(String, String)> {
    let port = port.to_string();
    let arguments: Vec<_> = ["127.0.0.1", &port].iter().chain(arguments).copied().collect();
    let Value::Object(outcomes) = python::run(reference, None, script, &arguments) else {
        panic!("no outcomes")
    };
    assert!(!outcomes.is_empty());
    // A text is a failure; other outcomes are `null` or measurements.
    let failed = outcomes.into_iter().filter(|(_, outcome)| outcome.is_string());
    failed.map(|(name, why)| (name, why.as_str().unwrap_or_default().to_owned())).collect()
}

pub(super) const SCENARIOS: &str = include_str!("../python/conformance.py");

with_each_version! {
    plain_clients_get_on_with_the_rust_service,
    background_serving_clients_get_on_with_the_rust_service,
    thread_binding_clients_get_on_with_the_rust_service,
    plain_clients_get_on_with_the_python_service,
    background_serving_clients_get_on_with_the_python_service,
    thread_binding_clients_get_on_with_the_python_service,
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

fn thread_binding_clients_get_on_with_the_python_service(reference: Reference) {
    let server = Server::start(Language::Python(reference), &["--bind-threads"]);
    server.play(reference, SCENARIOS, &["bind_threads", "python"]);
}

#[test]
fn rust_clients_get_on_with_the_service_in_every_language() {
    let python = Reference::ALL.map(Language::Python);
    let bound = python.map(|language| (language, &["--bind-threads"][..]));
    let plain = python.into_iter().chain([Language::Rust]).map(|language| (language, &[][..]));
    for (language, options) in plain.chain(bound) {
        let server = Server::start(language, options);
        super::run(async {
            let address = format!("127.0.0.1:{}", server.port);
            let connection = Connection::builder().connect(&address).await.unwrap();
            let root = connection.root().await.unwrap();
            tokio::time::timeout(PATIENCE, play_in_rust(&root, language)).await.unwrap();
            connection.close().await;
        });
    }
}

/// The scenarios of the Python script, written as a Rust program.
async fn play_in_rust(root: &RemoteObject, language: Language) {
    assert_eq!(root.call::<i128>("add", args![i64::MAX, 1]).await.unwrap(), 1 << 63);
    assert_eq!(root.call::<f64>("add", kwargs! { b: 0.5, a: 1 }).await.unwrap(), 1.5);
    let error = root.call::<()>("fail", args!["KeyError", "who"]).await.unwrap_err();
    assert!(error.is("KeyError") && error.remote().unwrap().message() == Some("who"));
    assert!(root.call::<()>("stop", ()).await.unwrap_err().is("StopIteration"));
    for name in ["hidden", "_private", "__dict__"] {
        assert!(root.call::<()>(name, ()).await.unwrap_err().is("AttributeError"), "{name}");
    }
    let mine = Local::function(|args| async move {
        let (left, right): (i64, i64) = args.parse()?;
        Ok(left - right)
    });
    assert!(root.call::<Local>("echo", args![mine]).await.unwrap().is_same(&mine));
    assert_eq!(root.call::<i64>("apply", args![mine, 7, 5]).await.unwrap(), 2);

    let counter: RemoteObject = root.call("counter", args![3]).await.unwrap();
    assert!(root.call::<RemoteObject>("echo", args![counter]).await.unwrap().is_same(&counter));
    assert_eq!(counter.call::<i64>("inc", kwargs! { by: 2 }).await.unwrap(), 5);
    counter.set_attr("value", 4).await.unwrap();
    assert_eq!(counter.attr::<i64>("value").await.unwrap(), 4);
    assert_eq!(counter.len().await.unwrap(), 4);
    assert_eq!(counter.to_vec::<i64>().await.unwrap(), [0, 1, 2, 3]);
    assert!(counter.item::<i64>(4).await.unwrap_err().is("IndexError"));
    let same: RemoteObject = root.call("counter", args![4]).await.unwrap();
    assert_eq!(counter.hash().await.unwrap(), same.hash().await.unwrap());
    assert_eq!(counter.compare(rpyc_client::Comparison::Eq, same).await.unwrap(), Some(true));
    assert_eq!(counter.str().await.unwrap(), "counter at 4");
    assert_eq!(counter.repr().await.unwrap(), "Counter(4)");
    assert!(counter.enter::<RemoteObject>().await.unwrap().is_same(&counter));
    assert_eq!(counter.attr::<i64>("value").await.unwrap(), 104);
    counter.exit().await.unwrap();
    assert_eq!(counter.attr::<i64>("value").await.unwrap(), 4);
    drop(counter);
    while root.call::<usize>("live", ()).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        // RPyC's own server holds the frames of the last exception until the next one.
        root.call::<()>("stop", ()).await.unwrap_err();
    }

    let numbers: RemoteObject = root.call("numbers", args![3000]).await.unwrap();
    assert_eq!(numbers.to_vec::<usize>().await.unwrap(), (0..3000).collect::<Vec<_>>());
    let table: RemoteObject = root.call("table", ()).await.unwrap();
    assert_eq!(table.repr().await.unwrap(), "[1, 'two', {'three': 3}]");
    assert_eq!(table.len().await.unwrap(), 3);
    assert_eq!(table.item::<String>(-2).await.unwrap(), "two");
    let doubled: RemoteObject = table.call("__mul__", args![2]).await.unwrap();
    assert_eq!(doubled.len().await.unwrap(), 6);
    let content: (i64, String, std::collections::HashMap<String, i64>) =
        table.fetch().await.unwrap();
    assert_eq!((content.0, &*content.1, content.2.get("three")), (1, "two", Some(&3)));
    let payload: Parcel = root.call("payload", args![100_000]).await.unwrap();
    assert_eq!(payload.parse::<Vec<u8>>().unwrap(), [0xa5; 100_000]);
    assert_eq!(root.call::<String>("whoami", ()).await.unwrap(), "127.0.0.1");

    let (heard, hear) = tokio::sync::oneshot::channel();
    let heard = Mutex::new(Some(heard));
    let listener = Local::function(move |args| {
        let heard = heard.lock().unwrap().take();
        async move {
            let (word,): (String,) = args.parse()?;
            Ok(heard.is_some_and(|heard| heard.send(word).is_ok()))
        }
    });
    root.call::<()>("later", args![listener, 0.05]).await.unwrap();
    assert_eq!(hear.await.unwrap(), "late");

    let slow = root.call::<()>("sleep", args![0.2]);
    let (slow, sum) = tokio::join!(slow.into_future(), async {
        let sum: i64 = root.call("add", args![20, 22]).await.unwrap();
        sum
    });
    slow.unwrap();
    assert_eq!(sum, 42);
    if language == Language::Rust {
        assert_eq!(root.call::<String>("get_service_name", ()).await.unwrap(), "CONFORMANCE");
    }
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
