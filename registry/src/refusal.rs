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
    #[error("{0:?} is no address of a server: write IP or IP:PORT")]
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
    #[error("{host} port {port} is registered by somebody else, who must deregister first")]
    AddressTaken {
        /// The host.
        host: Host,
        /// The port.
        port: Port,
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
    #[error("{0:?} is no IP address")]
    Host(String),
    /// A registrant's key is too long.
    #[error("a key has {limit} bytes at most")]
    KeyTooLong {
        /// The limit.
        limit: usize,
    },
    /// The asker may not list.
    #[error("listing is not allowed to you; see --listing and --operator-from")]
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
    #[error("{name} is served by {host} port {port} already, and one of the two is exclusive")]
    NameTaken {
        /// The name.
        name: ServiceName,
        /// The host that serves it.
        host: Host,
        /// The port that serves it.
        port: Port,
    },
    /// An operation that needs a connection arrived in a datagram.
    #[error("a watch needs TCP")]
    NeedsTcp,
    /// A registration has no name.
    #[error("a registration needs at least one name, and none may be empty")]
    NoNames,
    /// The request is so short that even the shortest answer is too long.
    #[error("the request is too short for any answer; see docs/protocol.md on lengths")]
    NoRoom,
    /// Only an operator or the owner of the lease may do this.
    #[error("only the registrant, by its lease, or an operator may do this; see --operator-from")]
    NotAnOperator,
    /// An operation on instances has no target.
    #[error("say which instances: by lease, instance, name, host or port with one of these")]
    NoTarget,
    /// A datagram begins like a native request but is invalid.
    #[error(transparent)]
    Native(#[from] native::ParseError),
    /// The request was shed under overload.
    #[error("more comes than can be served; renewals go before all else")]
    Overloaded,
    /// The port is invalid.
    #[error(transparent)]
    Port(#[from] PortError),
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
    #[error("{limit} instances are registered already; see --max-instances")]
    TooManyInstances {
        /// The limit.
        limit: usize,
    },
    /// One machine has registered too many instances.
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
    /// The registry has as many registrations as it may have.
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
    /// One machine exceeds its rate.
    #[error("{source_host} sends more than {limit} requests a second; see --max-rate")]
    TooOften {
        /// The machine.
        source_host: Host,
        /// The limit.
        limit: u32,
    },
    /// The lease does not exist, or it has ended.
    #[error("there is no such lease, or it has ended: register again")]
    UnknownLease,
    /// No instance matches the target.
    #[error("no instance is like that")]
    UnknownTarget,
    /// This registry does not serve the operation.
    #[error("this operation is not served here")]
    UnknownOperation,
    /// A value cannot be encoded as brine.
    #[error(transparent)]
    Unwritable(#[from] EncodeError),
}

impl Refusal {
    /// Whether the refusal saves work, so that a reply would defeat its purpose.
    pub(crate) fn saves_work(&self) -> bool {
        matches!(self, Self::Overloaded | Self::TooOften { .. })
    }
}
