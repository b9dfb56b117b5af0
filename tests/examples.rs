//! The examples do what they say, in both languages, with each other.

use std::process::Command;

use rpyc_tests::process::{Process, Signal};
use rpyc_tests::{Daemon, PATIENCE, Reference, Registrar, Transport, Via, eventually, examples};
use serde_json::json;

/// Starts `server`, waits until it is found, runs each of `clients`, and ends it.
fn serve(server: Command, clients: impl IntoIterator<Item = Command>) {
    let daemon = Daemon::start(&[]);
    let registry = daemon.address(Transport::Udp);
    let with_registry = |mut command: Command| {
        command.env("RPYC_REGISTRY", registry.to_string());
        command
    };
    let mut asking = Registrar::start(Reference::Rpyc6, Via::Udp(registry));
    let mut server = Process::start("the example server", with_registry(server));
    eventually("the server is found", PATIENCE, || {
        (asking.query("PAYROLL") != json!([])).then_some(())
    });
    for client in clients {
        let said = with_registry(client).args(["Mertz", "David"]).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        assert_eq!(text, "David Mertz earns 4200 a month\n", "{said:?}");
    }
    server.signal(Signal::SIGINT);
    server.wait();
    eventually("the server is found no more", PATIENCE, || {
        (asking.query("PAYROLL") == json!([])).then_some(())
    });
}

#[test]
fn the_payroll_server_in_rust_serves_clients_in_rust_and_python() {
    let clients = [
        examples::rust("payroll_client"),
        examples::python(Reference::Rpyc6, "payroll_client"),
        examples::python(Reference::Rpyc5, "payroll_client"),
    ];
    serve(examples::rust("payroll_server"), clients);
}

#[test]
fn the_payroll_server_in_python_serves_clients_in_rust_and_python() {
    for reference in Reference::ALL {
        let clients =
            [examples::rust("payroll_client"), examples::python(reference, "payroll_client")];
        serve(examples::python(reference, "payroll_server"), clients);
    }
}
