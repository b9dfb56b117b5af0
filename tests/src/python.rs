//! Python programs with a given version of RPyC.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::namespace::Host;
use crate::process::Process;
use crate::reference::Reference;
use crate::workspace;

/// Runs the Python text `code` and returns the JSON that it prints.
///
/// `arguments` are its `sys.argv[1:]`. It runs on `host`, or on this machine if that is `None`.
pub fn run(reference: Reference, host: Option<&Host>, code: &str, arguments: &[&str]) -> Value {
    let mut command = interpreter(reference, host);
    command.arg("-c").arg(code).args(arguments);
    let output = command.stdin(Stdio::null()).output().expect("Python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the Python text failed:\n{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("not JSON ({error}): {}\n{errors}", String::from_utf8_lossy(&output.stdout))
    })
}

/// Starts a script of `tests/python` and leaves it running.
///
/// The scripts exit when their standard input closes, so none outlives the test that started it.
pub fn script(
    reference: Reference,
    host: Option<&Host>,
    name: &str,
    arguments: &[String],
) -> Process {
    let mut command = interpreter(reference, host);
    command.arg(script_path(name)).args(arguments);
    Process::start(name, command)
}

pub(crate) fn script_path(name: &str) -> PathBuf {
    workspace::package().join("python").join(name)
}

fn interpreter(reference: Reference, host: Option<&Host>) -> Command {
    let python = reference.python();
    let mut command = host.map_or_else(|| Command::new(python), |host| host.command(python));
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").env_remove("RPYC_REGISTRY");
    command.env("PYTHONUTF8", "1").env("PYTHONUNBUFFERED", "1");
    command
}
