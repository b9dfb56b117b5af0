//! Each example server shuts down in order when a supervisor or the keyboard asks it to.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use rpyc_client::{Connection, args};
use rpyc_tests::process::{Process, Signal};
use rpyc_tests::signals::{bit, caught, ignored};
use rpyc_tests::{
    Daemon, PATIENCE, Reference, Registrar, Scratch, Transport, Via, conformance, eventually,
    examples,
};
use serde_json::json;

use super::examples::write_papers;

/// systemd, Docker and `kill` send SIGTERM; Ctrl-C sends SIGINT.
const SIGNALS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// Sends `signal` to `server` and checks that it exits with code 0.
fn end(server: &mut Process, signal: Signal) {
    server.signal(signal);
    let status = server.wait();
    assert!(status.success(), "{signal}: {status}, {:?}\n{}", status.signal(), server.stderr());
}

/// For each signal: starts a server with `name`, stops it, and checks that it deregistered.
fn ends_and_unregisters(name: &str, server: impl Fn(&str) -> Command) {
    for signal in SIGNALS {
        let daemon = Daemon::start(&[]);
        let registry = daemon.address(Transport::Udp);
        let mut asking = Registrar::start(Reference::Rpyc6, Via::Udp(registry));
        let mut server = Process::start("the example server", server(&registry.to_string()));
        eventually("the server is found", PATIENCE, || {
            (asking.query(name) != json!([])).then_some(())
        });
        end(&mut server, signal);
        // The server deregistered before it exited: otherwise its lease would last four minutes.
        eventually("the server is found no more", PATIENCE, || {
            (asking.query(name) == json!([])).then_some(())
        });
    }
}

#[test]
fn the_payroll_servers_unregister() {
    let found_by = |registry: &str, mut command: Command| {
        command.env("RPYC_REGISTRY", registry);
        command
    };
    ends_and_unregisters("PAYROLL", |registry| {
        found_by(registry, examples::rust("payroll_server"))
    });
}

#[test]
fn the_payroll_server_in_python_unregisters() {
    let daemon = Daemon::start(&[]);
    let registry = daemon.address(Transport::Udp);
    for reference in Reference::ALL {
        let mut asking = Registrar::start(reference, Via::Udp(registry));
        let mut server = examples::python(reference, "payroll_server");
        server.env("RPYC_REGISTRY", registry.to_string());
        let mut server = Process::start("the example server", server);
        eventually("the server is found", PATIENCE, || {
            (asking.query("PAYROLL") != json!([])).then_some(())
        });
        end(&mut server, Signal::SIGTERM);
        eventually("the server is found no more", PATIENCE, || {
            (asking.query("PAYROLL") == json!([])).then_some(())
        });
    }
}

#[test]
fn the_conformance_server_unregisters() {
    ends_and_unregisters("CONFORMANCE", |registry| {
        let mut server = conformance::rust();
        server.args(["--port", "0", "--registry", registry]);
        server
    });
}

#[test]
fn the_servers_that_do_not_register_end_with_code_0() {
    let scratch = Scratch::new();
    write_papers(scratch.path());
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let [certificate, key] = ["server.crt", "server.key"].map(path);
    let here = "127.0.0.1:0";
    let servers: [(&str, &[&str]); 5] = [
        ("chat_server", &[here]),
        ("tls_server", &[here, &certificate, &key]),
        ("guide", &["8", here]),
        ("gateway", &[here, "127.0.0.1:1"]),
        ("forward", &["127.0.0.1:1", "127.0.0.1:1", here]),
    ];
    for (name, arguments) in servers {
        for signal in SIGNALS {
            let mut server = examples::rust(name);
            server.args(arguments);
            let mut server = Process::start(name, server);
            server.wait_for("address", |lines| {
                lines.iter().any(|line| line.starts_with("listening on ")).then_some(())
            });
            // The server prints its address before it installs its signal handlers.
            wait_until_caught(server.pid(), signal);
            end(&mut server, signal);
        }
    }
}

#[tokio::test]
async fn a_server_behind_pipes_ends_with_code_0() {
    for signal in SIGNALS {
        let program = tokio::process::Command::from(examples::rust("stdio_server"));
        let (connection, mut child) = Connection::builder().spawn(program).unwrap();
        let root = connection.root().await.unwrap();
        assert_eq!(root.call::<String>("shout", args!["hello"]).await.unwrap(), "HELLO");
        let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap());
        kill(pid, signal).unwrap();
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{signal}: {status}");
    }
}

/// A shell without job control starts background jobs with SIGINT ignored.
#[test]
fn a_signal_that_a_server_was_started_to_ignore_stays_ignored() {
    let mut server = Command::new("sh");
    let program = examples::rust("chat_server");
    server.args(["-c", "trap '' INT; exec \"$0\" 127.0.0.1:0"]).arg(program.get_program());
    let mut server = Process::start("chat_server", server);
    wait_until_caught(server.pid(), Signal::SIGTERM);
    let ignored = ignored(&server.pid().to_string());
    assert!(ignored & bit(Signal::SIGINT) != 0, "{ignored:x}");
    end(&mut server, Signal::SIGTERM);
}

/// Waits until a process handles a signal itself.
fn wait_until_caught(pid: u32, signal: Signal) {
    eventually("it listens for signals", PATIENCE, || {
        (caught(&pid.to_string()) & bit(signal) != 0).then_some(())
    });
}
