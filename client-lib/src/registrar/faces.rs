//! Which registries speak which encoding.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};

use super::native::Face;
use crate::Transport;
use crate::lock::lock;

/// Which encodings registries are known to speak, by the address that each answers from.
#[derive(Debug, Default)]
pub(super) struct Faces(Mutex<HashMap<(Transport, SocketAddr), Face>>);

impl Faces {
    pub(super) fn of(&self, transport: Transport, registry: SocketAddr) -> Option<Face> {
        self.map().get(&(transport, registry)).copied()
    }

    /// Records that a registry has answered natively.
    pub(super) fn set_native(&self, transport: Transport, registry: SocketAddr) {
        self.map().insert((transport, registry), Face::Native);
    }

    /// Records that a registry answered nothing but RPyC's encoding.
    ///
    /// RPyC's own never closes a TCP connection over which it was asked in another encoding, so
    /// none is asked so twice. A lost datagram shows nothing, so over UDP only the opposite is
    /// forgotten.
    pub(super) fn set_legacy(&self, transport: Transport, registry: SocketAddr) {
        match transport {
            Transport::Tcp => drop(self.map().insert((transport, registry), Face::Legacy)),
            Transport::Udp => drop(self.map().remove(&(transport, registry))),
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<(Transport, SocketAddr), Face>> {
        // What is known is as good as before whatever its last user did.
        lock(&self.0)
    }
}
