//! Why a registry's answer could not be had.

use rpyc_protocol::ServiceName;

use super::{Attempts, Fault, NO_REGISTRY_HINT, NO_REPLY_HINT, REFUSED_HINT};

/// Why a question to the registries has no answer. Nothing was changed; asking again is safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Registries answered that they forbid this program to list; none gave the list. The choice of
    /// whoever runs them.
    #[error("listing is forbidden: {0}; a registry that is started with --listing allows it")]
    ListingForbidden(Attempts),
    /// No registry could even be asked: nothing listens, there is no way, the name stands for no
    /// address, or this program may not broadcast. The fault of the set-up.
    #[error("no registry can be asked: {0}; {NO_REGISTRY_HINT}")]
    NoRegistry(Attempts),
    /// No registry answered in time: none runs there, a firewall is between, or datagrams were
    /// lost.
    #[error("no registry answered within {waited:.1?}: {0}; {NO_REPLY_HINT}", waited = .0.waited())]
    NoReply(Attempts),
    /// Somebody took the question and would not answer it, probably a registry that finds it over
    /// one of its limits; nobody else answered.
    #[error("the question was refused: {0}; {REFUSED_HINT}")]
    Refused(Attempts),
    /// Somebody answered, but not as a registry does, and nobody else did better. The fault of
    /// whoever answered, or of the address.
    #[error("no answer could be read: {0}; does another program use that port?")]
    Undecodable(Attempts),
    /// At least one registry answered that nobody serves the name, and none knew better; registries
    /// that were silent are told too. The server is down, registers elsewhere or under another name.
    #[error(
        "no server of {name} is registered: {attempts}; does the server run, and register with this registry?"
    )]
    UnknownName {
        /// The name.
        name: ServiceName,
        /// Who said so, and who said nothing.
        attempts: Attempts,
    },
}

impl LookupError {
    /// Tells why no registry answered a question about `name`, or about all names.
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

    /// Whether a registry answered that nobody serves the name.
    #[must_use]
    pub fn is_unknown_name(&self) -> bool {
        matches!(self, Self::UnknownName { .. })
    }

    /// Whether a registry answered that this program may not list.
    #[must_use]
    pub fn is_listing_forbidden(&self) -> bool {
        matches!(self, Self::ListingForbidden(_))
    }

    /// Whether nobody answered at all.
    #[must_use]
    pub fn is_no_answer(&self) -> bool {
        matches!(self, Self::NoRegistry(_) | Self::NoReply(_))
    }

    /// Whether this program was kept from broadcasting, which may be why nobody else answered.
    #[must_use]
    pub fn is_broadcast_forbidden(&self) -> bool {
        self.attempts().any(|fault| matches!(fault, Fault::BroadcastForbidden(_)))
    }
}
