//! Lets a sweep wait until requests that had arrived before it have been served.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long a sweep waits at most. A lane that takes longer is overloaded, and its requests come
/// too late.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lanes, each of which serves what has arrived when it is asked to.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    lanes: Mutex<Vec<mpsc::UnboundedSender<Served>>>,
}

/// Dropped when a lane has served what had arrived.
#[derive(Debug)]
pub(crate) struct Served {
    _done: oneshot::Sender<()>,
}

impl Drain {
    /// Adds a lane, which receives a request for each sweep.
    pub(crate) fn join(&self) -> mpsc::UnboundedReceiver<Served> {
        let (ask, asked) = mpsc::unbounded_channel();
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(ask);
        asked
    }

    /// Waits until every lane has served the datagrams that arrived before this call.
    ///
    /// Cancel safe.
    pub(crate) async fn served(&self) {
        let mut waiting = Vec::new();
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).retain(|lane| {
            let (done, is_done) = oneshot::channel();
            let is_open = lane.send(Served { _done: done }).is_ok();
            if is_open {
                waiting.push(is_done);
            }
            is_open
        });
        // After the timeout, the sweep goes on.
        let _ = timeout(PATIENCE, join_all(waiting)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_sweep_waits_for_every_lane_that_is_there() {
        let drain = Arc::new(Drain::default());
        let (mut first, mut second) = (drain.join(), drain.join());
        drop(drain.join());
        let sweep = tokio::spawn({
            let drain = Arc::clone(&drain);
            async move { drain.served().await }
        });
        drop(first.recv().await);
        let served = second.recv().await;
        assert!(!sweep.is_finished());
        drop(served);
        sweep.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_does_not_answer_delays_a_sweep_for_a_second() {
        let drain = Drain::default();
        let _lane = drain.join();
        let start = tokio::time::Instant::now();
        drain.served().await;
        assert_eq!(start.elapsed(), PATIENCE);
    }
}
