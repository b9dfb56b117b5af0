//! The party that makes a request, and the proof of its identity.

use std::net::IpAddr;
use std::time::Instant;

use crate::table::{Asker, Transport};

/// How well the source of a request is proven, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proof {
    /// A bare datagram, whose source can be forged.
    Datagram,
    /// A datagram with a cookie, which the registry sent to its source.
    Cookie,
    /// A connection, which its source has accepted.
    Connection,
}

/// The identity of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// An operator at the registry's machine, who may open the socket for operators.
    Here,
    /// A machine at this address, perhaps the registry's own: everyone on that machine, and
    /// everyone for whom a program there forwards connections.
    Network(IpAddr),
}

/// The party that makes a request: its identity, its transport and its proof.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Principal<'a> {
    /// The source of the request, and how it reached the registry.
    pub(crate) asker: &'a Asker,
    /// How well the source is proven.
    pub(crate) proof: Proof,
    /// When the registry sent the cookie of a datagram.
    pub(crate) cookie_made: Option<Instant>,
}

impl<'a> Principal<'a> {
    /// A principal with the proof that its transport gives.
    pub(crate) fn new(asker: &'a Asker) -> Self {
        let proof = match asker.transport {
            Transport::Tcp | Transport::Unix => Proof::Connection,
            Transport::Udp4 | Transport::Udp6 => Proof::Datagram,
        };
        Self { asker, proof, cookie_made: None }
    }

    /// The same principal with a valid cookie, which the registry made at this time.
    pub(crate) fn with_cookie(self, made: Instant) -> Self {
        Self { proof: self.proof.max(Proof::Cookie), cookie_made: Some(made), ..self }
    }

    /// The earliest time at which its request can have left: a connection delivers it once and in
    /// order, but a datagram may be a copy that was on its way since its cookie was made.
    pub(crate) fn sent_after(&self, now: Instant) -> Instant {
        match self.proof {
            Proof::Connection => now,
            Proof::Cookie | Proof::Datagram => self.cookie_made.unwrap_or(now),
        }
    }

    /// Its identity.
    pub(crate) fn identity(&self) -> Identity {
        match self.asker.transport {
            Transport::Unix => Identity::Here,
            Transport::Tcp | Transport::Udp4 | Transport::Udp6 => {
                Identity::Network(self.asker.host.ip())
            }
        }
    }
}
