//! The example programs, freshly built.

use std::path::PathBuf;
use std::process::Command;

use crate::{Reference, programs, signals, workspace};

/// A command for the example `name` in Rust, built from the current sources.
pub fn rust(name: &str) -> Command {
    programs::command(name)
}

/// A command for the example `name` in Python.
pub fn python(reference: Reference, name: &str) -> Command {
    signals::restore_defaults();
    let mut command = Command::new(reference.python());
    command.arg(directory().join("python").join(name).with_extension("py"));
    command
}

fn directory() -> PathBuf {
    workspace::root().join("examples")
}
