//! Answers that wait.

use std::net::SocketAddr;

use rpyc_protocol::registry::native::{Granted, Reply, Revision};

use super::native::Envelope;
use crate::store::Ticket;
use crate::table::{Directory, Transport};

/// An answer that waits until the addresses of a new instance have been probed, if there are any,
/// and then until a change is durable. It can become a refusal.
#[derive(Debug)]
pub struct Deferred {
    ticket: Ticket,
    transport: Transport,
    /// The envelope of a native answer. The only refusal of a legacy answer is silence.
    native: Option<Box<Native>>,
}

#[derive(Debug)]
struct Native {
    envelope: Envelope,
    check: Option<Check>,
}

/// A registration whose answer waits for probes.
#[derive(Debug)]
struct Check {
    addresses: Vec<SocketAddr>,
    granted: Granted,
    revision: Revision,
}

impl Deferred {
    /// A legacy answer that waits for a change.
    pub(super) fn legacy(ticket: Ticket, transport: Transport) -> Self {
        Self { ticket, transport, native: None }
    }

    /// A native answer that waits for a change.
    pub(super) fn native(ticket: Ticket, transport: Transport, envelope: Envelope) -> Self {
        Self { ticket, transport, native: Some(Box::new(Native { envelope, check: None })) }
    }

    /// The same answer, which grants a lease and waits for probes of these addresses first.
    pub(super) fn after_check(
        mut self,
        addresses: Vec<SocketAddr>,
        granted: Granted,
        revision: Revision,
    ) -> Self {
        if let Some(native) = &mut self.native {
            native.check = Some(Check { addresses, granted, revision });
        }
        self
    }

    /// The change that must be durable.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The addresses to probe first: those of the registration that the rules allow.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        let check = self.native.as_ref().and_then(|native| native.check.as_ref());
        check.map(|check| &check.addresses[..]).unwrap_or_default()
    }

    /// The answer with the remark that an address cannot be reached. `None` if both do not fit: the
    /// lease is worth more than the remark.
    #[must_use]
    pub fn with_remark(&self, unreachable: String) -> Option<Vec<u8>> {
        let Native { envelope, check } = &**self.native.as_ref()?;
        let Check { granted, revision, .. } = check.as_ref()?;
        let lease = Some(Granted { unreachable: Some(unreachable), ..granted.clone() });
        let answer = envelope.close(Reply { lease, ..Reply::default() }, *revision)?;
        Reply::parse(&answer).is_ok_and(|it| it.lease.is_some()).then_some(answer)
    }

    /// Whether the asker can learn of a refusal: from a native reply, or over TCP from the end of
    /// the connection. Otherwise the answer waits until a failing store recovers.
    pub(crate) fn is_refusable(&self) -> bool {
        !self.transport.is_datagram() || self.native.is_some()
    }

    /// The reply that replaces the answer because the change is not durable. `None` if the protocol
    /// has none.
    pub(crate) fn not_durable(&self, directory: &Directory, why: &str) -> Option<Vec<u8>> {
        self.native.as_ref()?.envelope.not_durable(directory.revision(), why)
    }

    /// Whether another program may have the asker's port after a while.
    pub(crate) fn is_datagram(&self) -> bool {
        self.transport.is_datagram()
    }
}
