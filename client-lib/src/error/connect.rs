//! Why no server of a name could be connected to.

use std::fmt;
use std::io;
use std::time::Duration;

use rpyc_protocol::registry::reply::Endpoint;
use rpyc_protocol::rpc::DialectError;
use rpyc_protocol::{NameError, ServiceName};

use super::{CallError, LookupError};
use crate::RegistryAddrError;

/// Why no server of a name could be connected to. No connection is left open; trying again is safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// What should be an address is none; the fault of the caller.
    #[error(
        "{0:?} is not an address: write HOST:PORT or the path of a unix socket; ?dialect=5 or ?dialect=6 may follow"
    )]
    Address(Box<str>),
    /// The registry knows servers, and all of them are draining: they take no new clients, since
    /// they are about to go or an operator wants it so.
    #[error(
        "all servers of {name} are draining ({instances} registered); undrain one, or start another"
    )]
    AllDraining {
        /// The name.
        name: ServiceName,
        /// How many there are.
        instances: usize,
    },
    /// The registry knows servers, and none of them could be connected to: they are down, or their
    /// addresses are not to be reached from here.
    #[error(
        "cannot connect to a server of {name}: {}; check that they run and that this machine can reach \
         them",
        listed(.failures)
    )]
    AllFailed {
        /// The name.
        name: ServiceName,
        /// Each server in the order in which they were tried.
        failures: Vec<Unreached>,
    },
    /// The environment names no dialect properly; the fault of the environment.
    #[error(transparent)]
    Dialect(#[from] DialectError),
    /// The servers of the name are not known.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The name is none; the fault of the caller.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The server was connected to, but does not give its root.
    #[error("cannot get the root object of {address}: {error}")]
    NoRoot {
        /// The server.
        address: Box<str>,
        /// What it did instead.
        #[source]
        error: Box<CallError>,
    },
    /// The environment does not name registries properly; the fault of the environment.
    #[error(transparent)]
    Registries(#[from] RegistryAddrError),
    /// Nothing was connected to in time, and no attempt had failed yet: a registry or a server is
    /// silent, or the time is too short. Trying again is safe.
    #[error("cannot connect to {target} within {after:.1?}")]
    TimedOut {
        /// The name or the address.
        target: Box<str>,
        /// The time that connecting had.
        after: Duration,
    },
    /// The server cannot be connected to, or it does not speak RPyC.
    #[error("cannot connect to {0}: {error}", error = .0.error)]
    Unreached(Unreached),
}

impl ConnectError {
    /// Whether a registry answered that the name has no server.
    #[must_use]
    pub fn is_unknown_name(&self) -> bool {
        matches!(self, Self::Lookup(error) if error.is_unknown_name())
    }

    /// Whether servers are known, but none could be connected to.
    #[must_use]
    pub fn is_all_failed(&self) -> bool {
        matches!(self, Self::AllFailed { .. })
    }
}

/// A server that could not be connected to, and why.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint}")]
#[non_exhaustive]
pub struct Unreached {
    /// Where the registry says it is.
    pub endpoint: Endpoint,
    /// Why connecting failed.
    #[source]
    pub error: io::Error,
}

fn listed(failures: &[Unreached]) -> impl fmt::Display {
    let each: Vec<_> = failures
        .iter()
        .map(|Unreached { endpoint, error }| format!("{endpoint} ({error})"))
        .collect();
    each.join(", ")
}
