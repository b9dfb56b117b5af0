//! How much memory the unfinished frames of many connections take together.

mod ledger;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use self::ledger::{Holder, Ledger};
use super::shared::Shared;
use crate::lock::lock;

/// An unfinished frame of no more bytes than this is not counted: nearly every connection has one
/// now and then.
const FREE: usize = 16 << 10;

/// Bounds the memory that unfinished frames of many connections take together.
///
/// RPyC has no authentication, so any host that reaches a server can announce a frame of 64 MiB,
/// send half of it, and do the same again on the next connection. With a budget, the server ends
/// the connection of the frame that has made no progress for longest, once the frames of all
/// connections take more than the budget. If all of them make progress, it ends one of the source
/// address (over IPv6: of the network of 64 bits) that takes most. The other side sees a closed
/// connection; the reason here is [`Disconnect::Crowded`](crate::Disconnect::Crowded).
///
/// A frame of a peer that has not sent a valid message yet counts against a smaller budget of its
/// own. RPyC's first request takes 12 bytes. Frames that have arrived whole do not count:
/// [`SessionLimits::request_bytes`](crate::SessionLimits::request_bytes) bounds these.
///
/// The servers of `rpyc-server` have a budget by default. A program that accepts connections itself
/// passes one to [`ConnectionBuilder::frame_budget`](crate::ConnectionBuilder::frame_budget).
/// Clones share the budget.
///
/// ```
/// use rpyc_client::FrameBudget;
///
/// // Sixteen frames of 64 MiB at a time, for a machine that has the memory.
/// let budget = FrameBudget::new(1 << 30);
/// # let _ = budget;
/// ```
#[derive(Clone)]
pub struct FrameBudget(Arc<Mutex<Ledger>>);

impl FrameBudget {
    /// How many bytes unfinished frames may take by default: 256 MiB, four of the longest.
    pub const DEFAULT_BYTES: usize = 256 << 20;

    /// How many bytes the unfinished frames of peers that have not sent a valid message may take by
    /// default: 16 MiB.
    pub const DEFAULT_FIRST_BYTES: usize = 16 << 20;

    /// Unfinished frames may take so many bytes. Less than
    /// [`SessionLimits::frame`](crate::SessionLimits::frame), and no peer can send a frame of that
    /// length; too many, and a few hosts can take the memory of the machine.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let first = bytes.min(Self::DEFAULT_FIRST_BYTES);
        Self(Arc::new(Mutex::new(Ledger::new(bytes, first))))
    }

    /// The unfinished frames of peers that have not sent a valid message may take so many bytes.
    /// Default [`DEFAULT_FIRST_BYTES`](Self::DEFAULT_FIRST_BYTES).
    #[must_use]
    pub fn first_bytes(self, bytes: usize) -> Self {
        lock(&self.0).set_first_limit(bytes);
        self
    }

    /// How many bytes unfinished frames take now. Frames of at most 16 KiB do not count.
    #[must_use]
    pub fn used(&self) -> usize {
        lock(&self.0).used()
    }

    /// Begins to count for one connection.
    pub(super) fn claim(&self, source: Option<IpAddr>) -> Claim {
        let id = lock(&self.0).next_id();
        Claim { budget: self.clone(), id, source, bytes: 0, is_cut: Arc::default() }
    }
}

impl Default for FrameBudget {
    fn default() -> Self {
        Self::new(Self::DEFAULT_BYTES)
    }
}

impl fmt::Debug for FrameBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameBudget").field("used", &self.used()).finish_non_exhaustive()
    }
}

/// What one connection takes of a budget; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    budget: FrameBudget,
    id: u64,
    source: Option<IpAddr>,
    bytes: usize,
    is_cut: Arc<AtomicBool>,
}

impl Claim {
    /// Whether the connection must end, because others need the memory.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// Records that the unfinished frame of the connection takes so many bytes now; this connection
    /// or others may be cut for it.
    pub(super) fn set(&mut self, now: Instant, bytes: usize, has_heard: bool, of: &Arc<Shared>) {
        if bytes <= FREE {
            self.give_back();
            return;
        }
        self.bytes = bytes;
        let holder = Holder {
            source: self.source,
            has_heard,
            bytes,
            progress_at: now,
            progress_to: bytes,
            is_cut: self.is_cut.clone(),
            connection: Arc::downgrade(of),
        };
        let cut = lock(&self.budget.0).set(now, self.id, holder);
        for holder in cut {
            holder.is_cut.store(true, Ordering::Relaxed);
            if let Some(connection) = holder.connection.upgrade() {
                // Wakes the driver.
                connection.change(|_| {});
            }
        }
    }

    fn give_back(&mut self) {
        if self.bytes > 0 {
            self.bytes = 0;
            lock(&self.budget.0).remove(self.id);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_back();
    }
}
