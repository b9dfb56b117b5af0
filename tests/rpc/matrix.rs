//! A Rust client with every kind of RPyC server, with a service and in classic mode.

use rpyc_client::{Connection, ConnectionBuilder, Dialect, Local, RemoteObject, args, classic};
use rpyc_tests::process::Process;
use rpyc_tests::{PATIENCE, Reference};

use super::connecting::dialect;
use super::{Python, run};

with_each_version! {
    services,
    classic_services,
    rpyc_classic_itself,
    rpyc_classic_behind_pipes,
}

const SERVERS: [&str; 4] = ["threaded", "pool", "forking", "oneshot"];

/// Sets the dialect for a server that accepts only one connection, and for a thread pool that binds
/// threads: on another dialect, the pool neither replies nor closes the connection.
fn with_dialect(builder: ConnectionBuilder, server: &str, known: Dialect) -> ConnectionBuilder {
    match server {
        "oneshot" => builder.dialect(known),
        "pool" if known.bind_threads => builder.dialect(known),
        _ => builder,
    }
}

/// The number of connections to each server: one that accepts only one connection gets one.
fn times(server: &str) -> usize {
    if server == "oneshot" { 1 } else { 2 }
}

fn services(reference: Reference) {
    for server in SERVERS {
        for bound in [false, true] {
            let kind = format!("--server={server}");
            let options: &[&str] = if bound { &[&kind, "--bind-threads"] } else { &[&kind] };
            let python = Python::start(reference, options);
            let known = dialect(reference);
            let known = if bound { known.with_bind_threads() } else { known };
            run(async {
                for _ in 0..times(server) {
                    let builder = with_dialect(Connection::builder(), server, known);
                    let connection = python.connect_with(builder).await;
                    assert_eq!(connection.dialect(), Some(known), "{server}");
                    uses_a_service(&connection.root().await.unwrap()).await;
                    connection.close().await;
                }
            });
            if server == "oneshot" {
                has_stopped(python);
            }
        }
    }
}

/// A server that accepts one connection exits after it, and its port is closed.
fn has_stopped(mut python: Python) {
    let status = python.process.wait();
    assert!(status.success(), "{status}: {}", python.process.stderr());
    let again = run(Connection::builder().connect(&python.address));
    assert!(again.is_err(), "{}", python.address);
}

async fn uses_a_service(root: &RemoteObject) {
    assert_eq!(root.attr::<String>("greeting").await.unwrap(), "hello");
    assert_eq!(root.call::<f64>("get_salary", args!["Mertz", "David"]).await.unwrap(), 5000.5);
    let error = root.call::<()>("fail", args!["KeyError", "who"]).await.unwrap_err();
    assert!(error.is("KeyError"), "{error}");
    // The server calls this function, which calls the server in turn.
    let calling = root.clone();
    let nested = Local::function(move |args| {
        let root = calling.clone();
        async move {
            let (number,): (i64,) = args.parse()?;
            let echoed: i64 = root.call("echo", args![number]).await?;
            Ok(echoed + 1)
        }
    });
    assert_eq!(root.call::<i64>("apply", args![nested, 6]).await.unwrap(), 7);
    let counter: RemoteObject = root.call("counter", args![3]).await.unwrap();
    assert_eq!(counter.to_vec::<i64>().await.unwrap(), [0, 1, 2]);
    let within = counter.with(async |inside: RemoteObject| inside.len().await).await;
    assert_eq!(within.unwrap(), 103);
    let numbers: Vec<usize> = root.call("numbers", args![2500]).await.unwrap();
    assert!(numbers.into_iter().eq(0..2500));
    let payload: Vec<u8> = root.call("payload", args![1 << 20]).await.unwrap();
    assert_eq!(payload.len(), 1 << 20);
}

fn classic_services(reference: Reference) {
    for server in SERVERS {
        for service in ["slave", "classic"] {
            let [kind, service] = [format!("--server={server}"), format!("--service={service}")];
            let python = Python::start(reference, &[&kind, &service]);
            run(async {
                for _ in 0..times(server) {
                    let builder = with_dialect(classic::builder(), server, dialect(reference));
                    let connection = python.connect_with(builder).await;
                    let machine = classic::Classic::over(&connection).await.unwrap();
                    super::classic::uses_everything(machine).await;
                    connection.close().await;
                }
            });
        }
    }
}

/// `rpyc_classic`, the usual way to start a classic server.
fn rpyc_classic_itself(reference: Reference) {
    for mode in ["threaded", "forking", "oneshot"] {
        let mut command = std::process::Command::new(reference.python());
        command.args(["-c", "from rpyc.cli.rpyc_classic import main; main()", "--mode", mode]);
        command.args(["--host", "127.0.0.1", "--port", "0"]);
        let process = Process::start("rpyc_classic", command);
        let started = process.wait_for_error("server started on");
        let port: u16 = started.rsplit(':').next().unwrap().trim().parse().unwrap();
        run(async {
            for _ in 0..times(mode) {
                let builder = with_dialect(classic::builder(), mode, dialect(reference));
                let address = format!("127.0.0.1:{port}");
                let connection = builder.connect(&address).await.unwrap();
                let machine = classic::Classic::over(&connection).await.unwrap();
                super::classic::uses_everything(machine).await;
                connection.close().await;
            }
        });
    }
}

/// The same program, which the client starts and reaches through its standard streams.
fn rpyc_classic_behind_pipes(reference: Reference) {
    run(async {
        let mut program = tokio::process::Command::new(reference.python());
        program.args(["-u", "-c", "from rpyc.cli.rpyc_classic import main; main()"]);
        program.args(["-q", "--mode", "stdio"]);
        let builder = classic::builder().dialect(dialect(reference));
        let (connection, mut child) = builder.spawn(program).unwrap();
        let machine = classic::Classic::over(&connection).await.unwrap();
        let path: RemoteObject = machine.modules("sys").await.unwrap().attr("path").await.unwrap();
        path.call::<()>("append", args!["xxx"]).await.unwrap();
        assert_eq!(path.call::<String>("pop", args![-1]).await.unwrap(), "xxx");
        super::classic::uses_everything(machine).await;
        connection.close().await;
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{ended}");
    });
}
