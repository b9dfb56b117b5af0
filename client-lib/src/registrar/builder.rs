//! The settings of a registrar.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::protocols::KnownProtocols;
use super::{Inner, Registrar};
use crate::Registries;

/// Settings for a [`Registrar`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RegistrarBuilder {
    registries: Registries,
    configured: Registries,
    timeout: Duration,
    connect_timeout: Duration,
    source: Option<SocketAddr>,
}

impl RegistrarBuilder {
    pub(super) fn new(registries: Registries) -> Self {
        Self {
            configured: registries.clone(),
            registries,
            timeout: Registrar::DEFAULT_TIMEOUT,
            connect_timeout: Registrar::DEFAULT_CONNECT_TIMEOUT,
            source: None,
        }
    }

    pub(super) fn from_settings(inner: &Inner) -> Self {
        Self {
            registries: inner.registries.clone(),
            configured: inner.configured.clone(),
            timeout: inner.timeout,
            connect_timeout: inner.connect_timeout,
            source: inner.source,
        }
    }

    /// Asks others than the registries that were named first.
    pub fn registries(mut self, registries: Registries) -> Self {
        self.configured = registries.clone();
        self.registries = registries;
        self
    }

    /// Asks only these of the registries that were named.
    pub(super) fn only(mut self, registries: Registries) -> Self {
        self.registries = registries;
        self
    }

    /// How long an answer is waited for, all registries together. Default 2 s.
    ///
    /// Over UDP the request is sent again at 0.2 s, 0.6 s, 1.4 s and so on, so a timeout much below
    /// 0.5 s does not survive a lost datagram; a long one delays the error if no registry answers.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long connecting to one endpoint of a service may take. Default 5 s.
    ///
    /// Other endpoints are tried meanwhile, so this matters only when none can be reached.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The address of this machine that requests leave from; the port is not used. Default: the
    /// system chooses for each request.
    ///
    /// It is the address that a registration announces, so a server that listens on one address
    /// gives that (RPyC's `interface`). Registries of the other IP version are not asked. An
    /// unspecified address chooses only the IP version.
    pub fn source(mut self, source: SocketAddr) -> Self {
        self.source = Some(SocketAddr::new(source.ip().to_canonical(), 0));
        if let SocketAddr::V6(v6) = source
            && let Some(SocketAddr::V6(kept)) = &mut self.source
        {
            kept.set_scope_id(v6.scope_id());
        }
        self
    }

    /// The registrar.
    #[must_use]
    pub fn build(self) -> Registrar {
        let registries = match self.source {
            Some(source) => self.registries.reachable_from(source.ip()),
            None => self.registries,
        };
        Registrar {
            inner: Arc::new(Inner {
                registries,
                configured: self.configured,
                timeout: self.timeout,
                connect_timeout: self.connect_timeout,
                source: self.source,
                protocols: KnownProtocols::default(),
            }),
        }
    }
}
