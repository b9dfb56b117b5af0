//! Where registrations are kept beyond the memory of the process.
//!
//! A change is visible to queries at once; a store decides when it is *durable*, and only then is it
//! acknowledged. A store gets every change in order, may take its time or fail, and never delays a
//! reader.

mod error;
mod file;
mod memory;
mod record;

use std::fmt::{self, Debug};
use std::sync::Arc;

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::StoreId;
use tokio::sync::watch;

pub use error::StoreError;
pub use file::{Claim, FileStore};
pub use memory::MemoryStore;
pub use record::{NativeRecord, Record};

use crate::table::Host;

/// The number of a change in a store. It is durable once the store has committed this number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket of this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
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

/// How far a store has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores build it as a literal")]
pub struct Progress {
    /// Every change up to this one is durable.
    pub committed: Ticket,
    /// Why the store takes no changes at the moment, if it does not. It goes on trying.
    pub failure: Option<Arc<str>>,
}

/// One change of the table, and of what a store keeps of it.
///
/// A [`Registry`](crate::Registry) changes its table in no other way, whether a command, a restart or
/// another registry is the reason. So a table is a function of the changes that it has applied.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "stores must handle every change")]
pub enum Change {
    /// An instance is new, or its names, its details or its draining have changed. The place, the lease
    /// and the addresses of an instance never change.
    Put(Box<Record>),
    /// An instance that was kept, by its number, has been heard from for the first time since the
    /// registry started. Told once a run, so that heartbeats cost a store nothing.
    Heard(u64),
    /// An instance is gone.
    Removed {
        /// Its number.
        id: u64,
        /// The host that served it.
        host: Host,
        /// The port on which it did.
        port: Port,
    },
}

/// What a registry begins with.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores build it as a literal")]
pub struct Origin {
    /// The store that counts the revisions.
    pub store: StoreId,
    /// The number of the last revision that may have been told to anybody.
    pub revision: u64,
    /// The highest number that an instance ever had.
    pub last_instance: u64,
    /// The instances, in the order of their numbers.
    pub records: Records,
}

impl Origin {
    /// Nothing was kept.
    #[must_use]
    pub fn empty(store: StoreId) -> Self {
        Self { store, revision: 0, last_instance: 0, records: Records::default() }
    }
}

/// The instances that were kept, one after the other, while the store may still be reading: a million of
/// them need not be in memory twice.
#[derive(Default)]
pub struct Records(Option<Box<dyn Iterator<Item = Record> + Send>>);

impl Records {
    /// What `source` gives. It may take its time, but gives all there are.
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

/// A store that has been opened, and what it kept.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores build it as a literal")]
pub struct Opened {
    /// Takes the changes from here on.
    pub store: Box<dyn Store>,
    /// What a registry begins with.
    pub origin: Origin,
}

/// Takes changes and tells when they are durable.
///
/// The store may be shared and far away: [`Store::record`] only takes note, the store commits when it
/// can, and [`Store::progress`] tells how far it has come or what keeps it from that.
///
/// Dropping it does not wait either. It says that nothing more will come: the store then commits what it
/// still can, and the channel of [`Store::progress`] closes when it has done all that it will do.
pub trait Store: Debug + Send {
    /// The word for this kind of store.
    fn kind(&self) -> &'static str;

    /// Takes a change, without waiting for anything, and numbers it.
    fn record(&mut self, change: Change) -> Ticket;

    /// The number of the change taken last.
    fn last_ticket(&self) -> Ticket;

    /// Makes sure that no later run tells a revision up to `revision` for another one. Called with
    /// rising numbers, before each is told; does not wait.
    fn reserve(&mut self, revision: u64);

    /// Follows how far it has come.
    fn progress(&self) -> watch::Receiver<Progress>;
}
