//! Where the sources and the build products are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The directory of the workspace's manifest.
pub(crate) fn root() -> &'static Path {
    package().parent().expect("the package lies in the workspace")
}

/// The directory of this package.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The target directory that the running test was built into, whatever option or variable chose it.
pub(crate) fn target() -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    let marked = test.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
    marked.map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// The executable that `selection` names in `package`, built from the present sources in the profile of
/// the test itself.
pub(crate) fn built(package: &str, selection: &[&str]) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", package]).args(selection);
    command.args(["--message-format", "json-render-diagnostics", "--target-dir"]);
    command.arg(target()).current_dir(root());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{package} does not build:\n{errors}");
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    executable.unwrap_or_else(|| panic!("cargo names no executable:\n{messages}"))
}
