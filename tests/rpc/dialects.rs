//! A server whose dialect is known receives one connection and logs no error.

use std::process::{Command, Output};

use rpyc_client::{Connection, Registrar, Registries, ServiceName, args};
use rpyc_tests::{Daemon, PATIENCE, Reference, Transport, daemon, eventually, examples};

use super::{Python, run};

with_each_version! {
    a_one_shot_server_is_reached_from_the_command_line_by_its_dialect,
    a_one_shot_server_is_reached_from_a_program_by_its_dialect,
    an_example_finds_a_one_shot_server_with_the_dialect_of_the_environment,
    a_threaded_server_of_a_known_dialect_sees_one_connection_and_logs_nothing,
    a_ping_touches_nothing_but_ping,
}

fn digit(reference: Reference) -> &'static str {
    match reference {
        Reference::Rpyc5 => "5",
        Reference::Rpyc6 => "6",
    }
}

/// Runs the command line without a registry.
fn command_line(words: &[&str]) -> Output {
    let mut command = Command::new(daemon::executable());
    command.args(words).env("RPYC_REGISTRY", "127.0.0.1:1").env_remove("RPYC_DIALECT");
    command.output().unwrap()
}

fn one_shot(reference: Reference) -> Python {
    Python::start(reference, &["--server=oneshot"])
}

/// Registers a server as PAYROLL.
fn register(registry: &str, server: &Python) {
    let port = server.address.rsplit(':').next().unwrap();
    let words = ["register", "payroll", "--once", "--registry", registry, "--port", port];
    let registered = command_line(&words);
    assert!(registered.status.success(), "{registered:?}");
}

/// Stops a server and returns the number of its clients and its log.
fn epilogue(mut server: Python) -> (usize, String) {
    server.process.close_stdin();
    server.process.wait();
    let connections = server.process.stdout().lines().filter(|it| *it == "CONNECTED").count();
    (connections, server.process.stderr())
}

fn a_one_shot_server_is_reached_from_the_command_line_by_its_dialect(reference: Reference) {
    let dialect = digit(reference);
    for verb in [&["call"][..], &["ping"], &["inspect"]] {
        let method: &[&str] =
            if *verb == ["call"] { &["get_salary", "Mertz", "David"] } else { &[] };
        let server = one_shot(reference);
        let by_switch = [verb, &[&server.address], method, &["--dialect", dialect]].concat();
        let said = command_line(&by_switch);
        assert!(said.status.success(), "{by_switch:?} {said:?}");

        let server = one_shot(reference);
        let address = format!("{}?dialect={dialect}", server.address);
        let said = command_line(&[verb, &[&address], method].concat());
        assert!(said.status.success(), "{verb:?} {said:?}");
    }
}

fn a_one_shot_server_is_reached_from_a_program_by_its_dialect(reference: Reference) {
    let dialect = digit(reference);
    run(async {
        let server = one_shot(reference);
        let address = format!("{}?dialect={dialect}", server.address);
        let root = rpyc_client::connect(&address).await.unwrap().root().await.unwrap();
        assert_eq!(root.call::<i64>("echo", args![7]).await.unwrap(), 7);

        let server = one_shot(reference);
        let builder = Connection::builder().try_first(dialect.parse().unwrap());
        let root = server.connect_with(builder).await.root().await.unwrap();
        assert_eq!(root.call::<i64>("echo", args![7]).await.unwrap(), 7);
    });
}

fn an_example_finds_a_one_shot_server_with_the_dialect_of_the_environment(reference: Reference) {
    let daemon = Daemon::start(&[]);
    let registry = daemon.address(Transport::Udp).to_string();
    let server = one_shot(reference);
    register(&registry, &server);
    let mut client = examples::rust("payroll_client");
    client.env("RPYC_REGISTRY", &registry).env("RPYC_DIALECT", digit(reference));
    let said = client.output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert_eq!(text, "David Mertz earns 5000.5 a month\n", "{said:?}");
}

fn a_threaded_server_of_a_known_dialect_sees_one_connection_and_logs_nothing(reference: Reference) {
    for server in ["threaded", "pool", "forking"] {
        let server = Python::start(reference, &["--server", server, "--tell-connections"]);
        let words = ["call", &server.address, "echo", "1", "--dialect", digit(reference)];
        let said = command_line(&words);
        assert!(said.status.success(), "{said:?}");
        let (connections, log) = epilogue(server);
        assert_eq!(connections, 1, "{log}");
        assert!(!log.contains("Traceback"), "{log}");
    }
}

fn a_ping_touches_nothing_but_ping(reference: Reference) {
    let server = Python::start(reference, &["--tell-connections", "--debug"]);
    let words = ["ping", &server.address, "-o", "json", "--dialect", digit(reference)];
    let said = command_line(&words);
    assert!(said.status.success(), "{said:?}");
    let pongs: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert!(pongs[0]["connect_us"].is_u64() && pongs[0]["round_trip_us"].is_u64(), "{pongs}");
    assert!(pongs[0]["first_answer_us"].is_null(), "no first answer was waited for: {pongs}");
    let (connections, log) = epilogue(server);
    assert_eq!(connections, 1, "{log}");
    assert!(!log.contains("Error") && !log.contains("Traceback"), "{log}");
}

/// The dialect of PAYROLL that `describe` returns.
fn dialect_at(registry: &str) -> Option<String> {
    let registries: Registries = registry.parse().unwrap();
    let registrar = Registrar::new(registries);
    let name = ServiceName::new("payroll").unwrap();
    let instances = run(async { registrar.resolve(&name).await.unwrap() });
    instances.iter().find_map(|it| it.dialect).map(|dialect| dialect.as_str().to_owned())
}

/// The first client tries the dialects. Every later process gets the dialect from the registry.
#[test]
fn a_registry_remembers_what_a_client_found_a_server_to_speak() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.address(Transport::Udp).to_string();
    let server = Python::start(Reference::Rpyc5, &["--tell-connections"]);
    register(&registry, &server);
    let call = || {
        let words = ["call", "payroll", "echo", "1", "--registry", &registry];
        let said = command_line(&words);
        assert!(said.status.success(), "{said:?}");
    };
    call();
    assert_eq!(dialect_at(&registry).as_deref(), Some("5"));
    let log = server.process.stderr();
    let tracebacks = |log: &str| log.matches("Traceback").count();
    for _ in 0..3 {
        call();
    }
    let (connections, after) = epilogue(server);
    assert_eq!(connections, 2 + 3, "one connection for each later client: {after}");
    assert_eq!(tracebacks(&after), 2.max(tracebacks(&log)), "{after}");
}

/// The servers are jobs that serve one client each and restart on another port.
#[test]
fn a_registry_expects_of_a_one_shot_server_what_the_last_of_its_name_spoke() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.address(Transport::Udp).to_string();
    let call = || {
        let server = one_shot(Reference::Rpyc5);
        register(&registry, &server);
        let call = ["call", "payroll", "echo", "1", "--registry", &registry];
        let said = command_line(&call);
        let port = server.address.rsplit(':').next().unwrap();
        command_line(&["unregister", "--port", port, "--registry", &registry]);
        said
    };
    let first = call();
    assert!(!first.status.success(), "nobody could know: {first:?}");
    for _ in 0..3 {
        let later = call();
        assert!(later.status.success(), "{later:?}");
    }
}

#[test]
fn a_probe_tells_the_dialect_to_clients() {
    let daemon = Daemon::start(&["--probe", "rpyc,interval=200ms"]);
    let registry = daemon.address(Transport::Udp).to_string();
    let server = Python::start(Reference::Rpyc5, &[]);
    register(&registry, &server);
    eventually("the registry knows the dialect", PATIENCE, || {
        dialect_at(&registry).filter(|dialect| dialect == "5")
    });
}

/// A thread pool of rpyc 5 does not reply to another dialect, so the client tries the second one
/// after a delay. That delay does not count as connecting.
#[test]
fn a_ping_measures_connecting_and_the_search_for_the_dialect_apart() {
    let server = Python::start(Reference::Rpyc5, &["--server=pool"]);
    let said = command_line(&["ping", &server.address, "-o", "json"]);
    assert!(said.status.success(), "{said:?}");
    let pongs: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let pong = &pongs[0];
    assert!(pong["first_answer_us"].as_u64().unwrap() >= 1_500_000, "{pong}");
    assert!(pong["connect_us"].as_u64().unwrap() < 1_000_000, "{pong}");
    assert_eq!((&pong["dialect"], &pong["not_understood"]), (&"5".into(), &"6".into()));
}

/// A wrong guess uses up the server's only connection, so the error names the remedy.
#[test]
fn an_error_tells_to_state_the_dialect_of_a_one_shot_server() {
    let server = one_shot(Reference::Rpyc5);
    let said = command_line(&["call", &server.address, "echo", "1"]);
    let error = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1));
    assert!(error.contains("it speaks rpyc 5") && error.contains("set its dialect"), "{error}");
}
