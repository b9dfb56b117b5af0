//! Keeps registrations in a file on this machine.
//!
//! | Part | Does |
//! |---|---|
//! | `directory` | the state directory, and who may use it |
//! | `database` | the file: opened, checked, read, written |
//! | `schema` | what is in it, and how older forms become the present one |
//! | `encoding` | one record as bytes |
//! | `pending` | changes that wait to be written |
//! | `reader` | what the store's thread does first: gives out what was kept |
//! | `writer` | what it does then: writes what comes |

mod database;
mod directory;
mod encoding;
mod pending;
mod reader;
mod schema;
mod writer;

use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tracing::error;

use super::{Change, Opened, Progress, Records, Store, StoreError, Ticket};
use database::{Database, OpenError};
use directory::StateDirectory;
use pending::Pending;
use reader::Batch;

/// How long a disk that takes nothing is left alone before the next try.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Batches of records that are read before they are taken, so that reading and taking go on side by side.
const BATCHES_AHEAD: usize = 4;

/// Keeps registrations in a file: each change is durable before it is acknowledged, in groups, and the
/// directory belongs to one process at a time.
///
/// What it writes is at most what the table holds, however often that changes: of several changes of
/// one instance that wait, the last is written.
#[derive(Debug)]
pub struct FileStore {
    pending: Arc<Pending>,
    progress: watch::Receiver<Progress>,
}

/// A state directory that no other process can use while this lives.
#[derive(Debug)]
pub struct Claim {
    directory: StateDirectory,
}

impl FileStore {
    /// Makes the directory, if it is not there, and claims it for this process. Quick.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has claimed it, however that one ends; and
    /// [`StoreError::Io`].
    pub fn claim(directory: &Path) -> Result<Claim, StoreError> {
        Ok(Claim { directory: StateDirectory::claim(directory)? })
    }
}

impl Claim {
    /// Opens what was kept, on a thread of its own that reads it while it is taken, and then writes what
    /// comes.
    ///
    /// A file that is damaged is moved aside, told in the log, and a new one is begun. As long as
    /// the disk is full this waits.
    ///
    /// # Errors
    /// [`StoreError::Newer`] and [`StoreError::Io`]; the file is as it was.
    ///
    /// # Cancel safety
    /// Dropping the future gives the directory back as soon as the thread has noticed.
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

/// The life of the store's thread: open, tell, write until there is nothing more to come.
fn run(directory: StateDirectory, tell: oneshot::Sender<Result<Opened, StoreError>>) {
    let mut is_waiting = false;
    let (database, origin) = loop {
        match Database::open(&directory) {
            Ok(opened) => break opened,
            Err(OpenError::Fatal(error)) => {
                // Nobody may wait for it any more.
                let _ = tell.send(Err(error));
                return;
            }
            Err(OpenError::NoRoom(why)) => {
                if !is_waiting {
                    error!("{why}; make room there: until then nothing is answered");
                    is_waiting = true;
                }
                std::thread::sleep(RETRY_INTERVAL);
                if tell.is_closed() {
                    return;
                }
            }
        }
    };
    let (mut database, mut origin) = (database, origin);
    let (give, records) = mpsc::sync_channel(BATCHES_AHEAD);
    origin.records = Records::new(records.into_iter().flat_map(Batch::decode));
    let (told, last_instance) = (origin.revision, origin.last_instance);
    let pending = Arc::new(Pending::new(told, database.reserved(), last_instance));
    let progress = watch::Sender::default();
    let store =
        Box::new(FileStore { pending: Arc::clone(&pending), progress: progress.subscribe() });
    // If nobody takes it, it is dropped at once, and the writer ends at once.
    drop(tell.send(Ok(Opened { store, origin })));
    reader::run(&mut database, &pending, give);
    writer::run(database, &pending, &progress);
    // Whoever waits for the end of the progress may claim the directory then.
    drop(directory);
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

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.pending.end();
    }
}
