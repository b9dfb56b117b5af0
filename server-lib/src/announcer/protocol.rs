//! The two ways to keep a registry informed: RPyC's own protocol, and leases.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rpyc_client::{Acknowledgement, RegisterError, Registrar, Registries};

/// How long to wait when ending a registration that was never acknowledged: a registry that was
/// silent so far is unlikely to answer now.
pub(super) const BRIEF: Duration = Duration::from_millis(300);

/// A way to register a server with one registry, and what that registry is known to hold.
pub(super) trait Protocol: Send + Sync {
    /// Registers or renews the server, and drains or undrains it.
    fn announce(&mut self, is_draining: bool) -> BoxFuture<'_, Result<Announced, RegisterError>>;

    /// The acknowledgement of the registration that the registry holds.
    fn acknowledgement(&self) -> Option<&Acknowledgement>;

    /// Ends the registration, within `grace`.
    fn end(&self, grace: Duration) -> BoxFuture<'_, Result<(), RegisterError>>;
}

/// The result of one announcement.
#[derive(Debug, Default)]
pub(super) struct Announced {
    /// The registry's acknowledgement; `None` if the server was withdrawn in order to drain it.
    pub(super) acknowledgement: Option<Acknowledgement>,
    /// When the registry expects the next renewal.
    pub(super) renew_after: Option<Duration>,
    /// The registry's number for the server.
    pub(super) instance: Option<u64>,
    /// An address of the server that the registry cannot reach, and why.
    pub(super) unreachable: Option<String>,
    /// An earlier registration in RPyC's own protocol that this one replaces.
    pub(super) replaced: Option<Acknowledgement>,
}

pub(super) fn registrar(
    registries: Registries,
    source: Option<SocketAddr>,
    timeout: Duration,
) -> Registrar {
    let builder = Registrar::builder(registries).timeout(timeout);
    match source {
        Some(source) => builder.source(source).build(),
        None => builder.build(),
    }
}
