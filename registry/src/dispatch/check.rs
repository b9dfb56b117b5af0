//! An answer to a registration that says whether its addresses can be reached.

use std::net::SocketAddr;

use rpyc_protocol::registry::native::{Granted, Reply, Revision};

use super::native::{Envelope, Room};
use crate::refusal::Refusal;
use crate::store::Ticket;

/// A registration that has been taken, and whose addresses may be tried before it is answered.
#[derive(Debug)]
pub struct Check {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) ticket: Ticket,
    pub(super) granted: Granted,
    pub(super) envelope: Envelope,
    pub(super) revision: Revision,
    pub(super) room: Room,
}

impl Check {
    /// The addresses to try: those of the registration that the rules allow.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The answer, once the store has committed the ticket; `unreachable` tells of an address that
    /// cannot be reached, if it fits.
    ///
    /// # Errors
    /// [`Refusal::NoRoom`] if no answer fits.
    pub fn finish(self, unreachable: Option<String>) -> Result<(Ticket, Vec<u8>), Refusal> {
        let Self { ticket, granted, envelope, revision, room, .. } = self;
        let reply = |unreachable| {
            let lease = Some(Granted { unreachable, ..granted.clone() });
            envelope.close(Reply { lease, ..Reply::default() }, revision, &room)
        };
        // The lease is worth more than the remark.
        let is_whole = |bytes: &Vec<u8>| Reply::parse(bytes).is_ok_and(|it| it.lease.is_some());
        let answer = reply(unreachable).filter(is_whole).or_else(|| reply(None));
        answer.map(|bytes| (ticket, bytes)).ok_or(Refusal::NoRoom)
    }
}
