//! Why a message gets no answer.

use rpyc_protocol::NameError;
use rpyc_protocol::brine::EncodeError;
use rpyc_protocol::registry::{RequestError, native};

use crate::table::Host;

/// Why a request is not served. The sender is not told (RPyC's clients take whatever they can decode
/// for success); the operator is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A name is too long.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name is longer than this registry takes.
    #[error("a name is longer than {limit} bytes; see --max-name-length")]
    NameTooLong {
        /// The limit.
        limit: usize,
    },
    /// The datagram begins like a native request and is none.
    #[error(transparent)]
    Native(#[from] native::RequestError),
    /// The message is no request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The message is longer than any request.
    #[error("the message is longer than {limit} bytes")]
    TooLong {
        /// The most that is read.
        limit: usize,
    },
    /// The registry is full.
    #[error("{limit} instances are registered already; see --max-instances")]
    TooManyInstances {
        /// The limit.
        limit: usize,
    },
    /// One machine has registered too much.
    #[error(
        "{source_host} has registered {limit} instances already; see --max-instances-per-source"
    )]
    TooManyInstancesOfSource {
        /// The machine.
        source_host: Host,
        /// The limit.
        limit: usize,
    },
    /// An instance has too many names.
    #[error("an instance may have {limit} names at most; see --max-names")]
    TooManyNames {
        /// The limit.
        limit: usize,
    },
    /// The registry is full.
    #[error("{limit} names of instances are registered already; see --max-registrations")]
    TooManyRegistrations {
        /// The limit.
        limit: usize,
    },
    /// One machine asks too often.
    #[error("{source_host} sends more than {limit} requests a second; see --max-rate")]
    TooOften {
        /// The machine.
        source_host: Host,
        /// The limit.
        limit: u32,
    },
    /// Something could not be written as brine.
    #[error(transparent)]
    Unwritable(#[from] EncodeError),
}
