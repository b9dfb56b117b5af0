//! The store that keeps nothing: every change counts as durable at once.

use std::time::Duration;

use tokio::sync::watch;

use super::{Change, Progress, Store, Ticket};

/// Keeps registrations only in the memory of the process; a restart loses them.
#[derive(Debug, Default)]
pub struct MemoryStore {
    progress: watch::Sender<Progress>,
}

impl MemoryStore {
    /// A store without any change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn record(&mut self, _: Change) -> Ticket {
        let committed = self.last_ticket().next();
        self.progress.send_replace(Progress { committed, failure: None });
        committed
    }

    fn last_ticket(&self) -> Ticket {
        self.progress.borrow().committed
    }

    fn reserve(&mut self, _: u64) {}

    fn ran(&mut self, _: Duration) {}

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}
