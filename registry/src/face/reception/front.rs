//! The state that all faces share.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SetOnce};

use super::drain::Drain;
use super::waiting::LIMIT;
use crate::counters::{Counters, Loss};
use crate::dispatch::{Dispatcher, not_ready};
use crate::net::{Interfaces, SharedInterfaces};
use crate::probe::Checks;
use crate::refusal::Refusal;
use crate::table::Asker;

/// How long a listening socket pauses after an error. A persistent error, such as no free
/// descriptor, must not make it spin.
pub(crate) const SOCKET_ERROR_PAUSE: Duration = Duration::from_millis(50);

/// The state that all faces share.
#[derive(Debug)]
pub(crate) struct Reception {
    /// Serves requests; empty until the store has been read.
    dispatcher: SetOnce<Arc<Dispatcher>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) interfaces: SharedInterfaces,
    pub(super) checks: Checks,
    /// Lets sweeps wait for the lanes.
    pub(crate) drain: Drain,
    /// A permit for each request over TCP that may take long and is served at the same time.
    pub(crate) heavy: Semaphore,
    /// A permit for each answer that may wait.
    pub(super) waiting: Arc<Semaphore>,
}

/// Whether the registry can serve a request yet.
pub(crate) enum Readiness<'a> {
    /// It can: serve it.
    Ready(&'a Arc<Dispatcher>),
    /// It cannot: send this reply.
    Reply(Vec<u8>),
    /// It cannot, and must be silent: a legacy client would take any reply for "no servers".
    Silent,
}

/// The number of heavy requests that are served at once: one processor is left for datagrams.
fn heavy_at_once() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.saturating_sub(1).max(1)
}

impl Reception {
    /// A registry that is not ready.
    pub(crate) fn new(counters: Arc<Counters>, interfaces: Interfaces) -> Self {
        Self {
            dispatcher: SetOnce::new(),
            counters,
            interfaces: SharedInterfaces::new(interfaces),
            checks: Checks::default(),
            drain: Drain::default(),
            heavy: Semaphore::new(heavy_at_once()),
            waiting: Arc::new(Semaphore::new(LIMIT)),
        }
    }

    /// Serves requests from now on. Called once.
    pub(crate) fn open(&self, dispatcher: Arc<Dispatcher>) {
        // The server opens only one dispatcher.
        let _ = self.dispatcher.set(dispatcher);
    }

    /// The dispatcher, if the registry is ready.
    pub(crate) fn dispatcher(&self) -> Option<&Arc<Dispatcher>> {
        self.dispatcher.get()
    }

    /// Waits until the registry is ready.
    ///
    /// Cancel safe.
    pub(crate) async fn ready(&self) -> &Arc<Dispatcher> {
        self.dispatcher.wait().await
    }

    /// Whether the registry can serve this request yet.
    pub(crate) fn readiness(&self, asker: &Asker, message: &[u8]) -> Readiness<'_> {
        match self.dispatcher() {
            Some(dispatcher) => Readiness::Ready(dispatcher),
            None => not_ready(asker, message).map_or(Readiness::Silent, Readiness::Reply),
        }
    }

    /// Counts a request that is refused.
    pub(crate) fn refused(&self, now: Instant, source: SocketAddr, refusal: &Refusal) {
        self.lost(now, Loss::from(refusal), source, refusal);
    }

    /// Counts a message that is not served, and logs its kind at most once a minute.
    pub(crate) fn lost(
        &self,
        now: Instant,
        loss: Loss,
        source: impl Display,
        reason: impl Display,
    ) {
        self.counters.lost(now, loss, source, reason);
    }
}
