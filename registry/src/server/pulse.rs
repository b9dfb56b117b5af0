//! Notices when the process did not run.

use std::sync::Weak;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::dispatch::Dispatcher;

/// How often the thread of the pulse runs. Only a stop of the process, or of the machine, delays it
/// by much: it does not wait for the tasks that serve requests.
const INTERVAL: Duration = Duration::from_millis(50);

/// Ends the pulse when it is dropped.
#[derive(Debug)]
pub(super) struct Pulse {
    _end: mpsc::Sender<()>,
}

impl Pulse {
    /// Starts the thread. Without it, if the system grants none, only sweeps notice a stop.
    pub(super) fn start(dispatcher: Weak<Dispatcher>) -> Self {
        let (end, ended) = mpsc::channel();
        let beat = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let Some(dispatcher) = dispatcher.upgrade() else { return };
                let now = Instant::now();
                if let Some(lost) = dispatcher.is_alive(now, INTERVAL) {
                    let lost = humantime::format_duration(Duration::from_millis(
                        u64::try_from(lost.as_millis()).unwrap_or(u64::MAX),
                    ));
                    warn!(%lost, "the process stood still; every lease is extended by that time");
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("pulse".to_owned()).spawn(beat) {
            debug!(%error, "no thread for the pulse");
        }
        Self { _end: end }
    }
}
