//! The watchers that wait for the next change of one name, or of any name.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The number of waiting watchers that a change wakes. Each of them wakes one more before it does
/// anything else. So the duration of a change does not grow with the number of watchers. Only a few
/// are ready to run at a time, so no other task waits for all of them.
const WOKEN_AT_ONCE: usize = 4;

/// The watchers of one name, or of all names.
#[derive(Debug)]
pub(super) struct Topic {
    /// The number of the latest change.
    latest: AtomicU64,
    followers: AtomicUsize,
    /// In the order in which they began to wait, so those that lack the latest change come before
    /// those that have it.
    waiting: Notify,
}

impl Topic {
    pub(super) fn new(latest: u64) -> Self {
        let (latest, followers) = (AtomicU64::new(latest), AtomicUsize::new(0));
        Self { latest, followers, waiting: Notify::new() }
    }

    pub(super) fn join(&self) {
        self.followers.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes one follower; returns whether it was the last.
    pub(super) fn leave(&self) -> bool {
        self.followers.fetch_sub(1, Ordering::Relaxed) == 1
    }

    pub(super) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    pub(super) fn moved_to(&self, number: u64) {
        self.latest.store(number, Ordering::Release);
    }

    /// Wakes the first waiting watchers; call it after [`Topic::moved_to`].
    pub(super) fn wake(&self) {
        let waiting = self.followers.load(Ordering::Relaxed).min(WOKEN_AT_ONCE);
        (0..waiting).for_each(|_| self.waiting.notify_one());
    }

    /// Waits until there is a change after number `place`.
    ///
    /// Cancel safe: if this has been woken and is dropped, it wakes the next one.
    pub(super) async fn moved_from(&self, place: u64) {
        let mut was_woken = false;
        loop {
            // Registers before it looks, so that it misses no change in between.
            let mut woken = pin!(self.waiting.notified());
            was_woken |= woken.as_mut().enable();
            if self.latest() > place {
                break;
            }
            woken.await;
            was_woken = true;
            if self.latest() > place {
                break;
            }
            // The watchers behind this one have the latest change as well, so it wakes none.
            was_woken = false;
        }
        if was_woken {
            self.waiting.notify_one();
        }
    }
}
