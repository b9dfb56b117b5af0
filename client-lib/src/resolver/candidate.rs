//! A server that may be connected to, and the knowledge about it.

use std::sync::{Arc, Weak};

use rpyc_protocol::registry::reply::Endpoint;
use rpyc_protocol::rpc::Dialect;

use super::Feedback;
use crate::Instance;

/// A server that may be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Its addresses, the best first.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Where is written down how it went.
    pub(crate) feedback: Option<Feedback>,
    /// A registry's knowledge about its dialect.
    pub(crate) hint: Option<Hint>,
}

/// What a registry of this project knows about the dialect of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// The registry's number for the server.
    pub(crate) instance: u64,
    /// The dialect that a client or a probe found.
    pub(crate) dialect: Option<Dialect>,
}

impl Hint {
    pub(crate) fn of(instance: &Instance) -> Option<Self> {
        Some(Self { instance: instance.id?, dialect: instance.dialect })
    }
}

impl From<Endpoint> for Candidate {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoints: vec![endpoint], feedback: None, hint: None }
    }
}

/// How many connections to one server are open: as many as it has guards.
#[derive(Debug, Default)]
pub(super) struct ConnectionCount(Weak<()>);

impl ConnectionCount {
    pub(super) fn open(&self) -> usize {
        self.0.strong_count()
    }

    /// Counts one connection until the guard is dropped.
    pub(super) fn guard(&mut self) -> ConnectionGuard {
        let counted = self.0.upgrade().unwrap_or_else(|| {
            let new = Arc::new(());
            self.0 = Arc::downgrade(&new);
            new
        });
        ConnectionGuard(counted)
    }
}

/// Counts one connection while it exists.
#[derive(Debug)]
pub(crate) struct ConnectionGuard(#[expect(dead_code, reason = "exists to be counted")] Arc<()>);
