//! Keeps registrations in a file on this machine.
//!
//! | Part | Does |
//! |---|---|
//! | `directory` | the state directory, claimed by one process |
//! | `trust` | who else may change the directory |
//! | `files` | the database and its mirror: writes to both, and keeps them in place |
//! | `opening` | opens and compares both files at a start, and repairs one from the other |
//! | `database`, `pages` | the file: opens, verifies, reads and writes it |
//! | `fault` | what can fail, and its description |
//! | `mirror`, `frame` | a second copy of the registrations, each record with its own checksum |
//! | `schema` | the tables of the file, and migrations from older formats |
//! | `encoding` | the encoding of one record |
//! | `pending` | changes that wait to be written |
//! | `runs` | how long the registry has run, and so how long leases are silent |
//! | `reader` | the first task of the store's thread: reads the stored records |
//! | `writer` | its second task: writes changes |

mod database;
mod directory;
mod encoding;
mod fault;
mod files;
mod frame;
mod mirror;
mod opening;
mod pages;
mod pending;
mod reader;
mod runs;
mod schema;
#[cfg(unix)]
mod trust;
mod writer;

use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tracing::error;

use super::{Change, Opened, Progress, Records, Store, StoreError, Ticket};
use directory::StateDirectory;
use fault::OpenError;
use files::Files;
use pending::Pending;
use reader::Batch;

/// The delay after a failed access to the disk, before the next try.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Batches of records that are read ahead, so that reading and restoring run in parallel.
const BATCHES_AHEAD: usize = 4;

/// Keeps registrations in a file. Each change is durable before it is acknowledged; changes are
/// written in groups. The directory belongs to one process at a time.
///
/// The number of waiting changes is bounded by the size of the table: of several waiting changes of
/// one instance, only the last is written.
#[derive(Debug)]
pub struct FileStore {
    pending: Arc<Pending>,
    progress: watch::Receiver<Progress>,
}

/// A state directory that no other process can use until this is dropped.
#[derive(Debug)]
pub struct Claim {
    directory: StateDirectory,
}

impl FileStore {
    /// Creates the directory if it does not exist, and claims it for this process. Returns quickly.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has claimed it and still runs; and
    /// [`StoreError::Io`].
    pub fn claim(directory: &Path) -> Result<Claim, StoreError> {
        Ok(Claim { directory: StateDirectory::claim(directory)? })
    }
}

impl Claim {
    /// Opens the file on a separate thread, which reads the records while the caller restores them,
    /// and then writes changes.
    ///
    /// A damaged file is moved aside with an error in the log, and written again from its second
    /// copy. If the disk is full, the store opens with what the second copy holds, and commits
    /// changes when there is room; if that copy is damaged too, this waits for room.
    ///
    /// # Errors
    /// [`StoreError::Newer`] and [`StoreError::Io`]; the file is unchanged.
    ///
    /// # Cancel safety
    /// Dropping the future releases the directory as soon as the thread notices.
    pub async fn open(self) -> Result<Opened, StoreError> {
        let (tell, told) = oneshot::channel();
        let path = self.directory.file();
        let thread = std::thread::Builder::new().name("store".to_owned());
        let spawned = thread.spawn(move || run(self.directory, tell));
        let failed = |source| StoreError::Io { what: "read", path, source };
        match spawned {
            Err(no_thread) => Err(failed(no_thread)),
            Ok(_) => told.await.unwrap_or_else(|gone| Err(failed(io::Error::other(gone)))),
        }
    }
}

/// The store's thread: opens the file, reports, and writes until the store is dropped.
fn run(directory: StateDirectory, tell: oneshot::Sender<Result<Opened, StoreError>>) {
    let (mut directory, mut is_waiting) = (directory, false);
    let (mut files, mut origin) = loop {
        let why = match Files::open(directory) {
            Ok(opened) => break opened,
            Err((_, OpenError::Fatal(error))) => {
                // The caller may have dropped the future.
                let _ = tell.send(Err(error));
                return;
            }
            Err((again, OpenError::NoRoom(why))) => {
                directory = again;
                why
            }
        };
        if !is_waiting {
            error!("{why}; make room there: until then the registry is not ready");
            is_waiting = true;
        }
        std::thread::sleep(RETRY_INTERVAL);
        if tell.is_closed() {
            return;
        }
    };
    let (give, records) = mpsc::sync_channel(BATCHES_AHEAD);
    origin.records = Records::new(records.into_iter().flat_map(Batch::decode));
    let (revisions, instances) = files.numbers();
    let pending = Arc::new(Pending::new(revisions, instances));
    let progress = watch::Sender::default();
    let store =
        Box::new(FileStore { pending: Arc::clone(&pending), progress: progress.subscribe() });
    // If the caller has gone, the store is dropped at once and the writer ends at once.
    drop(tell.send(Ok(Opened { store, origin })));
    reader::run(&mut files, &pending, give);
    // A caller that waits for the channel to close may then claim the directory.
    writer::run(files, &pending, &progress);
    drop(progress);
}

impl Store for FileStore {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn record(&mut self, change: Change) -> Ticket {
        self.pending.add(change)
    }

    fn last_ticket(&self) -> Ticket {
        self.pending.last_ticket()
    }

    fn reserve(&mut self, revision: u64) {
        self.pending.reserve(revision);
    }

    fn ran(&mut self, time: Duration) {
        self.pending.ran(time);
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.pending.end();
    }
}
