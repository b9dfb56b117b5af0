//! The configuration of a session.

use crate::rpc::{Dialect, SessionLimits};

/// How a session behaves.
///
/// ```
/// use rpyc_protocol::rpc::{Config, Dialect, SessionLimits};
///
/// let server = Config::server();
/// let client = Config {
///     limits: SessionLimits { calls: 100, ..SessionLimits::DEFAULT },
///     ..Config::client(Dialect::V6)
/// };
/// assert_eq!(client.compress_above, server.compress_above);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Config::server()` stays valid")]
pub struct Config {
    /// The dialect, or `None` to take it from the first message of the peer.
    pub dialect: Option<Dialect>,
    /// What the connection may cost.
    pub limits: SessionLimits,
    /// Compress payloads that are longer than this, in bytes; `None` never does. The peer
    /// understands both. Default 3000, as RPyC does; on a fast network `None` is faster.
    pub compress_above: Option<usize>,
    /// The id under which this side appears in dialects with bound threads. Default 1; any number
    /// but 0.
    pub thread: u64,
}

impl Config {
    /// For the side that connects and must know the dialect.
    #[must_use]
    pub const fn client(dialect: Dialect) -> Self {
        Self { dialect: Some(dialect), ..Self::server() }
    }

    /// For the side that is connected to and adapts to its peer.
    #[must_use]
    pub const fn server() -> Self {
        Self {
            dialect: None,
            limits: SessionLimits::DEFAULT,
            compress_above: Some(3000),
            thread: 1,
        }
    }
}
