//! Why a message gets no answer.

use rpyc_protocol::brine::EncodeError;
use rpyc_protocol::registry::{Port, PortError, RequestError, native};
use rpyc_protocol::rpc::DialectError;
use rpyc_protocol::{NameError, ServiceName};

use crate::details::DetailsError;
use crate::table::Host;

/// Why a request is not served. The sender is not told (RPyC's clients take whatever they can decode
/// for success); the operator is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// An address of a registration that cannot be one.
    #[error("{0:?} is no address of a server: write IP or IP:PORT")]
    Address(String),
    /// Another registrant holds this place.
    #[error("{host} port {port} is registered by somebody else, who must deregister first")]
    AddressTaken {
        /// The host.
        host: Host,
        /// The port.
        port: Port,
    },
    /// What a registrant tells about its instance is too much.
    #[error(transparent)]
    Details(#[from] DetailsError),
    /// What a client tells is no dialect of RPyC.
    #[error(transparent)]
    Dialect(#[from] DialectError),
    /// A host that is no address.
    #[error("{0:?} is no IP address")]
    Host(String),
    /// A registrant's key is too long.
    #[error("a key has {limit} bytes at most")]
    KeyTooLong {
        /// The limit.
        limit: usize,
    },
    /// Listing is not allowed to this asker.
    #[error("listing is not allowed to you; see --listing and --operator-from")]
    ListingForbidden,
    /// A name is too long.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name is longer than this registry takes.
    #[error("a name is longer than {limit} bytes, the limit of this registry")]
    NameTooLong {
        /// The limit.
        limit: usize,
    },
    /// Somebody else holds a name that was to be held alone.
    #[error("{name} is served by {host} port {port} already")]
    NameTaken {
        /// The name.
        name: ServiceName,
        /// Where it is served.
        host: Host,
        /// On which port.
        port: Port,
    },
    /// Something that takes a connection was asked for in a datagram.
    #[error("a watch needs TCP")]
    NeedsTcp,
    /// A registration without a name.
    #[error("a registration needs at least one name, and none may be empty")]
    NoNames,
    /// Not even the shortest answer is short enough for so short a request.
    #[error("the request is too short for any answer; see docs/protocol.md on lengths")]
    NoRoom,
    /// Something that only operators, or who has the lease, may do.
    #[error("only the registrant, by its lease, or an operator may do this; see --operator-from")]
    NotAnOperator,
    /// An operation on instances that says not on which.
    #[error("say which instances: by lease, instance, name, host or port with one of these")]
    NoTarget,
    /// The datagram begins like a native request and is none.
    #[error(transparent)]
    Native(#[from] native::ParseError),
    /// More came than could be served, and this was not the most urgent.
    #[error("more comes than can be served; renewals go before all else")]
    Overloaded,
    /// A port that is none.
    #[error(transparent)]
    Port(#[from] PortError),
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
    /// An instance has too many addresses.
    #[error("an instance may have {limit} addresses at most")]
    TooManyAddresses {
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
    /// There is no such lease, or it has ended.
    #[error("there is no such lease, or it has ended: register again")]
    UnknownLease,
    /// No instance is meant.
    #[error("no instance is like that")]
    UnknownTarget,
    /// An operation that is not served here.
    #[error("this operation is not served here")]
    UnknownOperation,
    /// Something could not be written as brine.
    #[error(transparent)]
    Unwritable(#[from] EncodeError),
}

impl Refusal {
    /// Whether it saves work, so that a reply would defeat it.
    pub(crate) fn saves_work(&self) -> bool {
        matches!(self, Self::Overloaded | Self::TooOften { .. })
    }
}
