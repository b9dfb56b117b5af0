//! Runs the program and the daemon as a user would.

use std::process::{Command, Output, Stdio};

use rpyc_tests::{eventually, signals};
use tempfile::TempDir;

pub(crate) use rpyc_tests::{Daemon, PATIENCE};

pub(crate) fn command(args: &[&str]) -> Command {
    signals::restore_defaults();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rpyc-registry"));
    // No test may reach beyond this machine: every test names its registries.
    command.args(args).env_remove("RPYC_REGISTRY").env_remove("NO_COLOR").stdin(Stdio::null());
    // No test may write to a home directory: a daemon without an explicit directory does not start.
    command.env("STATE_DIRECTORY", "/dev/null/state");
    command.env_remove("RUNTIME_DIRECTORY").env_remove("XDG_RUNTIME_DIR");
    command
}

/// Runs a program to its end, with a state directory in case it is a daemon.
pub(crate) fn run(args: &[&str]) -> Output {
    let state = TempDir::new().unwrap();
    command(args).env("STATE_DIRECTORY", state.path()).output().unwrap()
}

#[track_caller]
pub(crate) fn check(args: &[&str], code: i32) -> (String, String) {
    let output = run(args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, PATIENCE, || is_so().then_some(()));
}

/// The terminal output of a program with these arguments, until it ends or has shown `until`.
#[cfg(target_os = "linux")]
pub(crate) fn on_a_terminal(args: &[&str], no_color: &str, until: &str) -> String {
    use std::fs::File;
    use std::io::Read;

    let terminal = nix::pty::openpty(None, None).unwrap();
    let screen = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut command = command(args);
    let state = TempDir::new().unwrap();
    command.stdout(screen()).stderr(screen()).env("NO_COLOR", no_color).env("TERM", "xterm");
    command.env("STATE_DIRECTORY", state.path());
    let mut child = command.spawn().unwrap();
    // Now only the child holds the terminal, so the output ends with it.
    drop((command, terminal.slave));
    let mut shown = Vec::new();
    let mut piece = [0; 1024];
    let mut master = File::from(terminal.master);
    while let Ok(len @ 1..) = master.read(&mut piece) {
        shown.extend(&piece[..len]);
        if !until.is_empty() && String::from_utf8_lossy(&shown).contains(until) {
            let _ = child.kill();
        }
    }
    child.wait().unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}
