//! The faces of the registry: thin shells around sockets.
//!
//! A face reads bytes and the clock, finds out who asks, and hands both to the
//! [`Dispatcher`]. It decides nothing about the table.

pub(crate) mod tcp;
pub(crate) mod udp;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{SetOnce, watch};

use crate::counters::Counters;
use crate::dispatch::Dispatcher;
use crate::net::SharedInterfaces;
use crate::probe::Checks;
use crate::store::Progress;

/// How long a listening socket rests after an error: one that persists (no descriptor left, say) must
/// not spin.
const SOCKET_ERROR_PAUSE: Duration = Duration::from_millis(50);

/// What every face works with.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Serves requests; not there until the store has been read.
    pub(crate) dispatcher: SetOnce<Arc<Dispatcher>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) interfaces: SharedInterfaces,
    pub(crate) checks: Checks,
}

impl Shared {
    /// Waits for the next news of the store.
    ///
    /// Cancel safe: `progress` keeps what has been seen.
    async fn store_moved(&self, progress: &mut Option<watch::Receiver<Progress>>) {
        let progress = match progress {
            Some(progress) => progress,
            None => progress.insert(self.dispatcher.wait().await.progress()),
        };
        if progress.changed().await.is_err() {
            // A store that is gone commits nothing any more.
            std::future::pending::<()>().await;
        }
    }
}
