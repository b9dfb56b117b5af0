//! A connection on which a watcher gets notifications.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rpyc_protocol::registry::native::CURRENT_INTERVAL;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::failure::Failure;
use crate::dispatch::Watch;

/// How often a watcher without changes gets a heartbeat, so that both ends know that the other is
/// alive.
const WATCH_HEARTBEAT: Duration = CURRENT_INTERVAL;

/// The least time between notifications while changes go on; changes in between are sent together.
/// So ten thousand watchers take one processor, not all of them.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(100);

/// The number of notifications in a burst that are sent at once.
const BURST: u32 = 5;

/// The reason why a watcher wakes.
enum Woken {
    Changed,
    Due,
    Ended,
    Received(Result<usize, Failure>),
}

/// Limits how often a watcher is notified.
struct Pacing {
    /// When the next notification would be due if each had taken [`NOTIFY_INTERVAL`].
    due: Instant,
}

impl Pacing {
    fn new(now: Instant) -> Self {
        Self { due: now }
    }

    fn note(&mut self, now: Instant) {
        self.due = self.due.max(now) + NOTIFY_INTERVAL;
    }

    /// The end of the pause that is due now, if any.
    fn pause(&self, now: Instant) -> Option<Instant> {
        let ahead = self.due.saturating_duration_since(now);
        let too_much = ahead.checked_sub(NOTIFY_INTERVAL * (BURST - 1))?;
        (!too_much.is_zero()).then(|| now + too_much)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends notifications until the client leaves or reads too slowly, the connection must make
    /// room, or the registry ends.
    pub(super) async fn notify(&mut self, mut watch: Box<Watch>) -> Result<(), Failure> {
        let displace = self.guard.displaced();
        let mut displaced = pin!(displace.cancelled());
        // Reset only when it fires and for a pause, so that a notification sets no timer.
        let mut timer = pin!(sleep(WATCH_HEARTBEAT));
        let mut notified_at = Instant::now();
        let (mut has_notified, mut is_pausing) = (true, false);
        let mut pacing = Pacing::new(notified_at);
        // Holds no memory between notifications.
        let mut lines = Vec::new();
        loop {
            let woken = {
                let mut changed = pin!(watch.changed());
                let mut receiving = pin!(self.receive());
                poll_fn(|cx| {
                    // Usually a change is ready, and then nothing else is polled. After a
                    // notification the order is reversed, so that a busy watcher still notices its
                    // end.
                    let (is_first, is_last) =
                        (!has_notified && !is_pausing, has_notified && !is_pausing);
                    if is_first && changed.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Woken::Changed);
                    }
                    if displaced.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Woken::Ended);
                    }
                    if let Poll::Ready(received) = receiving.as_mut().poll(cx) {
                        return Poll::Ready(Woken::Received(received));
                    }
                    if timer.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Woken::Due);
                    }
                    if is_last && changed.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Woken::Changed);
                    }
                    has_notified = false;
                    Poll::Pending
                })
                .await
            };
            let now = Instant::now();
            let has_fired = matches!(woken, Woken::Due);
            match woken {
                Woken::Ended => return Ok(()),
                // The connection serves nothing else; its end is the end of the watch.
                Woken::Received(received) => match received? {
                    0 => return Ok(()),
                    _ => self.forget_received(),
                },
                Woken::Due if is_pausing => is_pausing = false,
                Woken::Due if notified_at + WATCH_HEARTBEAT <= now => watch.nothing_new(&mut lines),
                Woken::Due => {}
                Woken::Changed => {
                    if let Some(until) = pacing.pause(now) {
                        timer.as_mut().reset(until);
                        is_pausing = true;
                    }
                }
            }
            if is_pausing {
                continue;
            }
            let (mut has_more, before) = (true, notified_at);
            while has_more {
                has_more = watch.lines(now.into_std(), &mut lines);
                if !lines.is_empty() {
                    self.send(&std::mem::take(&mut lines)).await?;
                    (notified_at, has_notified) = (now, true);
                }
            }
            if notified_at != before {
                pacing.note(now);
            }
            if has_fired {
                timer.as_mut().reset(notified_at + WATCH_HEARTBEAT);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_without_end_is_told_at_a_pace() {
        let start = Instant::now();
        let mut pacing = Pacing::new(start);
        for _ in 0..BURST {
            assert_eq!(pacing.pause(start), None);
            pacing.note(start);
        }
        assert_eq!(pacing.pause(start), Some(start + NOTIFY_INTERVAL));
        let mut now = start;
        for _ in 0..10 {
            now = pacing.pause(now).expect("still too fast");
            assert_eq!(pacing.pause(now), None);
            pacing.note(now);
        }
        assert_eq!(now, start + 10 * NOTIFY_INTERVAL);
        // After a rest, a whole burst is allowed again.
        let rested = now + BURST * NOTIFY_INTERVAL;
        for _ in 0..BURST {
            assert_eq!(pacing.pause(rested), None);
            pacing.note(rested);
        }
        assert!(pacing.pause(rested).is_some());
    }
}
