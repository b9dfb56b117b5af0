//! The socket for operators: who may connect, and what becomes of its file.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use rpyc_tests::Scratch;
use rpyc_tests::disk::Disk;

use super::*;

fn connect(daemon: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.operator_socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A user and a group that own nothing.
const NOBODY: u32 = 65_534;

#[test]
fn an_operator_does_over_the_socket_what_others_may_not() {
    let daemon = Daemon::start(&[]);
    let instance = register(&daemon);
    let reply = ask(connect(&daemon), json!({"op": "drain", "name": "a"}));
    assert_eq!(reply["changed"], 1, "{reply}");
    assert_eq!(states(&daemon), ["draining"]);
    // One connection carries any number of requests.
    let stream = connect(&daemon);
    for (request, member) in [
        (json!({"op": "undrain", "instance": instance}), "changed"),
        (json!({"op": "list"}), "services"),
        (json!({"op": "release"}), "changed"),
        (json!({"op": "status"}), "status"),
        (json!({"op": "deregister", "instance": instance}), "changed"),
    ] {
        let reply = ask(&stream, request.clone());
        assert!(!reply[member].is_null(), "{request}: {reply}");
    }
    assert!(states(&daemon).is_empty());
    let bad = ask(&stream, json!({"op": "drain"}));
    assert_eq!(bad["error"]["code"], "bad_request", "{bad}");
}

#[test]
fn the_mode_admits_the_daemons_user_or_a_group() {
    let daemon = Daemon::start(&[]);
    let socket = daemon.operator_socket();
    assert_eq!(socket, daemon.state().join("operator.sock"));
    assert_eq!(mode(&socket), 0o600);
    let uid = fs::metadata(&socket).unwrap().uid();
    assert_eq!(uid, fs::metadata(daemon.state()).unwrap().uid());
    let group = fs::metadata(&socket).unwrap().gid().to_string();
    let shared = Daemon::start(&["--operator-group", &group]);
    assert_eq!(mode(&shared.operator_socket()), 0o660);
    if uid != 0 {
        return;
    }
    // Whether a program of another user may connect, as a member of `group`.
    let may_connect = |daemon: &Daemon, group: u32| {
        let script = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(daemon.operator_socket()).uid(NOBODY).gid(group);
        let (code, _, error) = outcome(python.output().unwrap());
        assert!(code == Some(0) || error.contains("PermissionError"), "{error}");
        code == Some(0)
    };
    assert!(!may_connect(&daemon, NOBODY));
    let shared = Daemon::start(&["--operator-group", "65533"]);
    assert_eq!(fs::metadata(shared.operator_socket()).unwrap().gid(), 65_533);
    assert!(!may_connect(&shared, NOBODY));
    assert!(may_connect(&shared, 65_533));
}

#[test]
fn the_file_goes_with_an_orderly_end_and_a_dead_one_is_replaced() {
    let state = Scratch::new();
    let args = ["--state-dir", state.path().to_str().unwrap()];
    let path = state.path().join("operator.sock");
    let daemon = Daemon::start(&args);
    register(&daemon);
    daemon.kill();
    assert!(path.exists(), "nobody removes it after a SIGKILL");
    UnixStream::connect(&path).unwrap_err();
    let daemon = Daemon::start(&args);
    assert_eq!(mode(&daemon.operator_socket()), 0o600);
    let reply = ask(connect(&daemon), json!({"op": "drain", "name": "a"}));
    assert_eq!(reply["changed"], 1, "{reply}");
    // Connections of operators do not hold up the end.
    let idle = connect(&daemon);
    assert!(daemon.terminate().success());
    assert!(!path.exists());
    drop(idle);
}

/// Starts a daemon that cannot, and returns its error.
fn refused(args: &[&str]) -> String {
    let state = Scratch::new();
    let mut command = command(&[&["--port", "0", "--host", "127.0.0.1"], args].concat());
    let (code, shown, error) =
        outcome(command.env("STATE_DIRECTORY", state.path()).output().unwrap());
    assert_eq!((code, shown.as_str()), (Some(1), ""), "{error}");
    error
}

#[test]
fn two_daemons_do_not_share_a_socket() {
    let place = Scratch::new();
    let path = place.path().join("o.sock");
    let args = ["--operator-socket", path.to_str().unwrap()];
    let first = Daemon::start(&args);
    assert_eq!(first.operator_socket(), path);
    assert!(!first.state().join("operator.sock").exists());
    for store in ["file", "memory"] {
        let error = refused(&[&args[..], &["--store", store]].concat());
        let last = error.lines().last().unwrap();
        assert!(last.contains(&format!("cannot listen on unix:{}", path.display())), "{error}");
        assert!(last.contains("another process listens there"), "{error}");
        assert!(last.contains("--operator-socket"), "{error}");
    }
    assert!(ask(connect(&first), json!({"op": "ping"}))["error"].is_null());
    first.pause();
    let error = refused(&args);
    assert!(error.contains("another process listens there"), "{error}");
    first.resume();
    assert!(ask(connect(&first), json!({"op": "ping"}))["error"].is_null());
}

#[test]
fn a_file_that_is_not_a_socket_is_kept() {
    let place = Scratch::new();
    let path = place.path().join("file");
    fs::write(&path, "kept").unwrap();
    let error = refused(&["--operator-socket", path.to_str().unwrap()]);
    assert!(error.contains("not a socket") && error.contains("--operator-socket"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    let link = place.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    refused(&["--operator-socket", link.to_str().unwrap()]);
    let error = refused(&["--operator-group", "no-such-group"]);
    assert!(error.contains("no-such-group") && error.contains("--operator-group"), "{error}");
}

#[test]
fn a_registry_in_memory_has_its_socket_in_the_session() {
    let daemon = Daemon::start(&["--store", "memory"]);
    let socket = daemon.operator_socket();
    assert_eq!(socket, daemon.state().join("rpyc-registry/operator.sock"));
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
    register(&daemon);
    assert_eq!(ask(connect(&daemon), json!({"op": "drain", "name": "a"}))["changed"], 1);
    // A second registry of the same session runs without one.
    let mut second = command(&["--port", "0", "--host", "127.0.0.1", "--store", "memory"]);
    second.env("XDG_RUNTIME_DIR", daemon.state());
    let mut second = rpyc_tests::process::Process::start("second", second);
    second.wait_for_error("no socket for operators");
    second.wait_for("listeners", |lines| {
        lines.iter().any(|line| line.contains("tcp://")).then_some(())
    });
    assert!(!second.stdout().contains("operators"), "{}", second.stdout());
    second.signal(rpyc_tests::process::Signal::SIGTERM);
    assert!(second.wait().success());
    assert!(ask(connect(&daemon), json!({"op": "ping"}))["error"].is_null());
    let without = Daemon::start(&["--operator-socket", "off"]);
    assert!(!without.state().join("operator.sock").exists());
}

#[test]
fn a_path_that_is_too_long_is_only_an_error_if_it_was_chosen() {
    let place = Scratch::new();
    let long = place.path().join("d".repeat(120));
    let daemon = Daemon::start(&["--state-dir", long.to_str().unwrap()]);
    daemon.wait_for_log("no socket for operators");
    let chosen = long.join("o.sock");
    let error = refused(&["--operator-socket", chosen.to_str().unwrap()]);
    assert!(error.contains("cannot listen on unix:") && error.contains("choose"), "{error}");
}

#[test]
fn a_full_disk_delays_the_socket_and_nothing_else() {
    // Room for the mount point and one file.
    let Some(disk) = Disk::of_files(2) else { return };
    let (ballast, path) = (disk.path().join("ballast"), disk.path().join("o.sock"));
    fs::write(&ballast, "").unwrap();
    let daemon = Daemon::start(&["--operator-socket", path.to_str().unwrap()]);
    daemon.wait_for_log("operators have no socket until there is room");
    register(&daemon);
    assert!(!daemon.output().contains("operators"), "{}", daemon.output());
    fs::remove_file(&ballast).unwrap();
    daemon.wait_for_log("listening for operators");
    let reply = ask(UnixStream::connect(&path).unwrap(), json!({"op": "drain", "name": "a"}));
    assert_eq!(reply["changed"], 1, "{reply}");
    assert!(daemon.terminate().success());
    assert!(!path.exists());
}

#[test]
fn clients_do_not_displace_operators() {
    let daemon = Daemon::start(&["--max-connections", "2"]);
    let operator = connect(&daemon);
    assert!(ask(&operator, json!({"op": "ping"}))["error"].is_null());
    let clients: Vec<_> =
        (0..8).map(|_| TcpStream::connect(daemon.address(Transport::Tcp)).unwrap()).collect();
    let last = clients.last().unwrap();
    assert!(ask(last, json!({"op": "ping"}))["error"].is_null());
    assert!(ask(&operator, json!({"op": "release"}))["error"].is_null());
}
