//! A live connection to a peer.
//!
//! ```text
//!   Connection, RemoteObject            Driver: the only task that touches the socket
//!        |      (handles)                 |   reads always, writes when there is something
//!        +----------> Shared <------------+
//!               Session, waiters,         |
//!               what is offered           Server: starts the peer's requests in order
//! ```
//!
//! A handle that wants something writes it into the session's buffer under a short lock, wakes the
//! driver, and waits for its answer. Nothing is queued but in that buffer, whose fill holds new
//! calls back. So a handle can also be dropped, and a call be cancelled, without waiting.

mod builder;
mod call;
mod connect;
mod dialects;
mod driver;
mod first_message;
mod handshake;
mod heartbeat;
mod memory_budget;
mod opening;
mod pending;
mod serve;
mod shared;
#[cfg(test)]
mod tests;
mod time_limit;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rpyc_protocol::rpc::{Dialect, Stats};

pub use builder::ConnectionBuilder;
pub use call::Call;
pub use connect::{connect, connect_by_service};
pub use dialects::DIALECT_VARIABLE;
pub use driver::Driver;
pub use first_message::FirstMessage;
pub use memory_budget::MemoryBudget;
pub use opening::Opening;
pub use pending::PendingCall;

pub(crate) use self::call::Request;
use self::shared::Shared;
pub(crate) use self::time_limit::TimeLimit;
use crate::{CallError, Disconnect, Parcel, Peer, RemoteObject};

/// How long a call waits for its answer by default.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to a program that speaks RPyC, in Python or in Rust.
///
/// Cheap to clone and safe to use from many tasks at once: any number of calls may be under way
/// (they are pipelined), and requests of the peer are served meanwhile, on separate tasks.
///
/// Calls wait 30 s for their answers ([`DEFAULT_TIMEOUT`]) unless the connection
/// ([`ConnectionBuilder::timeout`]) or the call ([`Call::timeout`]) says otherwise.
///
/// The connection ends when either side closes it, when it breaks, and when the last [`Connection`]
/// and [`RemoteObject`] of it are dropped: then the peer is notified. Offered
/// [`Local`](crate::Local) objects do not keep it.
///
/// Clones are equal to each other and to no other connection; as the key of a map there is its
/// [`id`](Self::id).
#[derive(Clone)]
pub struct Connection(Arc<Handle>);

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for Connection {}

/// Which connection of this program it is: no two have the same, also after one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What all handles have in common. The connection ends with it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) number: u64,
    peer: Peer,
    opening: OnceLock<Opening>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.change(|state| state.session.close());
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.number).finish()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Connection {
    /// Starts to build a connection.
    pub fn builder() -> ConnectionBuilder {
        ConnectionBuilder::default()
    }

    pub(crate) fn from_handle(handle: Arc<Handle>) -> Self {
        Self(handle)
    }

    /// Identifies the connection within this program: the same for all clones.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId(self.0.number)
    }

    /// The object that the peer offers first: the service. Asked for once a connection.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn root(&self) -> Result<RemoteObject, CallError> {
        if let Some(id) = self.0.shared.with(|state| state.peer_root.clone()) {
            return Ok(RemoteObject::borrowed(self.0.clone(), id));
        }
        let root: RemoteObject = Call::new(self.0.clone(), Ok(Request::Root)).await?;
        // The reference that came is kept for as long as the connection lives.
        self.0.shared.with(|state| {
            if state.peer_root.is_none() && root.keep() {
                state.peer_root = Some(root.id().clone());
            }
        });
        Ok(root)
    }

    /// Asks the peer for a sign of life; gives the time it took.
    ///
    /// # Errors
    /// [`CallError`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ping(&self) -> Result<Duration, CallError> {
        let start = tokio::time::Instant::now();
        Call::<Parcel>::new(self.0.clone(), Ok(Request::Ping("ping".into()))).await?;
        Ok(start.elapsed())
    }

    /// Closes the connection: calls under way fail, and bytes that were sent may still arrive.
    /// Waits until the peer has received the goodbye and has hung up, for at most 2 s. Does nothing
    /// if the connection has ended.
    ///
    /// # Cancel safety
    /// The connection ends even if the future is dropped, once it was polled.
    pub async fn close(&self) {
        self.0.shared.change(|state| state.session.close());
        self.0.shared.has_left().await;
    }

    /// Says goodbye as soon as everything that the peer has asked for is answered; what it asks
    /// from now on is refused. Waits until the peer has received the goodbye.
    ///
    /// # Cancel safety
    /// The connection ends even if the future is dropped, once it was polled.
    pub async fn finish(&self) {
        self.0.shared.change(shared::State::finish);
        self.closed().await;
    }

    /// Waits for the end of the connection and returns its cause.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&self) -> Disconnect {
        self.0.shared.has_ended().await
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.shared.ended.borrow().is_some()
    }

    /// Who the peer is, as far as that is known: see [`ConnectionBuilder::peer`].
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// Where the peer is, over TCP.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.peer.addr
    }

    /// The dialect of the connection, once it is known.
    #[must_use]
    pub fn dialect(&self) -> Option<Dialect> {
        self.0.shared.with(|state| state.session.dialect())
    }

    /// How much is under way, offered and held.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.shared.with(|state| state.session.stats())
    }
}
