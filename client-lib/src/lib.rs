//! Find RPyC services by name, and tell registries of them.
//!
//! RPyC's servers tell a registry which names they serve, and its clients ask the registry for
//! them. [`Registrar`] does both, over UDP and TCP, with this project's registry and with RPyC's
//! own.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rpyc_client::{Registrar, ServiceName};
//!
//! // The registries in RPYC_REGISTRY, or else those nearby.
//! let registrar = Registrar::from_env()?;
//! for endpoint in registrar.discover(&ServiceName::new("payroll")?).await? {
//!     println!("{endpoint}");
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod error;
mod interfaces;
mod race;
mod registrar;
mod registries;
mod route;
#[cfg(test)]
mod scripted;

pub use address::{RegistryAddr, RegistryAddrError, Transport};
pub use error::{Attempt, Attempts, Fault, LookupError, RegisterError};
pub use registrar::{Acknowledgement, Registrar, RegistrarBuilder};
pub use registries::{REGISTRY_VARIABLE, Registries};
pub use rpyc_protocol::registry::Port;
pub use rpyc_protocol::registry::reply::Endpoint;
pub use rpyc_protocol::{NameError, ServiceName};
