//! Orderly shutdown, state directories in use, and damaged files.

use std::fs;
use std::process::Command;

use rpyc_tests::{daemon, eventually};

use super::*;

#[test]
fn an_end_keeps_what_was_said_before_it() {
    let state = Scratch::new();
    let daemon = first(&state);
    let (port, socket) = (daemon.port(), loopback());
    for at in 1..=40 {
        socket.ask(&register("leaving", at), udp(port));
    }
    // RPyC's servers do not wait for these replies when they stop, and the registry stops as well.
    for at in 1..=30 {
        socket.send(&unregister(at), udp(port));
    }
    for at in 1..=20 {
        socket.send(&register("coming", at + 100), udp(port));
    }
    assert!(daemon.terminate().success());
    let daemon = again(port, state.path());
    let fresh = loopback();
    assert_eq!(found(&fresh, &daemon, "leaving"), (31..=40).collect::<Vec<_>>());
    assert_eq!(found(&fresh, &daemon, "coming"), (101..=120).collect::<Vec<_>>());
}

#[test]
fn a_directory_has_one_registry_at_a_time() {
    let state = Scratch::new();
    let holder = first(&state);
    let second = || {
        let mut command = Command::new(daemon::executable());
        command.args(["--port", "0", "--host", "127.0.0.1", "-q", "--state-dir"]);
        command.arg(state.path()).output().unwrap()
    };
    let output = second();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty(), "it told that it listens");
    assert!(error.contains(&format!("in use by process {}", holder.pid())), "{error}");
    assert!(error.contains("--state-dir") && error.lines().count() == 1, "{error}");
    // SIGKILL releases the directory too.
    holder.kill();
    let _next = first(&state);
}

#[test]
fn a_damaged_file_is_told_loudly_and_kept() {
    let state = Scratch::new();
    let daemon = first(&state);
    let (port, socket) = (daemon.port(), loopback());
    socket.ask(&register("a", 1), udp(port));
    daemon.kill();
    let file = state.path().join("registry.redb");
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&file, &bytes).unwrap();
    let daemon = again(port, state.path());
    daemon.wait_for_log("DAMAGED");
    let aside = state.path().join("registry.redb.damaged-1");
    daemon.wait_for_log(aside.to_str().unwrap());
    assert_eq!(fs::metadata(&aside).unwrap().len(), u64::try_from(bytes.len()).unwrap());
    assert!(found(&loopback(), &daemon, "a").is_empty());
    socket.ask(&register("a", 1), udp(port));
    daemon.kill();
    let daemon = again(port, state.path());
    eventually("what was registered anew", PATIENCE, || {
        (found(&loopback(), &daemon, "a") == [1]).then_some(())
    });
}
