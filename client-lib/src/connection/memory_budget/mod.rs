//! How much memory many connections take together.

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
const FREE_FRAME: usize = 16 << 10;

/// Requests and answers of no more bytes than this are not counted.
const FREE_HELD: usize = 64 << 10;

/// Bounds the memory that the messages of many connections take together.
///
/// RPyC has no authentication, so any host that reaches a server can announce a frame of 64 MiB and
/// send half of it, or ask for large answers and not read them, and do the same again on the next
/// connection. With a budget, the server ends connections when they take more than
///
/// | Bytes of | Default |
/// |---|---|
/// | unfinished frames: [`unfinished_bytes`](Self::unfinished_bytes) | 256 MiB |
/// | unfinished frames of peers that have not sent a valid message: [`first_bytes`](Self::first_bytes) | 16 MiB |
/// | requests being served and answers that are not read yet: [`held_bytes`](Self::held_bytes) | 512 MiB |
///
/// It ends the connection first whose frame, or whose peer's reading, has made no progress (64 KiB
/// in a second) for longest. If all make progress, it ends one of the source address (over IPv6: of
/// the network of 64 bits) that takes most. The other side sees a closed connection; the reason
/// here is [`Disconnect::Crowded`](crate::Disconnect::Crowded).
///
/// The servers of `rpyc-server` have a budget by default. A program that accepts connections itself
/// passes one to [`ConnectionBuilder::memory_budget`](crate::ConnectionBuilder::memory_budget).
/// Clones share the budget.
///
/// ```
/// use rpyc_client::MemoryBudget;
///
/// // Sixteen unfinished frames of 64 MiB at a time, for a machine that has the memory.
/// let budget = MemoryBudget::new().unfinished_bytes(1 << 30);
/// # let _ = budget;
/// ```
#[derive(Clone)]
pub struct MemoryBudget(Arc<Ledgers>);

struct Ledgers {
    frames: Mutex<Ledger>,
    held: Mutex<Ledger>,
}

impl MemoryBudget {
    /// How many bytes unfinished frames may take by default: 256 MiB, four of the longest.
    pub const DEFAULT_UNFINISHED_BYTES: usize = 256 << 20;

    /// How many bytes the unfinished frames of peers that have not sent a valid message may take by
    /// default: 16 MiB. RPyC's first request takes 14 bytes.
    pub const DEFAULT_FIRST_BYTES: usize = 16 << 20;

    /// How many bytes requests and answers may take by default: 512 MiB.
    pub const DEFAULT_HELD_BYTES: usize = 512 << 20;

    /// A budget with the defaults.
    #[must_use]
    pub fn new() -> Self {
        let frames = Ledger::new(Self::DEFAULT_UNFINISHED_BYTES, Self::DEFAULT_FIRST_BYTES);
        let held = Ledger::new(Self::DEFAULT_HELD_BYTES, Self::DEFAULT_HELD_BYTES);
        Self(Arc::new(Ledgers { frames: Mutex::new(frames), held: Mutex::new(held) }))
    }

    /// Unfinished frames may take so many bytes. Less than
    /// [`SessionLimits::frame`](crate::SessionLimits::frame), and no peer can send a frame of that
    /// length; too many, and a few hosts can take the memory of the machine.
    #[must_use]
    pub fn unfinished_bytes(self, bytes: usize) -> Self {
        lock(&self.0.frames).limit = bytes;
        self
    }

    /// The unfinished frames of peers that have not sent a valid message may take so many bytes.
    #[must_use]
    pub fn first_bytes(self, bytes: usize) -> Self {
        lock(&self.0.frames).first_limit = bytes;
        self
    }

    /// Requests being served, and answers that the peers have not read yet, may take so many bytes.
    /// Too few, and clients are disconnected that exchange large values at the same time.
    #[must_use]
    pub fn held_bytes(self, bytes: usize) -> Self {
        let mut held = lock(&self.0.held);
        (held.limit, held.first_limit) = (bytes, bytes);
        drop(held);
        self
    }

    /// How many bytes unfinished frames take now. Frames of at most 16 KiB do not count.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        lock(&self.0.frames).used()
    }

    /// How many bytes requests and answers take now. Connections with at most 64 KiB do not count.
    #[must_use]
    pub fn held(&self) -> usize {
        lock(&self.0.held).used()
    }

    /// Begins to count for one connection.
    pub(super) fn claim(&self, source: Option<IpAddr>) -> Claim {
        let id = lock(&self.0.frames).next_id();
        Claim { budget: self.clone(), id, source, counts: [false; 2], is_cut: Arc::default() }
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("unfinished", &self.unfinished())
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

/// What one connection takes of a budget; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    budget: MemoryBudget,
    id: u64,
    source: Option<IpAddr>,
    /// Whether something is counted now: of frames, and of what is held.
    counts: [bool; 2],
    is_cut: Arc<AtomicBool>,
}

impl Claim {
    /// Whether the connection must end, because others need the memory.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// Records that the unfinished frame of the connection takes so many bytes now; this connection
    /// or others may be cut for it.
    pub(super) fn set_unfinished(&mut self, bytes: usize, has_heard: bool, of: &Arc<Shared>) {
        let [counts, _] = &mut self.counts;
        if bytes <= FREE_FRAME {
            if std::mem::take(counts) {
                lock(&self.budget.0.frames).remove(self.id);
            }
            return;
        }
        *counts = true;
        let holder = self.holder(bytes, bytes as u64, has_heard, true, of);
        let cut = lock(&self.budget.0.frames).set(holder.progress_at, self.id, holder);
        cut.into_iter().for_each(Holder::cut);
    }

    /// Records that requests and answers of the connection take so many bytes now, `unread` of them
    /// waiting for the peer to read, which has taken `sent` in all.
    pub(super) fn set_held(&mut self, bytes: usize, unread: usize, sent: u64, of: &Arc<Shared>) {
        let [_, counts] = &mut self.counts;
        if bytes <= FREE_HELD {
            if std::mem::take(counts) {
                lock(&self.budget.0.held).remove(self.id);
            }
            return;
        }
        *counts = true;
        let holder = self.holder(bytes, sent, true, unread > 0, of);
        let cut = lock(&self.budget.0.held).set(holder.progress_at, self.id, holder);
        cut.into_iter().for_each(Holder::cut);
    }

    fn holder(
        &self,
        bytes: usize,
        position: u64,
        has_heard: bool,
        can_stall: bool,
        of: &Arc<Shared>,
    ) -> Holder {
        Holder {
            source: self.source,
            has_heard,
            bytes,
            can_stall,
            progress_at: now(),
            position,
            is_cut: self.is_cut.clone(),
            connection: Arc::downgrade(of),
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Holder {
    /// Makes the driver of the connection end it.
    fn cut(self) {
        self.is_cut.store(true, Ordering::Relaxed);
        if let Some(connection) = self.connection.upgrade() {
            // Wakes the driver.
            connection.change(|_| {});
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let [of_frames, of_held] = self.counts;
        if of_frames {
            lock(&self.budget.0.frames).remove(self.id);
        }
        if of_held {
            lock(&self.budget.0.held).remove(self.id);
        }
    }
}
