//! Rust clients with real RPyC servers.

use std::path::PathBuf;

use rpyc_client::{Connection, ConnectionBuilder, RemoteObject};
use rpyc_tests::process::Process;
use rpyc_tests::{Reference, python};
use tokio::runtime::Runtime;

mod abuse;
mod blocking;
mod callbacks;
mod calls;
mod classic;
mod command;
mod compression;
mod conformance;
mod connecting;
mod content;
mod crowds;
mod dialects;
mod differential;
mod forwarding;
mod matrix;
mod serving;
mod tls;
mod upstream;

/// A real RPyC server that offers objects of many kinds: `tests/python/service.py`.
struct Python {
    process: Process,
    address: String,
}

impl Python {
    fn start(reference: Reference, options: &[&str]) -> Self {
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        let process = python::script(reference, None, "service.py", &options);
        let place = process.wait_for("READY", |lines| {
            lines.iter().find_map(|line| line.strip_prefix("READY ").map(str::to_owned))
        });
        let address = match place.parse::<u16>() {
            Ok(port) => format!("127.0.0.1:{port}"),
            Err(_) => place,
        };
        Self { process, address }
    }

    async fn connect(&self) -> Connection {
        self.connect_with(Connection::builder()).await
    }

    async fn connect_with(&self, builder: ConnectionBuilder) -> Connection {
        builder.connect(&self.address).await.unwrap()
    }
}

/// Runs a scenario with the root of a plain server.
fn with_root<F>(reference: Reference, scenario: impl FnOnce(RemoteObject) -> F)
where
    F: Future<Output = ()>,
{
    let python = Python::start(reference, &[]);
    run(async {
        let root = python.connect().await.root().await.unwrap();
        scenario(root).await;
    });
}

pub(crate) fn run<T>(scenario: impl Future<Output = T>) -> T {
    Runtime::new().unwrap().block_on(scenario)
}

/// The path of a socket in `folder`. Paths of unix sockets must be short.
fn socket_path(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("s")
}
