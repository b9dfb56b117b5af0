//! Why a store cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a store cannot be opened. Nothing has been changed in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process uses the directory. Whoever started both is at fault.
    #[error(
        "cannot use the state directory {}: it is in use by {}",
        directory.display(),
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process that holds it, if it can be told.
        holder: Option<u32>,
    },
    /// A file or the directory cannot be used. Its owner, the disk or the system is at fault.
    #[error("cannot {what} {}: {source}; see --state-dir and --store", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file was written by a later version of the registry, which this one must not touch.
    #[error(
        "{} was written by a newer registry (its form is {found}, this registry knows up to \
         {known}); run that version, or give this one another directory with --state-dir",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The form it has.
        found: u64,
        /// The newest form that is known here.
        known: u64,
    },
}
