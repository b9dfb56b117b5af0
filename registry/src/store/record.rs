//! The stored form of an instance.

use std::net::SocketAddr;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{Details, LeaseId};

use crate::host::Host;

/// An instance as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct Record {
    /// Its number, which is never reused.
    pub id: u64,
    /// Its names, in the order of their registration. Without any it is no instance: an operator
    /// has drained its host and port.
    pub names: Vec<ServiceName>,
    /// Its host.
    pub host: Host,
    /// Its port.
    pub port: Port,
    /// When it registered, in seconds of the wall clock; for display only.
    pub registered_at: u64,
    /// Whether its registrant wants it to get no new clients.
    pub is_draining: bool,
    /// The leases that do not renew. The others have renewed in this run.
    pub silent: Vec<Silence>,
    /// The additional properties of a native registration.
    pub native: Option<NativeRecord>,
}

impl Record {
    /// A new registration in RPyC's own protocol, without a name yet.
    pub(crate) fn legacy(id: u64, host: Host, port: &Port, registered_at: u64) -> Self {
        let port = port.clone();
        let (names, silent, native) = (Vec::new(), Vec::new(), None);
        Self { id, names, host, port, registered_at, is_draining: false, silent, native }
    }

    /// Whether it is not an instance, but an operator's drain of its host and port.
    pub(crate) fn is_hold(&self) -> bool {
        self.names.is_empty() && self.is_draining
    }

    /// Whether no other instance may hold one of its names.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.native.as_ref().is_some_and(|native| native.is_exclusive)
    }

    /// Replaces the details; has no effect on a registration in RPyC's own protocol.
    pub(crate) fn set_details(&mut self, details: Details) {
        if let Some(native) = &mut self.native {
            native.details = details;
        }
    }
}

/// A lease that does not renew: it has not renewed since the registry started, or is overdue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct Silence {
    /// The name of the lease.
    pub name: ServiceName,
    /// The time of its last renewal, or the latest at which it may have renewed: milliseconds of
    /// lease time from the start of this run, negative before it.
    pub since_ms: i64,
}

/// The additional properties of a native registration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores take it apart")]
pub struct NativeRecord {
    /// Proves the identity of the registrant.
    pub lease: LeaseId,
    /// The host that the registration came from.
    pub registrant: Host,
    /// The idempotency key of the registration.
    pub key: Option<Box<str>>,
    /// Milliseconds that the lease lasts without renewal.
    pub ttl_ms: u64,
    /// The addresses that the registrant named.
    pub addresses: Vec<SocketAddr>,
    /// Whether no other instance may hold one of its names.
    pub is_exclusive: bool,
    /// The details that the registrant gave.
    pub details: Details,
}
