//! The state directory: creates and claims it, and names the files in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// The file with the registrations.
const FILE: &str = "registry.redb";

/// The lock file, which holds the process id of its owner.
const LOCK: &str = "lock";

/// A directory that belongs to this process.
#[derive(Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
    /// The system releases the lock when this process ends, however it ends.
    _lock: File,
}

impl StateDirectory {
    /// Creates and claims the directory.
    pub(super) fn claim(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(|source| StoreError::Io {
            what: "make the state directory",
            path: path.to_owned(),
            source,
        })?;
        let lock_path = path.join(LOCK);
        let failed = |source| StoreError::Io { what: "lock", path: lock_path.clone(), source };
        let mut lock = private_file().create(true).open(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // If the locked file cannot be read, the error names no process.
                let holder =
                    lock.read_to_string(&mut pid).ok().and_then(|_| pid.trim().parse().ok());
                return Err(StoreError::InUse { directory: path.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let told = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        match told {
            // The process id helps operators, but the lock works without it.
            Err(error) if is_full(&error) => {}
            told => told.map_err(failed)?,
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The path of the file with the registrations.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// The path of a file that is not complete yet.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.path.join(format!("{FILE}.new"))
    }

    /// Renames the file of registrations to an unused name; returns the new path.
    pub(super) fn move_aside(&self) -> io::Result<PathBuf> {
        let mut number = 1_u64;
        loop {
            let aside = self.path.join(format!("{FILE}.damaged-{number}"));
            if !aside.try_exists()? {
                fs::rename(self.file(), &aside)?;
                self.sync()?;
                return Ok(aside);
            }
            number += 1;
        }
    }

    /// Renames the complete file to its final name.
    pub(super) fn finish(&self) -> io::Result<()> {
        fs::rename(self.unfinished(), self.file())?;
        self.sync()
    }

    /// Makes the names of the files durable.
    fn sync(&self) -> io::Result<()> {
        if cfg!(unix) { File::open(&self.path)?.sync_all() } else { Ok(()) }
    }
}

/// Options for a file that only its owner may read: leases are secrets.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Whether the disk, or the user's quota on it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
