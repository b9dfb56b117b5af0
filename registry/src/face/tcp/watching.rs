//! A connection on which a client is told what happens.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::failure::Failure;
use crate::dispatch::Watch;

/// How often a watcher hears that nothing has happened, so that both ends know that the other is there.
const WATCH_HEARTBEAT: Duration = Duration::from_secs(15);

/// How often a watcher is told of changes when they do not end: what comes between is told together.
/// Ten thousand watchers take one processor then, and not all there are.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// How often it may be told at once before that counts.
const TOLD_AT_ONCE: u32 = 5;

/// Why a watcher wakes.
enum Woken {
    Changed,
    Due,
    Ended,
    Received(Result<usize, Failure>),
}

/// When a watcher may be told again.
struct Pace {
    /// When it would be told if it had been told every [`TOLD_EVERY`].
    due: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { due: now }
    }

    fn told(&mut self, now: Instant) {
        self.due = self.due.max(now) + TOLD_EVERY;
    }

    /// Until when it is to wait, if it is.
    fn pause(&self, now: Instant) -> Option<Instant> {
        let ahead = self.due.saturating_duration_since(now);
        let too_much = ahead.checked_sub(TOLD_EVERY * (TOLD_AT_ONCE - 1))?;
        (!too_much.is_zero()).then(|| now + too_much)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Tells what happens until the client goes, does not take it, must make room, or the registry ends.
    pub(super) async fn tell(&mut self, mut watch: Box<Watch>) -> Result<(), Failure> {
        let give_up = self.guard.given_up();
        let mut given_up = pin!(give_up.cancelled());
        // Moved when it fires and for a pause: a watcher that is told does not set a timer each time.
        let mut timer = pin!(sleep(WATCH_HEARTBEAT));
        let mut told_at = Instant::now();
        let (mut has_told, mut is_pausing) = (true, false);
        let mut pace = Pace::new(told_at);
        // Not kept while there is nothing to tell.
        let mut lines = Vec::new();
        loop {
            let woken = {
                let mut changed = pin!(watch.changed());
                let mut receiving = pin!(self.receive());
                poll_fn(|cx| {
                    // Mostly it is a change, and then nothing else is looked at. But whoever is told one
                    // after the other still hears of its end in between.
                    let (is_first, is_last) = (!has_told && !is_pausing, has_told && !is_pausing);
                    if is_first && changed.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Woken::Changed);
                    }
                    if given_up.as_mut().poll(cx).is_ready() {
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
                    has_told = false;
                    Poll::Pending
                })
                .await
            };
            let now = Instant::now();
            let has_fired = matches!(woken, Woken::Due);
            match woken {
                Woken::Ended => return Ok(()),
                // Nothing else is served on this connection; its end is the end of the watch.
                Woken::Received(received) => match received? {
                    0 => return Ok(()),
                    _ => self.forget_received(),
                },
                Woken::Due if is_pausing => is_pausing = false,
                Woken::Due if told_at + WATCH_HEARTBEAT <= now => watch.nothing_new(&mut lines),
                Woken::Due => {}
                Woken::Changed => {
                    if let Some(until) = pace.pause(now) {
                        timer.as_mut().reset(until);
                        is_pausing = true;
                    }
                }
            }
            if is_pausing {
                continue;
            }
            let (mut has_more, before) = (true, told_at);
            while has_more {
                has_more = watch.lines(now.into_std(), &mut lines);
                if !lines.is_empty() {
                    self.send(&std::mem::take(&mut lines)).await?;
                    (told_at, has_told) = (now, true);
                }
            }
            if told_at != before {
                pace.told(now);
            }
            if has_fired {
                timer.as_mut().reset(told_at + WATCH_HEARTBEAT);
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
        let mut pace = Pace::new(start);
        for _ in 0..TOLD_AT_ONCE {
            assert_eq!(pace.pause(start), None);
            pace.told(start);
        }
        assert_eq!(pace.pause(start), Some(start + TOLD_EVERY));
        let mut now = start;
        for _ in 0..10 {
            now = pace.pause(now).expect("still too fast");
            assert_eq!(pace.pause(now), None);
            pace.told(now);
        }
        assert_eq!(now, start + 10 * TOLD_EVERY);
        // After a rest there is room for as many at once as in the beginning.
        let rested = now + TOLD_AT_ONCE * TOLD_EVERY;
        for _ in 0..TOLD_AT_ONCE {
            assert_eq!(pace.pause(rested), None);
            pace.told(rested);
        }
        assert!(pace.pause(rested).is_some());
    }
}
