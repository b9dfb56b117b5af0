//! Orderly shutdown, and state directories that cannot be used.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rpyc_tests::daemon;

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
fn a_directory_that_others_may_change_is_refused() {
    let state = Scratch::new();
    let start = || {
        let mut command = Command::new(daemon::executable());
        command.args(["--port", "0", "--host", "127.0.0.1", "-q", "--state-dir"]);
        command.arg(state.path()).output().unwrap()
    };
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in ["", "lock", "registry.redb", "registry.mirror"] {
        let path = state.path().join(name);
        let (path, before) = if name.is_empty() {
            (state.path().to_owned(), 0o755)
        } else {
            first(&state).kill();
            (path, 0o600)
        };
        allow(&path, 0o777);
        let output = start();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("cannot use {}", path.display())), "{error}");
        assert!(error.contains("run `chmod o-w ") && error.lines().count() == 1, "{error}");
        allow(&path, before);
    }
    // A service manager's directory may be a link.
    let link = state.path().join("link");
    let target = state.path().join("private");
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert!(again(lasting_port(), &link).terminate().success());
    assert!(target.join("registry.redb").exists());
}
