//! What is kept of an instance.

use std::net::SocketAddr;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{Details, LeaseId};

use crate::table::Host;

/// An instance, as a store keeps it. It holds no deadline: time does not survive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct Record {
    /// Its number, which no other instance ever has.
    pub id: u64,
    /// Its names, in the order of their registration.
    pub names: Vec<ServiceName>,
    /// The host that serves it.
    pub host: Host,
    /// The port on which it does.
    pub port: Port,
    /// When it registered, in seconds of the wall clock; for people only.
    pub registered_at: u64,
    /// Whether it shall get nobody new.
    pub is_draining: bool,
    /// How often the registry has started since it was heard from last, this start included; 0 if
    /// it has been heard from since.
    pub restarts: u32,
    /// What a registration in RPyC's own protocol does not have.
    pub native: Option<NativeRecord>,
}

impl Record {
    /// A new registration in RPyC's own protocol, without a name yet.
    pub(crate) fn legacy(id: u64, host: Host, port: &Port, registered_at: u64) -> Self {
        let port = port.clone();
        let (names, native) = (Vec::new(), None);
        Self { id, names, host, port, registered_at, is_draining: false, restarts: 0, native }
    }

    /// Changes what its registrant tells about it, if it can tell anything.
    pub(crate) fn set_details(&mut self, details: Details) {
        if let Some(native) = &mut self.native {
            native.details = details;
        }
    }
}

/// What is kept of a native registration besides.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct NativeRecord {
    /// Proves who the registrant is.
    pub lease: LeaseId,
    /// Where the registration came from.
    pub registrant: Host,
    /// The key under which it came.
    pub key: Option<Box<str>>,
    /// Milliseconds that the lease lasts without renewal.
    pub ttl_ms: u64,
    /// Where it is, as its registrant says.
    pub addresses: Vec<SocketAddr>,
    /// What its registrant tells about it.
    pub details: Details,
}
