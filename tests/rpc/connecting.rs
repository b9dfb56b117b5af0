//! Connecting to every kind of server, and detecting its dialect.

use std::time::Duration;

use rpyc_client::{
    CallError, ConnectError, Connection, Dialect, Disconnect, Registrar, Registries, ServiceName,
    Version, args,
};
use rpyc_tests::process::Signal;
use rpyc_tests::{Daemon, Reference, Server, Transport, Via};

use super::{Python, run, socket_path};

with_each_version! {
    threaded,
    pool,
    forking,
    oneshot,
    bound_threads,
    unix_socket,
    goodbye,
    by_name,
    a_server_that_hangs_is_given_up,
}

fn version(reference: Reference) -> Version {
    match reference {
        Reference::Rpyc5 => Version::V5,
        Reference::Rpyc6 => Version::V6,
    }
}

pub(super) fn dialect(reference: Reference) -> Dialect {
    Dialect { version: version(reference), bind_threads: false }
}

/// The client detects the dialect on the first connection and on the second.
fn finds_the_dialect(reference: Reference, options: &[&str], expected: Dialect) {
    let python = Python::start(reference, options);
    run(async {
        for _ in 0..2 {
            let connection = python.connect().await;
            assert_eq!(connection.dialect(), Some(expected));
            let root = connection.root().await.unwrap();
            assert_eq!(root.attr::<String>("greeting").await.unwrap(), "hello");
            connection.close().await;
        }
    });
}

fn threaded(reference: Reference) {
    finds_the_dialect(reference, &[], dialect(reference));
}

fn pool(reference: Reference) {
    finds_the_dialect(reference, &["--server=pool"], dialect(reference));
}

fn forking(reference: Reference) {
    finds_the_dialect(reference, &["--server=forking"], dialect(reference));
}

fn bound_threads(reference: Reference) {
    let expected = dialect(reference).with_bind_threads();
    finds_the_dialect(reference, &["--bind-threads"], expected);
}

/// A server that accepts only one connection allows no second try, so its dialect must be known.
fn oneshot(reference: Reference) {
    let python = Python::start(reference, &["--server=oneshot"]);
    run(async {
        let builder = Connection::builder().dialect(dialect(reference));
        let root = python.connect_with(builder).await.root().await.unwrap();
        assert_eq!(root.attr::<String>("greeting").await.unwrap(), "hello");
    });
}

fn unix_socket(reference: Reference) {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("--socket-path={}", socket_path(&folder).display());
    finds_the_dialect(reference, &[&path], dialect(reference));
}

/// A registry returns the server's address, which may change after a restart.
fn by_name(reference: Reference) {
    let daemon = Daemon::start(&[]);
    let address = daemon.address(Transport::Udp);
    let server = || Server::named(&["PAYROLL"]).via(Via::Udp(address)).start_registered(reference);
    let first = server();
    let registries: Registries = address.to_string().parse().unwrap();
    let registrar = Registrar::builder(registries).build();
    let name = ServiceName::new("payroll").unwrap();
    run(async {
        let connection = registrar.connect_by_service(&name).await.unwrap();
        assert_eq!(connection.dialect(), Some(dialect(reference)));
        let root = connection.root().await.unwrap();
        assert_eq!(root.call::<u32>("pid", ()).await.unwrap(), first.pid());

        let service = Connection::builder().reconnecting_through(&registrar, name);
        assert_eq!(service.call::<u32>("pid", ()).await.unwrap(), first.pid());
        first.close();
        let second = server();
        let pid = service.call::<u32>("pid", ()).idempotent().await.unwrap();
        assert_eq!(pid, second.pid());
    });
}

/// Either side may close the connection, and the other side notices.
fn goodbye(reference: Reference) {
    let python = Python::start(reference, &[]);
    run(async {
        let connection = python.connect().await;
        let root = connection.root().await.unwrap();
        assert!(connection.ping().await.is_ok());
        assert!(!connection.is_closed());
        let error = root.call::<()>("hang_up", ()).await.unwrap_err();
        assert!(error.is_disconnected() && error.may_have_run(), "{error}");
        assert!(connection.closed().await.is_orderly());
        let error = root.call::<()>("echo", ()).await.unwrap_err();
        assert!(error.is_disconnected() && !error.may_have_run(), "{error}");

        let connection = python.connect().await;
        connection.close().await;
        assert!(connection.is_closed());
        drop(connection);
    });
}

#[test]
fn what_is_no_rpyc_server_is_told() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                drop(listener.accept().await);
            }
        });
        let error = rpyc_client::connect(address).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreached(_)));
        assert!(error.to_string().contains("does not speak RPyC"), "{error}");
    });
}

/// The kernel still acknowledges TCP for a stopped server, so only a ping detects the stop.
fn a_server_that_hangs_is_given_up(reference: Reference) {
    let python = Python::start(reference, &[]);
    run(async {
        let builder = Connection::builder().ping_every(Duration::from_millis(500));
        let connection = python.connect_with(builder).await;
        let root = connection.root().await.unwrap();
        // The connection is idle for longer than its silence limit, and pings keep it open.
        let other = python.connect().await;
        let idle = other.root().await.unwrap();
        idle.call::<f64>("sleep", args![1.5]).await.unwrap();
        assert_eq!(root.call::<i64>("echo", args![7]).await.unwrap(), 7);
        python.process.signal(Signal::SIGSTOP);
        let error = root.call::<i64>("echo", args![7]).await.unwrap_err();
        let CallError::Disconnected { reason, may_have_run } = error else { panic!("{error}") };
        assert!(may_have_run && matches!(reason, Disconnect::Silent { .. }), "{reason}");
        assert!(connection.is_closed() && !other.is_closed());
    });
}
