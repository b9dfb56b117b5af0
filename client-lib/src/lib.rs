//! Find and reach RPyC services by name.
//!
//! RPyC's servers tell a registry which names they serve, and its clients ask the registry for
//! them. This crate does both, with this project's registry and with RPyC's own.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rpyc_client::ConnectError> {
//! let stream = rpyc_client::connect_by_service("payroll").await?;
//! println!("connected to {}", stream.endpoint());
//! # Ok(())
//! # }
//! ```
//!
//! | What | With |
//! |---|---|
//! | which registries are asked: the environment's, those nearby, or a list | [`Registries`], [`RegistryAddr`] |
//! | who serves a name, which names there are, who serves them since when | [`Registrar`] |
//! | that a name is served here | [`Registrar::register`]; to stay registered, the announcer of `rpyc-server` |
//! | a connection to a server of a name | [`connect_by_service`], [`ServiceStream`] |
//! | why there is none | [`LookupError`], [`RegisterError`], [`ConnectError`] |
//!
//! Everything needs a tokio runtime and starts no task of its own: what is dropped
//! is over.

mod address;
mod connect;
mod error;
mod interfaces;
mod race;
mod registrar;
mod registries;
mod route;
#[cfg(test)]
mod scripted;
mod stream;

pub use address::{RegistryAddr, RegistryAddrError, Transport};
pub use connect::connect_by_service;
pub use error::{Attempt, Attempts, ConnectError, Fault, LookupError, RegisterError, Unreached};
pub use registrar::{Acknowledgement, Instance, Registrar, RegistrarBuilder, Service, Snapshot};
pub use registries::{REGISTRY_VARIABLE, Registries};
pub use rpyc_protocol::registry::Port;
pub use rpyc_protocol::registry::reply::Endpoint;
pub use rpyc_protocol::{NameError, ServiceName};
pub use stream::{ServiceStream, Socket};
