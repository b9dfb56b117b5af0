//! Why this project's registry did not do what it was asked.

use rpyc_protocol::registry::native::ErrorCode;

use super::{Attempt, Attempts, Fault, NO_REGISTRY_HINT};

/// Why a registry did not do what only this project's registry can be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A registry understood and would not do it, and none did. Nothing was changed, except where
    /// [`code`](Self::code) says that a change is not durable.
    #[error("{}", declined_by(.0))]
    Declined(Attempts),
    /// No registry could even be asked: nothing listens, no route leads there, the name stands for
    /// no address, or this program may not broadcast. The fault of the set-up; nothing was changed.
    #[error("cannot reach a registry: {0}; {NO_REGISTRY_HINT}")]
    NoRegistry(Attempts),
    /// No registry answered in time. The request may have been carried out.
    #[error(
        "no registry answered within {waited:.1?}: {0}; check that one runs there that is not RPyC's own, \
         and that no firewall blocks it",
        waited = .0.waited()
    )]
    NoReply(Attempts),
    /// An answer came that no registry gives, or the connection closed. The fault of the responder,
    /// or of the address; the request may have been carried out.
    #[error(
        "cannot decode the answer: {0}; RPyC's own registry or another program may use the port"
    )]
    Undecodable(Attempts),
}

/// What the first registry that declined says.
fn declined_by(attempts: &Attempts) -> String {
    match attempts.iter().find_map(declined) {
        Some((attempt, message)) => format!("{}: {message}", attempt.registry),
        None => attempts.to_string(),
    }
}

fn declined(attempt: &Attempt) -> Option<(&Attempt, &str)> {
    match &attempt.fault {
        Fault::Declined { message, .. } => Some((attempt, message)),
        Fault::ListingForbidden => Some((attempt, FORBIDDEN)),
        _ => None,
    }
}

const FORBIDDEN: &str = "listing is forbidden; the operator of the registry can allow it";

impl RequestError {
    pub(crate) fn new(attempts: Attempts) -> Self {
        let declines =
            |fault: &Fault| matches!(fault, Fault::Declined { .. } | Fault::ListingForbidden);
        if attempts.any(declines) {
            Self::Declined(attempts)
        } else if attempts.any(|fault| fault.is_undecodable() || fault.is_refusal()) {
            Self::Undecodable(attempts)
        } else if attempts.any(Fault::is_silence) {
            Self::NoReply(attempts)
        } else {
            Self::NoRegistry(attempts)
        }
    }

    /// What each registry did.
    #[must_use]
    pub fn attempts(&self) -> &Attempts {
        match self {
            Self::Declined(attempts)
            | Self::NoRegistry(attempts)
            | Self::NoReply(attempts)
            | Self::Undecodable(attempts) => attempts,
        }
    }

    pub(crate) fn into_attempts(self) -> Attempts {
        match self {
            Self::Declined(attempts)
            | Self::NoRegistry(attempts)
            | Self::NoReply(attempts)
            | Self::Undecodable(attempts) => attempts,
        }
    }

    /// Why the first registry that declined did so.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.attempts().iter().find_map(|attempt| match attempt.fault {
            Fault::Declined { code, .. } => Some(code),
            Fault::ListingForbidden => Some(ErrorCode::ListingForbidden),
            _ => None,
        })
    }

    /// Whether the lease is not known, or has ended: its server registers again.
    #[must_use]
    pub fn is_unknown_lease(&self) -> bool {
        self.code() == Some(ErrorCode::UnknownLease)
    }

    /// Whether the target matches no instance.
    #[must_use]
    pub fn is_unknown_target(&self) -> bool {
        self.code() == Some(ErrorCode::UnknownTarget)
    }

    /// Whether a registry may have carried out the request although no answer confirms it.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        matches!(self, Self::NoReply(_) | Self::Undecodable(_))
    }

    /// Whether no answer came at all.
    #[must_use]
    pub fn is_no_answer(&self) -> bool {
        matches!(self, Self::NoRegistry(_) | Self::NoReply(_))
    }
}

impl From<Attempts> for RequestError {
    fn from(attempts: Attempts) -> Self {
        Self::new(attempts)
    }
}
