//! The store that stores nothing: every change is as durable as it gets at once.

use tokio::sync::watch;

use super::{Change, Store, Ticket};

/// Keeps registrations in the memory of the process only; a restart forgets them.
#[derive(Debug)]
pub struct MemoryStore {
    committed: watch::Sender<Ticket>,
}

impl MemoryStore {
    /// A store without any change.
    #[must_use]
    pub fn new() -> Self {
        Self { committed: watch::Sender::new(Ticket::default()) }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn record(&mut self, _: &Change<'_>) -> Ticket {
        let ticket = self.last_ticket().next();
        self.committed.send_replace(ticket);
        ticket
    }

    fn last_ticket(&self) -> Ticket {
        *self.committed.borrow()
    }

    fn committed(&self) -> watch::Receiver<Ticket> {
        self.committed.subscribe()
    }
}
