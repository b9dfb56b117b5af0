//! What a registry answered, and which one it was.

use std::net::SocketAddr;
use std::time::Duration;

use rpyc_protocol::registry::native::{Filter, Granted, Revision};

use crate::{Acknowledgement, Registrar, Registries, RegistryAddr};

/// What a registry answered, and which one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<T> {
    /// The registry, as configured.
    pub registry: RegistryAddr,
    /// The address that the answer came from.
    pub responder: SocketAddr,
    /// The address of this machine that the request left from.
    pub source: SocketAddr,
    /// The revision of the registry's table that the answer shows, or that the change made.
    pub revision: Option<Revision>,
    /// The result.
    pub value: T,
}

impl<T> Answer<T> {
    /// A registrar that asks just the registry that gave this answer, with the settings of another.
    #[must_use]
    pub fn registrar(&self, settings: &Registrar) -> Registrar {
        let addr = RegistryAddr::new(self.registry.transport(), self.responder);
        // A registry that has answered has a port.
        let addr = addr.unwrap_or_else(|_no_port| self.registry.clone());
        settings.to_builder().only(Registries::from(addr)).build()
    }

    /// The answer with something made of its value.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        let Self { registry, responder, source, revision, value } = self;
        Answer { registry, responder, source, revision, value: change(value) }
    }
}

/// What a registry speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryProtocol {
    /// RPyC's own requests alone.
    Legacy,
    /// Those of this project, too.
    Native,
}

impl From<&Answer<Granted>> for Acknowledgement {
    /// The answer to a registration.
    fn from(answer: &Answer<Granted>) -> Self {
        let Answer { registry, responder, source, value, .. } = answer;
        let ttl = Some(Duration::from_millis(value.ttl_ms));
        Self { registry: registry.clone(), responder: *responder, source: *source, ttl }
    }
}

/// Which names and instances to list. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Query::default()` stays valid")]
pub struct Query {
    /// Only servers on this host.
    pub host: Option<String>,
    /// Only names that begin so, in any case.
    pub prefix: Option<String>,
    /// Only names like this, in any case: `*` is any text, `?` any character.
    pub glob: Option<String>,
    /// Which of their instances.
    pub filter: Filter,
}
