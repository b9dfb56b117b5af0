//! Errors of opening a store.

use std::io;
use std::path::PathBuf;

/// A store cannot be opened. The file has not been changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process uses the directory. The party that started both is at fault.
    #[error(
        "cannot use the state directory {}: it is in use by {}",
        directory.display(),
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process that holds it, if known.
        holder: Option<u32>,
    },
    /// A file or the directory cannot be used. Its owner, the disk or the system is at fault.
    #[error(
        "cannot {what} {}: {source}; use another state directory, or keep registrations in memory",
        path.display()
    )]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// Its file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A newer version of the registry wrote the file, so this version must not change it.
    #[error(
        "cannot use {}: it was written by a newer registry (format {found}; this one reads up to \
         {known}); run that version, or use another state directory",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u64,
        /// The newest format that this version reads.
        known: u64,
    },
    /// Other users may change the directory or a file in it. Its owner is at fault.
    #[error("cannot use {}: {why}; {remedy}, or use another state directory", path.display())]
    Untrusted {
        /// The directory or file.
        path: PathBuf,
        /// The fault in its owner or mode.
        why: String,
        /// What to do about it.
        remedy: String,
    },
}
