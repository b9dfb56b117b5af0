//! What an announcer knows of each registry.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rpyc_client::{Acknowledgement, RegisterError, Registries};

/// What an announcer knows of one registry, or of several of which one is enough.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The registries.
    pub registries: Registries,
    /// Whether they know.
    pub state: State,
    /// The last acknowledgement, with the address that the registry returns to clients unless the
    /// server announces its addresses itself.
    pub last: Option<Acknowledgement>,
    /// Whether it takes all details, by a lease; RPyC's own registry grants none.
    pub is_native: bool,
    /// Whether it gives the server no new clients.
    pub is_draining: bool,
    /// The registry's number for the server, where it grants a lease.
    pub instance: Option<u64>,
    /// An address of the server that the registry cannot reach, and why, where it checks.
    pub unreachable: Option<String>,
}

/// Whether a registry knows the announced server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// The last registration, and perhaps others before it, was acknowledged.
    Acknowledged {
        /// When the first acknowledgement since the last failure came.
        since: Instant,
        /// When the last came.
        renewed: Instant,
    },
    /// The last registration was not acknowledged; it is being tried again. The registry may
    /// remember an earlier one for some minutes.
    Failing {
        /// When the first failure since the last acknowledgement was known.
        since: Instant,
        /// Why the last registration was not acknowledged.
        reason: Arc<RegisterError>,
    },
    /// No registration has been answered or has failed yet.
    Pending,
    /// The announcement is over, and the registry knows.
    Withdrawn,
}

impl Status {
    pub(super) fn new(registries: Registries) -> Self {
        Self {
            registries,
            state: State::Pending,
            last: None,
            is_native: false,
            is_draining: false,
            instance: None,
            unreachable: None,
        }
    }

    /// Whether the last registration was acknowledged.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        matches!(self.state, State::Acknowledged { .. })
    }

    /// Whether the last registration was not acknowledged.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        matches!(self.state, State::Failing { .. })
    }

    pub(super) fn acknowledge(&mut self, now: Instant, acknowledgement: Acknowledgement) {
        let since = match self.state {
            State::Acknowledged { since, .. } => since,
            _ => now,
        };
        self.state = State::Acknowledged { since, renewed: now };
        self.last = Some(acknowledgement);
    }

    pub(super) fn fail(&mut self, now: Instant, reason: RegisterError) {
        let since = match self.state {
            State::Failing { since, .. } => since,
            _ => now,
        };
        self.state = State::Failing { since, reason: Arc::new(reason) };
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged { .. } => f.write_str("acknowledged"),
            Self::Failing { reason, .. } => write!(f, "failing: {reason}"),
            Self::Pending => f.write_str("pending"),
            Self::Withdrawn => f.write_str("withdrawn"),
        }
    }
}
