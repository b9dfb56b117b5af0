//! Why a call has no result.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rpyc_protocol::rpc::{CloseReason, Exception, ExportError, Refusal, RequestError, Unsendable};

use super::ConvertError;

/// Why a call has no result. [`CallError::may_have_run`] returns whether the peer may have done
/// what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The arguments cannot be sent; the fault of the caller. Nothing was sent.
    #[error("cannot send the arguments: {0}")]
    Arguments(#[source] Unsendable),
    /// The answer makes no sense; the fault of the peer. It has run, and the connection lives.
    #[error("invalid answer: {0}")]
    BadAnswer(#[source] Refusal),
    /// The connection has ended, before the call or during it.
    #[error("the connection has ended{}", ran(*.may_have_run))]
    Disconnected {
        /// Why it ended.
        #[source]
        reason: Disconnect,
        /// Whether the request may have reached the peer.
        may_have_run: bool,
    },
    /// An argument cannot be converted; the fault of the caller. Nothing was sent.
    #[error("cannot convert an argument: {0}")]
    Packing(#[source] ConvertError),
    /// The peer raised an exception. The connection lives.
    #[error(transparent)]
    Remote(Box<Exception>),
    /// The result is not of the type that was asked for. It has run, and the connection lives.
    #[error("cannot convert the result: {0}")]
    Result(#[source] ConvertError),
    /// No answer came in time; a later one is ignored. RPyC has no message to stop what the
    /// peer does.
    #[error("no answer within {after:.1?}{}", ran(*.may_have_run))]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// Whether the request may have reached the peer.
        may_have_run: bool,
    },
    /// More calls wait for their answers, or more objects are offered, than the limits allow.
    /// Nothing was sent.
    #[error("{0}")]
    TooMany(#[source] TooMany),
}

fn ran(may_have_run: bool) -> &'static str {
    if may_have_run { ", the call may have run" } else { ", the call has not run" }
}

impl CallError {
    /// Whether the peer may have done what it was asked, so that asking again may do it twice.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Arguments(_) | Self::Packing(_) | Self::TooMany(_) => false,
            Self::Disconnected { may_have_run, .. } | Self::Timeout { may_have_run, .. } => {
                *may_have_run
            }
            Self::BadAnswer(_) | Self::Remote(_) | Self::Result(_) => true,
        }
    }

    /// Whether the answer did not come in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// Whether the connection has ended; all other calls on it fail too.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected { .. })
    }

    /// Whether the peer raised an exception.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// The exception that the peer raised.
    #[must_use]
    pub fn remote(&self) -> Option<&Exception> {
        match self {
            Self::Remote(exception) => Some(exception),
            _ => None,
        }
    }

    /// Whether the peer raised the exception of this name: `ValueError`, or `module.Name` for one
    /// that is not Python's own.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.remote().is_some_and(|exception| exception.is(name))
    }
}

/// Over one of the limits on what waits or is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TooMany {
    /// Calls that wait for their answers.
    #[error("{limit} calls already wait for answers")]
    Calls {
        /// The limit.
        limit: usize,
    },
    /// Objects that are offered.
    #[error(transparent)]
    Objects(#[from] ExportError),
}

/// Why a connection has ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// The task that drives the connection was stopped, usually by the end of the runtime.
    #[error("the task of the connection was stopped")]
    Aborted,
    /// The messages of this and other connections took too much memory; see
    /// [`MemoryBudget`](crate::MemoryBudget). The fault of the peer, unless the budget is small.
    #[error("connections take too much memory, and this one made the least progress")]
    Crowded,
    /// One of the two sides ended it, or broke the rules.
    #[error(transparent)]
    Closed(CloseReason),
    /// The system failed to send or receive.
    #[error("the connection broke: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The peer has said nothing, although it was pinged; see
    /// [`ConnectionBuilder::ping_every`](crate::ConnectionBuilder::ping_every).
    #[error("the peer has been silent for {after:.1?} and does not answer a ping")]
    Silent {
        /// For how long at least.
        after: Duration,
    },
}

impl Disconnect {
    /// Whether it was ended as planned, by either side.
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        use CloseReason::{Ended, Idle, Local, Peer};
        matches!(self, Self::Closed(Ended | Idle | Local | Peer))
    }

    /// Whether the peer went away, with or without a goodbye.
    pub(crate) fn is_by_peer(&self) -> bool {
        matches!(self, Self::Closed(CloseReason::Ended | CloseReason::Peer) | Self::Io(_))
    }
}

impl From<RequestFailure> for CallError {
    fn from(failure: RequestFailure) -> Self {
        match failure {
            RequestFailure::Export(error) => Self::TooMany(error.into()),
            RequestFailure::Request(RequestError::TooManyCalls { limit }) => {
                Self::TooMany(TooMany::Calls { limit })
            }
            RequestFailure::Request(RequestError::Unsendable(error)) => Self::Arguments(error),
            RequestFailure::Request(_) => {
                let reason = Disconnect::Closed(CloseReason::Local);
                Self::Disconnected { reason, may_have_run: false }
            }
        }
    }
}

/// Why a request was not made.
#[derive(Debug)]
pub(crate) enum RequestFailure {
    Export(ExportError),
    Request(RequestError),
}

impl From<ExportError> for RequestFailure {
    fn from(error: ExportError) -> Self {
        Self::Export(error)
    }
}

impl From<RequestError> for RequestFailure {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

/// A failed conversion is a wrong argument, for the caller.
impl From<ConvertError> for Exception {
    fn from(error: ConvertError) -> Self {
        let name = if error.is_overflow() { "OverflowError" } else { "TypeError" };
        Self::builtin(name, error.to_string())
    }
}

/// An exception of the peer stays the same; any other error becomes the one that Python would
/// raise.
impl From<CallError> for Exception {
    fn from(error: CallError) -> Self {
        let name = match &error {
            CallError::Remote(exception) => return (**exception).clone(),
            CallError::Arguments(_) => "ValueError",
            CallError::Packing(_) | CallError::Result(_) => "TypeError",
            CallError::Timeout { .. } => "TimeoutError",
            CallError::Disconnected { .. } => "ConnectionError",
            CallError::BadAnswer(_) | CallError::TooMany(_) => "RuntimeError",
        };
        Self::builtin(name, error.to_string())
    }
}
