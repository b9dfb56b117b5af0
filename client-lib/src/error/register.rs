//! Why a registration or its end was not acknowledged.

use super::{Attempts, Fault, NO_REGISTRY_HINT, NO_REPLY_HINT, RequestError, refused_hint};

/// Why no registry acknowledged a registration, or the end of one. Doing it again is safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// No registry could even be asked: nothing listens, no route leads there, the name stands for
    /// no address, or this program may not broadcast. The fault of the set-up; nothing was changed.
    #[error("cannot reach a registry: {0}; {NO_REGISTRY_HINT}")]
    NoRegistry(Attempts),
    /// No registry answered in time. The registration may have been taken and only its
    /// acknowledgement lost.
    #[error("no registry acknowledged within {waited:.1?}: {0}; {NO_REPLY_HINT}", waited = .0.waited())]
    NoReply(Attempts),
    /// Something other than an acknowledgement came as the answer. The fault of the responder, or
    /// of the address; the registration may have been taken.
    #[error("cannot decode the acknowledgement: {0}; check that no other program uses the port")]
    NotAcknowledged(Attempts),
    /// A registry received the request and refused to answer it, probably because it finds it over
    /// one of its limits. Nothing was changed there.
    #[error("the registry refused the registration: {0}{hint}", hint = refused_hint(.0))]
    Refused(Attempts),
}

impl From<RequestError> for RegisterError {
    fn from(error: RequestError) -> Self {
        Self::new(error.into_attempts())
    }
}

impl RegisterError {
    pub(crate) fn new(attempts: Attempts) -> Self {
        if attempts.any(Fault::is_refusal) {
            Self::Refused(attempts)
        } else if attempts.any(Fault::is_undecodable) {
            Self::NotAcknowledged(attempts)
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
            Self::NoRegistry(attempts)
            | Self::NoReply(attempts)
            | Self::NotAcknowledged(attempts)
            | Self::Refused(attempts) => attempts,
        }
    }

    /// Whether no answer came at all.
    #[must_use]
    pub fn is_no_answer(&self) -> bool {
        matches!(self, Self::NoRegistry(_) | Self::NoReply(_))
    }

    /// Whether a registry may have taken the registration all the same.
    #[must_use]
    pub fn may_have_registered(&self) -> bool {
        !matches!(self, Self::NoRegistry(_))
    }

    /// Whether this program may not broadcast, which may be why no registry answered.
    #[must_use]
    pub fn is_broadcast_forbidden(&self) -> bool {
        self.attempts().any(|fault| matches!(fault, Fault::BroadcastForbidden(_)))
    }
}
