//! Temporary directories of tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

/// A new empty directory, removed with its content when dropped.
///
/// Its path is short, because the paths of unix sockets must be.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Creates a directory.
    pub fn new() -> Self {
        static N_SCRATCHES: AtomicU32 = AtomicU32::new(0);
        let n = N_SCRATCHES.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("rpyc-test-{}-{n}", process::id()));
        fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        Self { path }
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover in the system's temporary directory is harmless.
        let _ = fs::remove_dir_all(&self.path);
    }
}
