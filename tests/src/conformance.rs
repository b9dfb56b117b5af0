//! The conformance server, which uses every feature of a service.

use std::process::Command;

use crate::{Reference, programs, python, signals};

/// A command for the server in Rust, built from the current sources.
pub fn rust() -> Command {
    programs::command("conformance_server")
}

/// A command for the same service, served by RPyC.
pub fn python(reference: Reference) -> Command {
    signals::restore_defaults();
    let mut command = Command::new(reference.python());
    command.arg(python::script_path("conformance_server.py"));
    command
}
