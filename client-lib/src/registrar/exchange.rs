//! One question under way: its deadline, and what one way to a registry brought.

use std::net::SocketAddr;

use rpyc_protocol::registry::native;
use tokio::sync::SetOnce;
use tokio::time::Instant;

use super::question::Question;
use crate::Fault;

/// A question under way, to any number of registries.
#[derive(Debug)]
pub(super) struct Asking<'a, A> {
    pub(super) question: &'a Question<A>,
    /// When the question is abandoned.
    pub(super) deadline: Instant,
    /// Set once a registry has answered that it knows nothing.
    pub(super) is_unknown: SetOnce<()>,
}

impl<'a, A> Asking<'a, A> {
    pub(super) fn new(question: &'a Question<A>, deadline: Instant) -> Self {
        Self { question, deadline, is_unknown: SetOnce::new() }
    }

    /// Notifies the other attempts.
    pub(super) fn note(&self, fault: &Fault) {
        if matches!(fault, Fault::Unknown) {
            // Once is enough.
            let _ = self.is_unknown.set(());
        }
    }
}

/// An answer, and the addresses between which it went.
#[derive(Debug)]
pub(super) struct Reply<A> {
    pub(super) answer: A,
    /// Who answered.
    pub(super) from: SocketAddr,
    /// The address of this machine that was answered to.
    pub(super) local: SocketAddr,
    /// How many bytes the answer has.
    pub(super) len: usize,
    /// Whether it is in the native encoding.
    pub(super) is_native: bool,
}

impl<A> Reply<A> {
    /// An answer that was read from `bytes`.
    pub(super) fn new(answer: A, bytes: &[u8], from: SocketAddr, local: SocketAddr) -> Self {
        let is_native = bytes.first().is_some_and(|&first| native::is_native(first));
        Self { answer, from, local, len: bytes.len(), is_native }
    }
}

/// Why one way to a registry led to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    pub(super) responder: Option<SocketAddr>,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { fault, responder: None }
    }
}

impl Failure {
    /// Whether a single registry that was asked in so many encodings has said all it will.
    pub(super) fn is_final(&self, encodings: usize) -> bool {
        match self.fault {
            Fault::ListingForbidden | Fault::Unknown => true,
            // Another encoding may do better.
            Fault::Declined { .. } => encodings == 1,
            _ => false,
        }
    }

    /// Whether another encoding of the same request could do better.
    pub(super) fn may_be_the_encodings(&self) -> bool {
        self.fault.is_silence() || self.fault.is_refusal() || self.fault.is_undecodable()
    }
}
