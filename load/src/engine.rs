//! The loop of one thread, which sends from its sources for as long as there is work.
//!
//! It polls and never sleeps, so that no measured latency contains a wake-up of this thread. It
//! keeps one core busy.

use std::io;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::error::LoadError;
use crate::population::{Population, Request};
use crate::source::Source;
use crate::window::{Settled, Window};

/// A stream of requests and the handling of their replies.
pub(crate) trait Work {
    /// Adds the next requests of source `source`, if any, to an empty window.
    fn fill(&mut self, now: Instant, source: u32, window: &mut Window);

    /// Records a reply.
    fn answered(&mut self, now: Instant, source: u32, settled: Settled);

    /// Records a reply that no request waits for.
    fn stray(&mut self) {}

    /// Records the end of a window and the requests in it that got no reply.
    fn over(&mut self, now: Instant, source: u32, unanswered: impl Iterator<Item = Request>);

    /// Whether the work is done, so that no further request will be made.
    fn is_over(&self, now: Instant) -> bool;
}

/// Runs until the work is done and every request is answered or lost.
///
/// # Errors
/// If a socket cannot be replaced.
pub(crate) fn run(
    sources: &mut [Source],
    population: &Population,
    timeout: Duration,
    work: &mut impl Work,
) -> Result<(), LoadError> {
    let mut batch = Batch::new();
    loop {
        let (mut has_moved, mut is_busy) = (false, false);
        for source in &mut *sources {
            if !source.window.is_settled() {
                is_busy = true;
                has_moved |= receive(source, &mut batch, population, work);
                has_moved |= send(source, &mut batch, population);
                let now = Instant::now();
                let is_late = |since| now.saturating_duration_since(since) > timeout;
                if source.window.is_settled() {
                    work.over(now, source.number, std::iter::empty());
                } else if source.sent_at.is_some_and(is_late) {
                    work.over(now, source.number, source.window.unanswered());
                    source.renew()?;
                } else {
                    continue;
                }
            }
            let now = Instant::now();
            source.window.clear();
            work.fill(now, source.number, &mut source.window);
            if !source.window.is_empty() {
                (is_busy, has_moved) = (true, true);
                source.sent_at = Some(now);
                send(source, &mut batch, population);
            }
        }
        if !is_busy && work.is_over(Instant::now()) {
            return Ok(());
        }
        if !has_moved {
            std::thread::yield_now();
        }
    }
}

fn receive(
    source: &mut Source,
    batch: &mut Batch,
    population: &Population,
    work: &mut impl Work,
) -> bool {
    let expected = source.window.expected();
    if expected == 0 {
        return false;
    }
    let (window, number) = (&mut source.window, source.number);
    let mut now = None;
    let received = batch.receive(&source.socket, expected, |bytes| {
        let now = *now.get_or_insert_with(Instant::now);
        match window.settle(population.read(bytes)) {
            Some(settled) => work.answered(now, number, settled),
            None => work.stray(),
        }
    });
    did(received) > 0
}

fn send(source: &mut Source, batch: &mut Batch, population: &Population) -> bool {
    let unsent = source.window.unsent();
    if unsent.len() == 0 {
        return false;
    }
    let sent = did(batch.send(&source.socket, unsent.map(|request| population.bytes(request))));
    source.window.has_sent(sent);
    sent > 0
}

/// Counts the datagrams sent or received. A failure counts as none, and the loop tries again until
/// the request is lost: a full buffer drains, and a registry that restarts listens again.
fn did(result: io::Result<usize>) -> usize {
    result.unwrap_or(0)
}
