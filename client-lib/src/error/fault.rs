//! What one registry did instead of answering.

use std::io;

use rpyc_protocol::brine::DecodeError;
use rpyc_protocol::registry::native;

/// What one registry did instead of giving the answer that was wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The system does not let this program send to an address that many hear: missing privileges
    /// or a local firewall. Nothing was sent.
    #[error("this program may not broadcast")]
    BroadcastForbidden(#[source] io::Error),
    /// The registry closed the connection without a word: ours does so with a request that is over
    /// one of its limits.
    #[error("closed the connection without an answer")]
    Closed,
    /// The registry understood the request and would not do it.
    #[error("declined the request: {message}")]
    Declined {
        /// Why, for programs.
        code: native::ErrorCode,
        /// Why, for people.
        message: Box<str>,
    },
    /// The system refused to send or receive. The request may have been sent.
    #[error("cannot send or receive")]
    Io(#[source] io::Error),
    /// The registry forbids this program to list. Nothing was changed.
    #[error("forbids listing")]
    ListingForbidden,
    /// No network interface can carry a broadcast or multicast from the chosen source address.
    /// Nothing was sent.
    #[error("no network interface reaches it")]
    NoInterface,
    /// Nothing came within the timeout: no registry there, a firewall, or loss on the way. The
    /// request may have arrived.
    #[error("no reply")]
    NoReply,
    /// Something other than `OK` came as the answer to a registration; the fault of the registry.
    #[error("did not acknowledge")]
    NotAcknowledged,
    /// The machine is there, but nothing listens on the port. Nothing was taken.
    #[error("nothing listens there")]
    NothingListens,
    /// The system does not let this program send there: a rule of its routing or a local firewall.
    /// Nothing was sent.
    #[error("this program may not send there")]
    NotPermitted(#[source] io::Error),
    /// The chosen source address is not one of this machine, or of the other IP version than the
    /// registry. Nothing was sent.
    #[error("cannot send from the chosen source address")]
    Source(#[source] io::Error),
    /// The answer is not brine, or not of the shape that was asked for; the fault of the
    /// responder. Probably not a registry.
    #[error("sent an invalid answer")]
    Undecodable(#[source] DecodeError),
    /// The answer begins as JSON and is invalid; the fault of the responder.
    #[error("sent an invalid answer")]
    UndecodableNative(#[source] native::ParseError),
    /// The registry knows no server of the name.
    #[error("no such service")]
    Unknown,
    /// No network route leads to the machine.
    #[error("no route to the host")]
    Unreachable(#[source] io::Error),
    /// The host's name stands for no address, or the name service failed.
    #[error("cannot resolve the host name")]
    Unresolved(#[source] io::Error),
}

impl Fault {
    /// Sorts an error of a socket; `to_many` if it was to send where many hear.
    pub(crate) fn from_io(error: io::Error, to_many: bool) -> Self {
        match error.kind() {
            // Windows calls it a reset over UDP; over TCP that means something else.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                Self::NothingListens
            }
            io::ErrorKind::PermissionDenied if to_many => Self::BroadcastForbidden(error),
            io::ErrorKind::PermissionDenied => Self::NotPermitted(error),
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::Unreachable(error),
            io::ErrorKind::TimedOut => Self::NoReply,
            _ => Self::Io(error),
        }
    }

    /// Whether a registry received the request and refused to answer it.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Closed | Self::Declined { .. })
    }

    /// Whether the answer was something other than requested.
    #[must_use]
    pub fn is_undecodable(&self) -> bool {
        matches!(self, Self::NotAcknowledged | Self::Undecodable(_) | Self::UndecodableNative(_))
    }

    /// Whether the request may have arrived without an answer.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Io(_) | Self::NoReply)
    }

    /// Of several faults on the ways to one registry, the one with the highest rank is reported.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Unknown => 9,
            Self::ListingForbidden => 8,
            Self::Declined { .. } => 7,
            Self::NotAcknowledged | Self::Undecodable(_) | Self::UndecodableNative(_) => 6,
            Self::Closed => 5,
            Self::NoReply => 4,
            Self::BroadcastForbidden(_) | Self::NotPermitted(_) | Self::Io(_) => 3,
            Self::NothingListens => 2,
            Self::Unreachable(_) | Self::Unresolved(_) => 1,
            Self::NoInterface | Self::Source(_) => 0,
        }
    }
}
