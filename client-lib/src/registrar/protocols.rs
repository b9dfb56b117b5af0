//! Which registries speak which encoding.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use super::native::RegistryProtocol;
use crate::Transport;
use crate::lock::lock;

/// Which encodings registries are known to speak, by the address that each answers from.
#[derive(Debug, Default)]
pub(super) struct KnownProtocols(Mutex<HashMap<(Transport, SocketAddr), RegistryProtocol>>);

impl KnownProtocols {
    pub(super) fn of(
        &self,
        transport: Transport,
        registry: SocketAddr,
    ) -> Option<RegistryProtocol> {
        lock(&self.0).get(&(transport, registry)).copied()
    }

    /// Records that a registry has answered natively.
    pub(super) fn set_native(&self, transport: Transport, registry: SocketAddr) {
        lock(&self.0).insert((transport, registry), RegistryProtocol::Native);
    }

    /// Records that a registry answered nothing but RPyC's encoding.
    ///
    /// RPyC's own never closes a TCP connection over which it was asked in another encoding, so
    /// none is asked so twice. A lost datagram shows nothing, so over UDP only the opposite is
    /// forgotten.
    pub(super) fn set_legacy(&self, transport: Transport, registry: SocketAddr) {
        let mut known = lock(&self.0);
        match transport {
            Transport::Tcp => known.insert((transport, registry), RegistryProtocol::Legacy),
            Transport::Udp => known.remove(&(transport, registry)),
            // Nothing but this project's registry is there.
            Transport::Unix => None,
        };
    }
}
