//! Which dialect a server probably speaks: what this process has seen, or was configured to expect.
//!
//! RPyC negotiates nothing, and no first message is valid in two dialects (`docs/wire.md`, section
//! 4). A server that hears another dialect closes the connection, and one that serves a single
//! connection ends. So the knowledge about a server decides the dialect of the first message.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use rpyc_protocol::registry::reply::Endpoint;
use rpyc_protocol::rpc::{Dialect, DialectError};

use super::ConnectionBuilder;
use crate::lock::lock;
use crate::resolver::Candidate;

/// The environment variable that names the dialect to try first with servers of which nothing is
/// known: `5` or `6`. Where it is not set or empty, that is `6`.
pub const DIALECT_VARIABLE: &str = "RPYC_DIALECT";

/// How many servers are remembered.
const REMEMBERED: usize = 1024;

/// The dialects of the servers that answered this process.
static DIALECTS: LazyLock<Mutex<HashMap<Endpoint, Dialect>>> = LazyLock::new(Mutex::default);

/// The dialect in which the server at `endpoint` last answered this process.
pub(super) fn remembered(endpoint: &Endpoint) -> Option<Dialect> {
    lock(&DIALECTS).get(endpoint).copied()
}

pub(super) fn remember(endpoint: &Endpoint, dialect: Dialect) {
    let mut dialects = lock(&DIALECTS);
    // To find a dialect again costs one connection, so any choice of what to forget will do.
    if dialects.len() >= REMEMBERED {
        dialects.clear();
    }
    dialects.insert(endpoint.clone(), dialect);
}

/// What [`DIALECT_VARIABLE`] names; `None` if it is not set or empty.
fn from_env() -> Result<Option<Dialect>, DialectError> {
    match std::env::var_os(DIALECT_VARIABLE) {
        Some(value) if !value.is_empty() => value.to_string_lossy().parse().map(Some),
        _ => Ok(None),
    }
}

impl Candidate {
    /// Whether neither this process nor a registry knows its dialect.
    pub(super) fn is_unknown(&self) -> bool {
        self.hint.is_none() && !self.endpoints.iter().any(|it| remembered(it).is_some())
    }
}

impl ConnectionBuilder {
    /// The builder with a dialect to try first, from the environment unless one is set already.
    pub(super) fn or_dialect_from_env(mut self) -> Result<Self, DialectError> {
        if self.dialect.is_none() && self.try_first.is_none() {
            self.try_first = from_env()?;
        }
        Ok(self)
    }

    /// The dialect to speak first to the server at `endpoint`.
    pub(super) fn first_dialect(&self, endpoint: &Endpoint) -> Dialect {
        remembered(endpoint).or(self.hint).or(self.try_first).unwrap_or(Dialect::V6)
    }
}
