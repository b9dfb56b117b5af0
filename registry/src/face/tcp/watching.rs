//! A connection on which a client is told what happens.

use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::Failure;
use super::connection::Connection;
use crate::dispatch::Watch;

/// How often a watcher hears that nothing has happened, so that both ends know that the other is there.
const WATCH_HEARTBEAT: Duration = Duration::from_secs(15);

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Tells what happens until the client goes, does not take it, or the registry ends.
    pub(super) async fn tell(&mut self, mut watch: Box<Watch>) -> Result<(), Failure> {
        let stop = self.stop.clone();
        let mut stopped = pin!(stop.cancelled());
        let mut told_at = Instant::now();
        // Moved only when it fires: a watcher that is told much does not set a timer each time.
        let mut heartbeat = pin!(sleep(WATCH_HEARTBEAT));
        loop {
            let mut is_due = false;
            tokio::select! {
                biased;
                () = &mut stopped => return Ok(()),
                // Nothing else is served on this connection; its end is the end of the watch.
                received = self.receive() => {
                    if received? == 0 {
                        return Ok(());
                    }
                    self.forget_received();
                }
                () = watch.changed() => {}
                () = &mut heartbeat => {
                    is_due = told_at + WATCH_HEARTBEAT <= Instant::now();
                    let next = if is_due { Instant::now() } else { told_at };
                    heartbeat.as_mut().reset(next + WATCH_HEARTBEAT);
                }
            }
            // Not kept while there is nothing to tell.
            let mut lines = Vec::new();
            if is_due {
                watch.nothing_new(&mut lines);
            }
            loop {
                let has_more = watch.lines(Instant::now().into_std(), &mut lines);
                if !lines.is_empty() {
                    self.send(&lines).await?;
                    told_at = Instant::now();
                    lines.clear();
                }
                if !has_more {
                    break;
                }
            }
        }
    }
}
