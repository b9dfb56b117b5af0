//! Why a registry's answer could not be had.

use rpyc_protocol::ServiceName;

use super::{Attempts, Fault, NO_REGISTRY_HINT, NO_REPLY_HINT, refused_hint};

/// Why a question to the registries has no answer. Nothing was changed; asking again is safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Registries answered that they forbid this program to list; none gave the list. The choice of
    /// their operators.
    #[error("cannot list services: {0}; the operator of the registry can allow it")]
    ListingForbidden(Attempts),
    /// No registry could even be asked: nothing listens, no route leads there, the name stands for
    /// no address, or this program may not broadcast. The fault of the set-up.
    #[error("cannot reach a registry: {0}; {NO_REGISTRY_HINT}")]
    NoRegistry(Attempts),
    /// No registry answered in time: none runs there, a firewall is between, or datagrams were
    /// lost.
    #[error("no registry answered within {waited:.1?}: {0}; {NO_REPLY_HINT}", waited = .0.waited())]
    NoReply(Attempts),
    /// A registry received the question and refused to answer it, probably because the question is
    /// over one of its limits; no other registry answered.
    #[error("the registry refused the query: {0}{hint}", hint = refused_hint(.0))]
    Refused(Attempts),
    /// An answer came that no registry gives, and no better one came. The fault of
    /// the responder, or of the address.
    #[error("cannot decode the answer: {0}; check that no other program uses the port")]
    Undecodable(Attempts),
    /// At least one registry answered that the name has no server, and no registry knew one.
    /// `attempts` lists silent registries too. The server is down, registers elsewhere or under
    /// another name.
    #[error(
        "no server of {name} is registered: {attempts}; check that one runs, registers with this \
         registry and is not draining"
    )]
    UnknownName {
        /// The name.
        name: ServiceName,
        /// Who said so, and who said nothing.
        attempts: Attempts,
    },
}

impl LookupError {
    /// The error for a question about `name`, or about all names, that no registry answered.
    pub(crate) fn new(name: Option<&ServiceName>, attempts: Attempts) -> Self {
        match name {
            Some(name) if attempts.any(|fault| matches!(fault, Fault::Unknown)) => {
                Self::UnknownName { name: name.clone(), attempts }
            }
            _ if attempts.any(|fault| matches!(fault, Fault::ListingForbidden)) => {
                Self::ListingForbidden(attempts)
            }
            _ if attempts.any(Fault::is_refusal) => Self::Refused(attempts),
            _ if attempts.any(Fault::is_undecodable) => Self::Undecodable(attempts),
            _ if attempts.any(Fault::is_silence) => Self::NoReply(attempts),
            _ => Self::NoRegistry(attempts),
        }
    }

    /// What each registry did.
    #[must_use]
    pub fn attempts(&self) -> &Attempts {
        match self {
            Self::ListingForbidden(attempts)
            | Self::NoRegistry(attempts)
            | Self::NoReply(attempts)
            | Self::Refused(attempts)
            | Self::Undecodable(attempts)
            | Self::UnknownName { attempts, .. } => attempts,
        }
    }

    /// Whether a registry answered that the name has no server.
    #[must_use]
    pub fn is_unknown_name(&self) -> bool {
        matches!(self, Self::UnknownName { .. })
    }

    /// Whether a registry answered that this program may not list.
    #[must_use]
    pub fn is_listing_forbidden(&self) -> bool {
        matches!(self, Self::ListingForbidden(_))
    }

    /// Whether no answer came at all.
    #[must_use]
    pub fn is_no_answer(&self) -> bool {
        matches!(self, Self::NoRegistry(_) | Self::NoReply(_))
    }

    /// Whether this program may not broadcast, which may be why no other registry answered.
    #[must_use]
    pub fn is_broadcast_forbidden(&self) -> bool {
        self.attempts().any(|fault| matches!(fault, Fault::BroadcastForbidden(_)))
    }
}
