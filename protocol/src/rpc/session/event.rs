//! Events for the layer above.

use super::in_flight::CallId;
use crate::brine::DecodeError;
use crate::rpc::refusal::Refusal;
use crate::rpc::{Action, Boxed, Dialect, Exception, FrameError, MessageError, ObjectId, Seq};

/// Something that the layer above must act on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The peer asks for something. Answer it with [`Session::reply`](super::Session::reply) or
    /// [`Session::raise`](super::Session::raise).
    Request {
        /// The request to answer.
        id: RequestId,
        /// The request.
        request: Request,
    },
    /// A call of ours has ended. Each call ends exactly once, unless it is cancelled.
    Completed {
        /// Which one.
        call: CallId,
        /// How. The references in the result are the receiver's to
        /// [`release`](super::Session::release).
        outcome: Result<Boxed, CallFailure>,
    },
    /// The peer holds an object of ours no more; its number will not come again.
    Dropped {
        /// Which one.
        object: ObjectId,
    },
    /// The conversation is over: the last event. All objects of both sides are gone with it.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// What the peer asks for. PING, CLOSE and DEL are answered by the session itself.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the wire's vocabulary is closed")]
pub enum Request {
    /// GETROOT: the object that this side offers first.
    Root,
    /// Something of an object that this side has offered.
    Object {
        /// Which one.
        object: ObjectId,
        /// What.
        action: Action,
    },
}

/// The right and the duty to answer one request of the peer's.
#[derive(Debug)]
#[must_use = "the peer waits for an answer"]
pub struct RequestId {
    pub(super) seq: Seq<'static>,
    pub(super) thread: Option<PeerThread>,
    /// What it takes of the limit on bytes of requests being served.
    pub(super) bytes: usize,
}

impl RequestId {
    /// The peer's thread that waits for the answer, if the dialect names it; to be named in
    /// requests that are made while this one is served.
    #[must_use]
    pub fn thread(&self) -> Option<PeerThread> {
        self.thread
    }
}

/// A thread of the peer's that waits for the answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerThread(pub(super) u64);

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CallFailure {
    /// The answer makes no sense; the fault of the peer. The request has run, the connection lives.
    #[error("invalid answer: {0}")]
    BadAnswer(Refusal),
    /// The connection ended first.
    #[error("the connection ended before the answer came")]
    Closed {
        /// Whether the request may have reached the peer.
        may_have_run: bool,
    },
    /// The deadline came first; the answer will be ignored. RPyC has no message to notify the peer.
    #[error("no answer before the deadline")]
    Expired {
        /// Whether the request may have reached the peer.
        may_have_run: bool,
    },
    /// The peer answered with an exception.
    #[error(transparent)]
    Raised(Box<Exception>),
}

/// Why a conversation is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer sends requests but does not read the answers:
    /// [`SessionLimits::backlog`](crate::rpc::SessionLimits::backlog).
    #[error("the peer does not read the answers to its requests")]
    Backlog,
    /// A request or an answer that is not brine; the fault of the peer.
    #[error("a message that is not brine: {0}")]
    Body(DecodeError),
    /// The stream of bytes ended between two frames.
    #[error("the peer closed the connection")]
    Ended,
    /// The stream of bytes is not made of frames; the fault of the peer.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Nothing came for [`SessionLimits::idle`](crate::rpc::SessionLimits::idle).
    #[error("the peer was silent for too long")]
    Idle,
    /// The layer above called [`Session::close`](super::Session::close).
    #[error("closed by this side")]
    Local,
    /// A frame is not a message of the dialect; the fault of the peer, or of a client that was
    /// configured for the wrong dialect.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The peer said that it closes the connection. rpyc also does so when it fails to write an
    /// answer.
    #[error("the peer announced the end of the connection")]
    Peer,
    /// A frame that had begun went on too slowly, or not at all:
    /// [`SessionLimits::stall`](crate::rpc::SessionLimits::stall).
    #[error("the peer did not send the rest of a frame in time")]
    Stalled,
    /// The stream of bytes ended inside a frame.
    #[error("the connection ended inside a frame")]
    Truncated,
    /// The peer takes too slowly, or not at all, what it is sent:
    /// [`SessionLimits::unread`](crate::rpc::SessionLimits::unread).
    #[error("the peer does not read its messages")]
    Unread,
}

impl CloseReason {
    /// The dialect in which the peer would rather have been spoken to, if that is the reason.
    ///
    /// RPyC's own servers break off when they do not understand the first request, and say goodbye
    /// in their dialect. So a client with the wrong dialect learns the right one here, and may
    /// connect again.
    #[must_use]
    pub fn dialect_of_peer(&self) -> Option<Dialect> {
        match self {
            Self::Message(MessageError::OtherDialect { found, .. }) => Some(*found),
            _ => None,
        }
    }
}
