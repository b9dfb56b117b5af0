//! Directories for the length of a test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

/// An empty directory of its own, removed with all that is in it when dropped.
///
/// Its path is short, as the paths of unix sockets have to be.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new one.
    pub fn new() -> Self {
        static N_SCRATCHES: AtomicU32 = AtomicU32::new(0);
        let n = N_SCRATCHES.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("rpyc-test-{}-{n}", process::id()));
        fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        Self { path }
    }

    /// Where it is.
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
        // What is left in the system's directory for such things harms nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}
