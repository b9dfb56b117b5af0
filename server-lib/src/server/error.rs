//! Why a server does not listen.

use std::io;

use rpyc_client::{NameError, RegistryAddrError};

/// Why a server does not listen. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// An address cannot be bound; the fault of the settings, or of another program that has it.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address, as configured.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A name or an alias cannot be announced; the fault of the service.
    #[error("cannot announce the service")]
    Name(#[from] NameError),
    /// No address is configured; the fault of the settings.
    #[error("no address to listen on is configured")]
    NoAddress,
    /// The variable that names the registries makes no sense; the fault of the environment.
    #[error("cannot register")]
    Registries(#[from] RegistryAddrError),
}
