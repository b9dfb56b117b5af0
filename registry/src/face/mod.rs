//! The faces of the registry: thin shells around sockets.
//!
//! A face reads bytes and the clock, finds out who asks, and hands both to the
//! [`Dispatcher`]. It decides nothing about the table.

pub(crate) mod tcp;
pub(crate) mod udp;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

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
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) interfaces: SharedInterfaces,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) checks: Checks,
}
