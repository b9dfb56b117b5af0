//! Many clients of one address, which must not lock out the others.

use std::process::Command;

use rpyc_tests::{Reference, conformance};

use super::conformance::Server;

const CROWDS: &str = include_str!("../python/crowd.py");

with_each_version! {
    a_crowd_from_one_address_locks_out_nobody_else,
}

fn a_crowd_from_one_address_locks_out_nobody_else(reference: Reference) {
    // The limits of the server are tested, not those of the system.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 4096; exec \"$0\" --port 0"]);
    let server = Server::run({
        command.arg(conformance::rust().get_program());
        command
    });
    server.play(reference, CROWDS, &[&server.process.pid().to_string()]);
    // Thousands of clients were turned away or disconnected.
    let log = server.process.stderr();
    let refusals = log.lines().filter(|line| line.contains("WARN"));
    let refusals: Vec<_> = refusals.collect();
    assert!(!refusals.is_empty() && refusals.len() < 20, "{}", refusals.join("\n"));
}
