//! More results than a reply of RPyC's protocol can hold: RPyC's clients read a part, the Rust
//! clients read all of them.

use std::collections::BTreeSet;
use std::process::Command;

use rpyc_client::{Port, Registrar as RustRegistrar, RegistryAddr, Resolver, ServiceName};
use rpyc_tests::{Daemon, Transport, daemon};
use serde_json::Value;

use super::Case;
use crate::embedded::at;

scenarios! { ours:
    what_rpycs_clients_cannot_read_is_counted_and_logged,
}

const INSTANCES: u16 = 500;
const NAMES: usize = 600;

fn names() -> Vec<ServiceName> {
    let name = |n| ServiceName::new(&format!("SERVICE-WITH-A-LONG-NAME-{n:03}")).unwrap();
    (0..NAMES).map(name).collect()
}

fn addr(daemon: &Daemon, transport: Transport) -> RegistryAddr {
    let of_client = match transport {
        Transport::Udp => rpyc_client::Transport::Udp,
        Transport::Tcp => rpyc_client::Transport::Tcp,
    };
    at(of_client, daemon.address(transport).port())
}

/// Registers many instances of one name, and many names.
fn crowd(daemon: &Daemon) {
    let registrar = RustRegistrar::new(addr(daemon, Transport::Udp).into());
    crate::rpc::run(async {
        let names_of_each = [ServiceName::new("FOO").unwrap()];
        for port in 20_000..20_000 + INSTANCES {
            registrar.register(&names_of_each, &Port::tcp(port).unwrap()).await.unwrap();
        }
        for (port, some) in (30_000..).zip(names().chunks(50)) {
            registrar.register(some, &Port::tcp(port).unwrap()).await.unwrap();
        }
    });
}

/// Runs the command line and returns its output.
fn run(registry: &RegistryAddr, args: &[&str]) -> String {
    let mut command = Command::new(daemon::executable());
    let output = command.args(args).args(["--registry", &registry.to_string()]).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn count(daemon: &Daemon) -> u64 {
    let status = run(&addr(daemon, Transport::Udp), &["status", "-o", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    status["counters"]["answers-cut"].as_u64().unwrap()
}

fn what_rpycs_clients_cannot_read_is_counted_and_logged(case: Case) {
    let daemon = Daemon::start(&["--listing"]);
    crowd(&daemon);
    let mut client = case.client(&daemon);
    assert_eq!(client.query("service-with-a-long-name-007").as_array().unwrap().len(), 1);
    assert_eq!(count(&daemon), 0);

    let found = client.query("foo").as_array().unwrap().len();
    assert!((50..100).contains(&found), "{found}");
    assert_eq!(count(&daemon), 1);
    daemon.wait_for_log(&format!("service=\"FOO\" returned={found} of={INSTANCES} count=1"));
    let listed = client.list(None).unwrap().as_array().unwrap().len();
    assert!((40..NAMES).contains(&listed), "{listed}");
    daemon.wait_for_log(&format!("returned={listed} of={} count=1", NAMES + 1));
    client.query("foo");
    assert_eq!(count(&daemon), 3);
    let cut = daemon.log().lines().filter(|line| line.contains("RPyC clients left out")).count();
    assert_eq!(cut, 2, "each is logged once an hour:\n{}", daemon.log());
    let status = run(&addr(&daemon, Transport::Udp), &["status"]);
    assert!(status.contains("answers cut   3 (RPyC's clients cannot read more;"), "{status}");
}

fn ports<'a>(found: impl Iterator<Item = &'a Port>) -> BTreeSet<String> {
    found.map(ToString::to_string).collect()
}

fn all_are_found(transport: Transport) {
    let daemon = Daemon::start(&["--listing"]);
    crowd(&daemon);
    let registry = addr(&daemon, transport);
    let all: BTreeSet<_> = (20_000..20_000 + INSTANCES).map(|port: u16| port.to_string()).collect();
    let mut all_names: Vec<_> = names().iter().map(ToString::to_string).collect();
    all_names.insert(0, "FOO".to_owned());

    let shown = run(&registry, &["list", "-o", "name"]);
    assert_eq!(shown.lines().collect::<Vec<_>>(), all_names);
    assert_eq!(run(&registry, &["list", "--wide"]).lines().count(), 1 + NAMES + all.len());
    for args in [&["lookup", "foo"][..], &["lookup", "foo", "-o", "name"]] {
        let found = run(&registry, args);
        let found: BTreeSet<_> =
            found.lines().map(|line| line.strip_prefix("127.0.0.1:").unwrap().to_owned()).collect();
        assert_eq!(found, all, "{args:?}");
    }
    let found: Value =
        serde_json::from_str(&run(&registry, &["lookup", "foo", "-o", "json"])).unwrap();
    assert_eq!(found["instances"].as_array().unwrap().len(), all.len());

    crate::rpc::run(async {
        let (name, registrar) =
            (ServiceName::new("foo").unwrap(), RustRegistrar::new(registry.clone().into()));
        let mut first = BTreeSet::new();
        // The second query already knows that the registry supports the native encoding.
        for _ in 0..2 {
            let found = registrar.discover(&name).await.unwrap();
            assert_eq!(ports(found.iter().map(|it| &it.port)), all);
            assert_eq!(found.len(), all.len(), "each is told once");
            first.insert(found[0].port.to_string());
            assert_eq!(registrar.list(None).await.unwrap(), all_names);
            assert_eq!(registrar.list(Some("127.0.0.1")).await.unwrap(), all_names);
        }
        assert_eq!(first.len(), 2, "each is first in turn");
        let instances = registrar.resolve(&name).await.unwrap();
        assert_eq!(ports(instances.iter().map(|it| &it.endpoint.port)), all);
        let services = registrar.services(None).await.unwrap().services;
        assert_eq!(services.len(), all_names.len());
        assert_eq!(services[0].instances.len(), all.len());
        let resolver = Resolver::builder(registry.clone()).build();
        let known = resolver.resolve("foo").await.unwrap();
        assert_eq!(ports(known.instances.iter().map(|it| &it.endpoint.port)), all);
    });
}

#[test]
fn the_command_line_and_the_rust_client_find_all_over_udp() {
    all_are_found(Transport::Udp);
}

#[test]
fn the_command_line_and_the_rust_client_find_all_over_tcp() {
    all_are_found(Transport::Tcp);
}

/// Both query in the native encoding, and in RPyC's only if that gets no reply.
#[test]
fn a_resolver_and_the_list_of_the_command_line_are_never_answered_in_part() {
    let daemon = Daemon::start(&["--listing"]);
    crowd(&daemon);
    for transport in [Transport::Udp, Transport::Tcp] {
        let registry = addr(&daemon, transport);
        crate::rpc::run(async {
            let resolver = Resolver::builder(registry.clone()).build();
            resolver.resolve("foo").await.unwrap();
        });
        run(&registry, &["list"]);
        run(&registry, &["lookup", "foo", "-o", "json"]);
    }
    assert_eq!(count(&daemon), 0);
}
