//! The named bounds of a conversation.

use std::time::Duration;

use crate::Limits;

/// Bounds on the cost of one connection, independent of the peer.
///
/// ```
/// use rpyc_protocol::rpc::SessionLimits;
///
/// let limits = SessionLimits { requests: 64, ..SessionLimits::DEFAULT };
/// assert_eq!(limits.frame, 64 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a literal with `..SessionLimits::DEFAULT` stays valid"
)]
pub struct SessionLimits {
    /// Bounds on the values of one message, both ways. [`Limits::bytes`] is the longest payload,
    /// and thereby the most that a compressed frame may inflate to. A longer frame ends the
    /// connection; a value that is too deep, or has too many members or digits, is answered with an
    /// exception. Default [`Limits::DEFAULT`].
    pub message: Limits,
    /// Longest payload as it stands on the wire, in bytes. A frame that announces more ends the
    /// connection before anything is kept of it. Default 64 MiB.
    pub frame: usize,
    /// How many of our requests may wait for their answers at a time. Past it a request is not
    /// sent. Default 65,536.
    pub calls: usize,
    /// How many of the peer's requests may be served at a time. Past it a request is answered with
    /// an exception. Default 4096, as some clients send thousands of calls before they read.
    pub requests: usize,
    /// How many bytes the requests being served may take: as received, inflated, and the
    /// room for each value in it, which may be one byte there. A request comes in while there are
    /// fewer than this, however long it is. Default 128 MiB.
    pub request_bytes: usize,
    /// How many objects may be offered at a time. RPyC has no bound, and a client that walks a
    /// large structure holds every object that it has seen; `docs/performance.md` lists the cost of
    /// a million. Default 1,048,576.
    pub exports: usize,
    /// How many bytes of answers that the session gives by itself (to PING, DEL and nonsense) may
    /// wait to be sent. More is the mark of a peer that asks and never reads, and ends the
    /// connection. What the layer above sends does not count; it looks at
    /// [`Stats::unsent`](super::Stats::unsent). Default 64 MiB.
    pub backlog: usize,
    /// How long a frame that has begun may take for its next
    /// [`progress`](Self::progress) bytes, or for the rest of it. Default 5 s.
    pub stall: Duration,
    /// How long the peer may leave unread the next [`progress`](Self::progress) bytes that wait for
    /// it, once the system takes no more. Default 5 minutes, as Python's programs read only while
    /// they wait for something.
    pub unread: Duration,
    /// What counts as going on, for [`stall`](Self::stall) and [`unread`](Self::unread), in bytes.
    /// Default 4096.
    pub progress: usize,
    /// How long nothing may arrive while neither side waits for an answer. Default: for ever, as
    /// RPyC's clients keep connections without a sign of life.
    pub idle: Option<Duration>,
}

impl SessionLimits {
    /// For peers that are not trusted, over any network.
    pub const DEFAULT: Self = Self {
        message: Limits::DEFAULT,
        frame: 64 << 20,
        calls: 65_536,
        requests: 4096,
        request_bytes: 128 << 20,
        exports: 1 << 20,
        backlog: 64 << 20,
        stall: Duration::from_secs(5),
        unread: Duration::from_secs(300),
        progress: 4096,
        idle: None,
    };
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
