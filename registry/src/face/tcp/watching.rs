//! A connection on which a client is told what happens.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::Failure;
use super::connection::Connection;
use crate::dispatch::Watch;

/// How often a watcher hears that nothing has happened, so that both ends know that the other is there.
const WATCH_HEARTBEAT: Duration = Duration::from_secs(15);

/// Why a watcher wakes.
enum Woken {
    Changed,
    Due,
    Ended,
    Received(Result<usize, Failure>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Tells what happens until the client goes, does not take it, must make room, or the registry ends.
    pub(super) async fn tell(&mut self, mut watch: Box<Watch>) -> Result<(), Failure> {
        // One's own, so that ten thousand do not look at one all the time.
        let (stop, give_up) = (self.stop.child_token(), self.place.given_up());
        let (mut stopped, mut given_up) = (pin!(stop.cancelled()), pin!(give_up.cancelled()));
        // Moved only when it fires: a watcher that is told much does not set a timer each time.
        let mut heartbeat = pin!(sleep(WATCH_HEARTBEAT));
        let mut told_at = Instant::now();
        let mut has_told = true;
        // Not kept while there is nothing to tell.
        let mut lines = Vec::new();
        loop {
            let woken = {
                let mut changed = pin!(watch.changed());
                let mut receiving = pin!(self.receive());
                poll_fn(|cx| {
                    // Mostly it is a change, and then nothing else is looked at. But whoever is told one
                    // after the other still hears of its end in between.
                    let is_first = !has_told;
                    if is_first && changed.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Woken::Changed);
                    }
                    if given_up.as_mut().poll(cx).is_ready() || stopped.as_mut().poll(cx).is_ready()
                    {
                        return Poll::Ready(Woken::Ended);
                    }
                    if let Poll::Ready(received) = receiving.as_mut().poll(cx) {
                        return Poll::Ready(Woken::Received(received));
                    }
                    if heartbeat.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Woken::Due);
                    }
                    if !is_first && changed.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Woken::Changed);
                    }
                    has_told = false;
                    Poll::Pending
                })
                .await
            };
            let now = Instant::now();
            match woken {
                Woken::Ended => return Ok(()),
                // Nothing else is served on this connection; its end is the end of the watch.
                Woken::Received(received) => match received? {
                    0 => return Ok(()),
                    _ => self.forget_received(),
                },
                Woken::Due if told_at + WATCH_HEARTBEAT <= now => watch.nothing_new(&mut lines),
                Woken::Due | Woken::Changed => {}
            }
            let mut has_more = true;
            while has_more {
                has_more = watch.lines(now.into_std(), &mut lines);
                if !lines.is_empty() {
                    self.send(&std::mem::take(&mut lines)).await?;
                    (told_at, has_told) = (now, true);
                }
            }
            if heartbeat.is_elapsed() {
                heartbeat.as_mut().reset(told_at + WATCH_HEARTBEAT);
            }
        }
    }
}
