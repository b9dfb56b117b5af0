//! Addresses as people write them: of one registry, of several, and of a server.

mod registries;
mod registry;
mod server;

pub use registries::{REGISTRY_VARIABLE, Registries};
pub(crate) use registry::Host;
pub use registry::{RegistryAddr, RegistryAddrError, Transport};
pub(crate) use server::ServerAddr;
