//! The errors of a load test.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rpyc_protocol::NameError;
use rpyc_protocol::brine::EncodeError;

/// An error that prevents a load test from starting or continuing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A request cannot be encoded.
    #[error("cannot encode a request")]
    Encode(#[from] EncodeError),
    /// The prefix and a number are too long for a name together; the fault of the caller.
    #[error("cannot name a service")]
    Name(#[from] NameError),
    /// The registry acknowledged nothing for a while. What it acknowledged before stays registered.
    #[error(
        "{target} does not answer: {acknowledged} of {instances} instances were acknowledged, \
         then none for {}s", patience.as_secs_f64()
    )]
    NoReply {
        /// The registry.
        target: SocketAddr,
        /// How many instances it acknowledged.
        acknowledged: u32,
        /// How many instances it should have acknowledged.
        instances: u32,
        /// How long the load generator waited for the next acknowledgement.
        patience: Duration,
    },
    /// A socket cannot be opened, bound to a simulated host, or connected to the registry.
    #[error("cannot send to {target}{}", from(host.as_ref()))]
    Socket {
        /// The registry.
        target: SocketAddr,
        /// The simulated host.
        host: Option<Ipv4Addr>,
        /// The error that the system reports.
        source: io::Error,
    },
    /// The settings ask for more instances than the hosts have ports; the fault of the caller.
    #[error("{hosts} hosts can have at most {most} instances, one for each port")]
    TooManyInstances {
        /// How many hosts there are.
        hosts: u32,
        /// How many instances they can have.
        most: u32,
    },
}

fn from(host: Option<&Ipv4Addr>) -> String {
    host.map(|host| format!(" from {host}")).unwrap_or_default()
}
