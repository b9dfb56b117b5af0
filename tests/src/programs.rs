//! The programs under test, built from the current sources.
//!
//! One call of cargo builds all of them, once for each test process. It selects the whole workspace
//! so that cargo unifies features as `cargo test --workspace` does. After that command everything
//! is built, and cargo compiles no crate twice with different features.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::{signals, workspace};

const SELECTION: [&str; 4] = ["--workspace", "--bin", "rpyc-registry", "--examples"];

/// The path of the program `name`: the daemon or an example of any package.
pub(crate) fn path(name: &str) -> &'static Path {
    static BUILT: OnceLock<Result<HashMap<String, PathBuf>, String>> = OnceLock::new();
    static GIVEN: OnceLock<Option<PathBuf>> = OnceLock::new();
    // In tests of the program's own package, cargo gives the path of the program built with the
    // features of that run.
    let given = || env::var_os("CARGO_BIN_EXE_rpyc-registry").map(PathBuf::from);
    if name == "rpyc-registry"
        && let Some(given) = GIVEN.get_or_init(given)
    {
        return given;
    }
    let built = BUILT.get_or_init(build).as_ref().unwrap_or_else(|errors| panic!("{errors}"));
    built.get(name).unwrap_or_else(|| panic!("no program {name} among {:?}", built.keys()))
}

/// Makes a command that runs the program `name`.
pub(crate) fn command(name: &str) -> Command {
    signals::restore_defaults();
    Command::new(path(name))
}

/// Builds the programs in the profile of the test itself, and maps their names to their paths.
fn build() -> Result<HashMap<String, PathBuf>, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked"]).args(SELECTION);
    command.args(["--message-format", "json-render-diagnostics", "--target-dir"]);
    command.arg(workspace::target()).current_dir(workspace::root());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cannot build the programs under test:\n{errors}"));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(executable).collect())
}

/// The name and the path of the executable in a message of cargo.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), path.into()))
}
