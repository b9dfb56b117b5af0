//! The reasons why a request is not served.

use std::net::IpAddr;

use rpyc_protocol::brine::EncodeError;
use rpyc_protocol::registry::{Port, PortError, RequestError, native};
use rpyc_protocol::rpc::DialectError;
use rpyc_protocol::{NameError, ServiceName};

use crate::details::DetailsError;
use crate::host::Host;

/// The reason why a request is not served. The registry logs it. A legacy client gets no reply,
/// because RPyC's clients take whatever they can decode for success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// An address of a registration is invalid.
    #[error("{0:?} is not a server address: write IP or IP:PORT")]
    Address(String),
    /// The registrant may not announce an address.
    #[error(
        "cannot announce {address} for {registrant}: it is not proven that this is its address; \
         register from {address}, or allow it with --addresses-from {registrant}={address}"
    )]
    AddressNotAllowed {
        /// The address.
        address: IpAddr,
        /// The host that the registration came from.
        registrant: Host,
    },
    /// Another registrant holds this host and port.
    #[error("{host} port {port} is registered by another client, which must deregister first")]
    AddressTaken {
        /// The host.
        host: Host,
        /// The port.
        port: Port,
    },
    /// Long answers to a source that may be forged exceed the budget of its network.
    #[error(
        "long answers over UDP to the network of {source_host} exceed their budget of bytes: use \
         TCP, which proves the source"
    )]
    AnswersTooLong {
        /// The source of the request.
        source_host: Host,
    },
    /// A change arrived in a datagram whose source is not proven, or not proven recently enough.
    #[error("a change over UDP needs the cookie of this reply: repeat the request with it")]
    CookieRequired,
    /// The details of an instance exceed a limit.
    #[error(transparent)]
    Details(#[from] DetailsError),
    /// A reported dialect is not one of RPyC's.
    #[error(transparent)]
    Dialect(#[from] DialectError),
    /// A host is not an IP address.
    #[error("{0:?} is not an IP address")]
    Host(String),
    /// A registrant's key is too long.
    #[error("a key may have at most {limit} bytes")]
    KeyTooLong {
        /// The limit.
        limit: usize,
    },
    /// The asker may not list.
    #[error("this client may not list names")]
    ListingForbidden,
    /// A name is too long.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name is longer than this registry allows.
    #[error("a name is longer than {limit} bytes, the limit of this registry")]
    NameTooLong {
        /// The limit.
        limit: usize,
    },
    /// Another instance holds an exclusive name.
    #[error("{name} is already served by {host} port {port}, and one of the two is exclusive")]
    NameTaken {
        /// The name.
        name: ServiceName,
        /// The host that serves it.
        host: Host,
        /// The port that serves it.
        port: Port,
    },
    /// An operation that needs a connection arrived in a datagram.
    #[error("watching needs a TCP connection")]
    NeedsTcp,
    /// A registration has no name.
    #[error("a registration needs at least one name, and no empty one")]
    NoNames,
    /// The request is so short that even the shortest answer is too long.
    #[error("the request is too short for any answer over UDP: send a longer one, or use TCP")]
    NoRoom,
    /// Only an operator or the owner of the lease may do this.
    #[error("only an operator, or the registrant with its lease, may do this")]
    NotAnOperator,
    /// An operation on instances has no target.
    #[error("the request selects no instance: give a lease, an instance, a name or a host")]
    NoTarget,
    /// A datagram begins like a native request but is invalid.
    #[error(transparent)]
    Native(#[from] native::ParseError),
    /// The request was shed under overload.
    #[error("the registry is overloaded and serves renewals first")]
    Overloaded,
    /// The port is invalid.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The path of a unix socket is not one that every program handles as one word.
    #[error("{0:?} is not the path of a unix socket: write an absolute path without spaces")]
    SocketPath(String),
    /// The message is not a request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The message is longer than any request.
    #[error("the message is longer than {limit} bytes")]
    TooLong {
        /// The most bytes that the registry reads.
        limit: usize,
    },
    /// The registry has as many instances as it may have.
    #[error("the registry already has {limit} instances, its limit")]
    TooManyInstances {
        /// The limit.
        limit: usize,
    },
    /// One machine has registered too many instances.
    #[error("{source_host} has already registered {limit} instances, the limit of one machine")]
    TooManyInstancesOfSource {
        /// The machine.
        source_host: Host,
        /// The limit.
        limit: usize,
    },
    /// The registrations of one machine take too much memory.
    #[error("the registrations of {source_host} take {limit} bytes, the limit of one machine")]
    TooManyBytes {
        /// The machine.
        source_host: Host,
        /// The limit.
        limit: usize,
    },
    /// The registrations in RPyC's own protocol take too much memory.
    #[error("registrations in RPyC's protocol take {limit} bytes, their limit")]
    TooManyLegacyBytes {
        /// The limit.
        limit: usize,
    },
    /// One machine has too many registrations.
    #[error("{source_host} already has {limit} registrations, the limit of one machine")]
    TooManyRegistrationsOfSource {
        /// The machine.
        source_host: Host,
        /// The limit.
        limit: usize,
    },
    /// An instance has too many names.
    #[error("an instance may have at most {limit} names")]
    TooManyNames {
        /// The limit.
        limit: usize,
    },
    /// The registry has as many registrations as it may have.
    #[error("the registry already has {limit} registrations, its limit")]
    TooManyRegistrations {
        /// The limit.
        limit: usize,
    },
    /// An instance has too many addresses.
    #[error("an instance may have at most {limit} addresses")]
    TooManyAddresses {
        /// The limit.
        limit: usize,
    },
    /// One machine exceeds its rate.
    #[error("{source_host} sends more than {limit} requests a second, the limit of one machine")]
    TooOften {
        /// The machine.
        source_host: Host,
        /// The limit.
        limit: u32,
    },
    /// The lease does not exist, or it has ended.
    #[error("the lease is unknown or has ended: register again")]
    UnknownLease,
    /// No instance matches the target.
    #[error("no instance matches the request")]
    UnknownTarget,
    /// This registry does not serve the operation.
    #[error("this registry does not serve the operation")]
    UnknownOperation,
    /// A value cannot be encoded as brine.
    #[error(transparent)]
    Unwritable(#[from] EncodeError),
}

impl Refusal {
    /// Whether the refusal saves work, so that a reply would defeat its purpose.
    pub(crate) fn saves_work(&self) -> bool {
        matches!(self, Self::AnswersTooLong { .. } | Self::Overloaded | Self::TooOften { .. })
    }
}
