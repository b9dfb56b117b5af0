//! Where registrations are kept beyond the memory of the process.
//!
//! A change is visible to queries at once; a store decides when it is *durable*, and only then is it
//! acknowledged. A store gets every change in order and never delays a reader.

mod memory;

use std::fmt::Debug;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use tokio::sync::watch;

use crate::table::Host;
pub use memory::MemoryStore;

/// The number of a change in a store. It is durable once the store has committed this number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket of the next change.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One change of the table.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct Change<'a> {
    /// Whether the registration began or ended.
    pub event: Event,
    /// The name.
    pub name: &'a ServiceName,
    /// The host that serves it.
    pub host: Host,
    /// The port on which it does.
    pub port: &'a Port,
}

/// Whether a registration began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a registration begins and ends")]
pub enum Event {
    /// It began.
    Added,
    /// It ended.
    Removed,
}

/// Takes changes and tells when they are durable.
pub trait Store: Debug + Send {
    /// Takes a change, without waiting for anything, and numbers it.
    fn record(&mut self, change: &Change<'_>) -> Ticket;

    /// The number of the change taken last.
    fn last_ticket(&self) -> Ticket;

    /// Follows the number up to which changes are durable.
    fn committed(&self) -> watch::Receiver<Ticket>;
}
