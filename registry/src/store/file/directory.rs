//! The state directory: creates and claims it, and names the files in it.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

#[cfg(unix)]
use super::trust;
use crate::store::StoreError;

/// The file with the registrations.
const FILE: &str = "registry.redb";

/// The file with their second copy.
const MIRROR: &str = "registry.mirror";

/// The lock file, which holds the process id of its owner.
const LOCK: &str = "lock";

/// A directory that belongs to this process.
#[derive(Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
    /// The system releases the lock when this process ends, however it ends.
    lock: File,
}

impl StateDirectory {
    /// Creates and claims the directory.
    pub(super) fn claim(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(|source| StoreError::Io {
            what: "make the state directory",
            path: path.to_owned(),
            source,
        })?;
        let lock = path.join(LOCK);
        #[cfg(unix)]
        {
            trust::check_directory(path)?;
            [&lock, &path.join(FILE), &path.join(MIRROR)]
                .into_iter()
                .try_for_each(|file| trust::check_file(file))?;
        }
        Ok(Self { path: path.to_owned(), lock: claim(path, &lock)? })
    }

    /// Creates and claims the directory again if it has been deleted or replaced.
    pub(super) fn keep(&mut self) -> Result<(), StoreError> {
        let path = self.path.join(LOCK);
        let held = self.lock.metadata().map(|held| Identity::of(&held));
        let found = fs::metadata(&path).map(|found| Identity::of(&found));
        if matches!((held, found), (Ok(held), Ok(found)) if held == found) {
            return Ok(());
        }
        *self = Self::claim(&self.path)?;
        Ok(())
    }

    /// The path of the file with the registrations.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// The path of a file that is not complete yet.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.path.join(format!("{FILE}.new"))
    }

    /// The path of the second copy of the registrations.
    pub(super) fn mirror(&self) -> PathBuf {
        self.path.join(MIRROR)
    }

    /// Renames a file of the directory to an unused name; returns the new path.
    pub(super) fn move_aside(&self, file: &Path) -> io::Result<PathBuf> {
        let mut number = 1_u64;
        loop {
            let mut aside = file.as_os_str().to_owned();
            aside.push(format!(".damaged-{number}"));
            let aside = PathBuf::from(aside);
            if !aside.try_exists()? {
                fs::rename(file, &aside)?;
                sync(&self.path)?;
                return Ok(aside);
            }
            number += 1;
        }
    }

    /// Renames the complete file to its final name.
    pub(super) fn finish(&self) -> io::Result<()> {
        fs::rename(self.unfinished(), self.file())?;
        sync(&self.path)
    }
}

/// Locks the lock file of a directory, and writes the process id into it.
fn claim(directory: &Path, path: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Io { what: "lock", path: path.to_owned(), source };
    let mut lock = private_file().create(true).open(path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // If the locked file cannot be read, the error names no process.
            let holder = lock.read_to_string(&mut pid).ok().and_then(|_| pid.trim().parse().ok());
            return Err(StoreError::InUse { directory: directory.to_owned(), holder });
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
    Ok(lock)
}

/// Makes the names of the files of a directory durable.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Identity {
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Here the system does not let a program delete an open file.
    #[cfg(not(unix))]
    pub(super) fn of(_: &Metadata) -> Self {
        Self {}
    }
}

/// Options for a file that only its owner may read: leases are secrets.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    }
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
