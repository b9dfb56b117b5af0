//! Answers that are kept.

use std::sync::Arc;

use rpyc_protocol::ServiceName;

use super::{Connection, wait};
use crate::{ConnectError, ConnectionBuilder, Finder, RegistryAddrError, Resolved};

/// Keeps the servers of the names that it looks up; see [`crate::Resolver`]. It goes on in the
/// background.
#[derive(Clone, Debug)]
pub struct Resolver(crate::Resolver);

impl From<crate::Resolver> for Resolver {
    fn from(resolver: crate::Resolver) -> Self {
        Self(resolver)
    }
}

impl From<&Resolver> for Finder {
    fn from(resolver: &Resolver) -> Self {
        Self::from(resolver.as_async())
    }
}

impl Resolver {
    /// Asks the registries that the environment names, or else those nearby.
    ///
    /// # Errors
    /// [`RegistryAddrError`] if the environment names none properly.
    pub fn from_env() -> Result<Self, RegistryAddrError> {
        crate::Resolver::from_env().map(Self)
    }

    /// Returns the servers of `name`; see [`crate::Resolver::resolve`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn resolve(&self, name: &str) -> Result<Arc<Resolved>, ConnectError> {
        wait(self.0.resolve(name))
    }

    /// Connects to a server of `name`; see [`crate::Resolver::connect`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(&self, name: &str) -> Result<Connection, ConnectError> {
        wait(self.0.connect(name)).map(Connection)
    }

    /// The resolver, for async code and for methods that have no blocking form.
    #[must_use]
    pub fn as_async(&self) -> &crate::Resolver {
        &self.0
    }
}

impl ConnectionBuilder {
    /// As [`connect_through`](Self::connect_through), for programs without async.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect_through_blocking(
        self,
        through: impl Into<Finder>,
        name: &ServiceName,
    ) -> Result<Connection, ConnectError> {
        wait(self.connect_through(through, name)).map(Connection)
    }
}
