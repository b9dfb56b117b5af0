//! Keeps registrations beyond the life of the process.
//!
//! A change is visible to queries at once. The store decides when it is *durable*, and only then is
//! it acknowledged. A store gets every change in order, may be slow or fail, and never delays a
//! reader.

mod error;
mod file;
mod memory;
mod record;

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::StoreId;
use tokio::sync::watch;

pub use error::StoreError;
pub use file::{Claim, FileStore};
pub use memory::MemoryStore;
pub use record::{NativeRecord, Record, Silence};

use crate::host::Host;

/// The number of a change in a store. It is durable once the store has committed this number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket with this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number of the ticket.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The ticket of the next change.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The progress of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores build it as a literal")]
pub struct Progress {
    /// Every change up to this one is durable.
    pub committed: Ticket,
    /// Why the store cannot commit changes at the moment. It keeps trying.
    pub failure: Option<Arc<str>>,
}

/// One change of the table and of its copy in a store.
///
/// A [`Registry`](crate::Registry) changes its table in no other way, whether for a command, a
/// restart or another registry. So a table is a function of the changes that it has applied.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "stores must handle every change")]
pub enum Change {
    /// An instance is new, or its names, details or draining have changed. The place, lease and
    /// addresses of an instance never change.
    Put(Box<Record>),
    /// Which leases of an instance do not renew. All its other leases have renewed in this run.
    ///
    /// Recorded when a silent lease renews and when a lease becomes overdue: for most instances
    /// once a run, so that heartbeats cost a store nothing.
    Heard {
        /// The number of the instance.
        id: u64,
        /// Its silent leases, usually none.
        silent: Vec<Silence>,
    },
    /// An instance is gone.
    Removed {
        /// Its number.
        id: u64,
        /// Its host.
        host: Host,
        /// Its port.
        port: Port,
    },
}

/// The state with which a registry begins.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores build it as a literal")]
pub struct Origin {
    /// The store that numbers the revisions.
    pub store: StoreId,
    /// The last revision that may have been sent to a client.
    pub revision: u64,
    /// The last number of an instance that may have been sent to a client.
    pub last_instance: u64,
    /// The instances, in the order of their numbers. All their leases are silent: none has renewed
    /// in the run that begins.
    pub records: Records,
}

impl Origin {
    /// An origin without instances.
    #[must_use]
    pub fn empty(store: StoreId) -> Self {
        Self { store, revision: 0, last_instance: 0, records: Records::default() }
    }
}

/// The stored instances, one after the other. The store may still be reading them, so that a
/// million of them need not be in memory twice.
#[derive(Default)]
pub struct Records(Option<Box<dyn Iterator<Item = Record> + Send>>);

impl Records {
    /// The records of `source`. It may take its time, but returns all of them.
    pub fn new(source: impl Iterator<Item = Record> + Send + 'static) -> Self {
        Self(Some(Box::new(source)))
    }
}

impl From<Vec<Record>> for Records {
    fn from(records: Vec<Record>) -> Self {
        Self::new(records.into_iter())
    }
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.0.as_mut()?.next()
    }
}

impl Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

/// A store that has been opened, and its content.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores build it as a literal")]
pub struct Opened {
    /// The store, for changes from here on.
    pub store: Box<dyn Store>,
    /// The state with which the registry begins.
    pub origin: Origin,
}

/// Commits changes and reports when they are durable.
///
/// The store may be shared and remote: [`Store::record`] only queues a change, the store commits
/// when it can, and [`Store::progress`] reports how far it is or what prevents it.
///
/// Dropping a store does not wait either. The store then commits what it still can, and closes the
/// channel of [`Store::progress`] when it has finished.
pub trait Store: Debug + Send {
    /// The name of this kind of store.
    fn kind(&self) -> &'static str;

    /// Queues a change without waiting, and numbers it.
    fn record(&mut self, change: Change) -> Ticket;

    /// The ticket of the last change.
    fn last_ticket(&self) -> Ticket;

    /// Ensures that no later run reuses a revision up to `revision`. Called with rising numbers,
    /// before each is sent; does not wait. The numbers of instances in [`Change::Put`] are reserved
    /// in the same way when they are recorded.
    fn reserve(&mut self, revision: u64);

    /// Records how long this run has lasted in lease time, which stands still while the registry
    /// does not run. Called several times a second with rising times; does not wait. So the time in
    /// which leases stay silent adds up over restarts.
    fn ran(&mut self, time: Duration);

    /// A receiver of the store's progress.
    fn progress(&self) -> watch::Receiver<Progress>;
}
