//! The conformance server: something of everything that a service can do.

use std::process::Command;

use crate::{Reference, programs, python, signals};

/// The server in Rust, built from the present sources.
pub fn rust() -> Command {
    programs::command("conformance_server")
}

/// The same service, served by RPyC.
pub fn python(reference: Reference) -> Command {
    signals::restore_defaults();
    let mut command = Command::new(reference.python());
    command.arg(python::script_path("conformance_server.py"));
    command
}
