//! The directories of the sources and the build products.

use std::env;
use std::path::{Path, PathBuf};

/// The directory of the workspace's manifest.
pub(crate) fn root() -> &'static Path {
    package().parent().expect("the package lies in the workspace")
}

/// The directory of this package.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The target directory of the running test, whichever option or variable selected it.
pub(crate) fn target() -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    let marked = test.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
    marked.map_or_else(|| root().join("target"), Path::to_path_buf)
}
