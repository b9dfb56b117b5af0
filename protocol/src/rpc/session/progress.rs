//! Whether something that takes long still goes on.

use std::time::{Duration, Instant};

/// A stretch of time, and how far things must have come by its end.
///
/// A deadline that moves with every byte lets a peer hold a frame for ever with a byte now and
/// then; one that never moves cuts off a long frame on a slow line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) deadline: Instant,
    goal: u64,
}

impl Progress {
    /// What holds after things have come to `done`: the same stretch, or a new one if its goal was
    /// reached or there was none. Without an end if time does not reach that far.
    pub(super) fn next(
        current: Option<Self>,
        now: Instant,
        done: u64,
        stretch: Duration,
        progress: usize,
    ) -> Option<Self> {
        current.filter(|stretch| done < stretch.goal).or_else(|| {
            let deadline = now.checked_add(stretch)?;
            Some(Self { deadline, goal: done.saturating_add(progress as u64) })
        })
    }
}
