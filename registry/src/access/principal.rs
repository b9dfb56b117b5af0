//! Who asks, and how well that is proven.

use std::net::IpAddr;

use crate::table::{Asker, Transport};

/// How well the source of a request is proven, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proof {
    /// A bare datagram: anybody can forge its source.
    Datagram,
    /// A datagram with a cookie, which the registry sent to its source.
    Cookie,
    /// A connection, which its source has accepted.
    Connection,
}

/// The identity that a principal has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A program on the registry's own machine.
    ThisMachine,
    /// A machine at this address.
    Network(IpAddr),
}

/// Who asks, over what transport, and how well that is proven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Principal<'a> {
    /// Where the request came from, and how it reached the registry.
    pub(crate) asker: &'a Asker,
    /// How well the source is proven.
    pub(crate) proof: Proof,
}

impl<'a> Principal<'a> {
    /// The principal that has shown nothing but what its transport proves.
    pub(crate) fn new(asker: &'a Asker) -> Self {
        let proof = match asker.transport {
            Transport::Tcp => Proof::Connection,
            Transport::Udp4 | Transport::Udp6 => Proof::Datagram,
        };
        Self { asker, proof }
    }

    /// The same principal, which has also shown its cookie.
    pub(crate) fn with_cookie(self) -> Self {
        Self { proof: self.proof.max(Proof::Cookie), ..self }
    }

    /// The identity that it has shown.
    pub(crate) fn identity(&self) -> Identity {
        match self.asker.is_here {
            true => Identity::ThisMachine,
            false => Identity::Network(self.asker.host.ip()),
        }
    }
}
