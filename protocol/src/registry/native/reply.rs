//! What a registry answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Cursor, Details, Event, LeaseId, ParseError, Revision, Status, VERSION};
use crate::registry::Port;

/// An answer: the result, or an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Reply {
    /// The version of the face.
    pub v: u32,
    /// The number of the request that it answers, if that had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The revision of the table. The answer shows every change up to it; a later change may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The error, if the request failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    /// The lease that was registered or renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Granted>,
    /// The services, in the order of registration; absent if the request was for something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<Service>>,
    /// How many instances match, sent or not; absent if all of them are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Whether something is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Where to go on, if this is not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
    /// With this, the next request from the same address and port shows that its source is not
    /// forged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// How many instances were changed or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// How the registry does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Status>>,
    /// What happened, to a watcher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<Event>>,
}

impl Reply {
    /// An answer with nothing in it yet.
    #[must_use]
    pub fn new(revision: Revision) -> Self {
        Self { v: VERSION, revision: Some(revision), ..Self::default() }
    }

    /// An answer with services.
    #[must_use]
    pub fn of(services: Vec<Service>) -> Self {
        Self { v: VERSION, services: Some(services), ..Self::default() }
    }

    /// An answer that is an error.
    #[must_use]
    pub fn error(code: ErrorCode, message: impl Into<String>) -> Self {
        let error = Some(ErrorBody { code, message: message.into() });
        Self { v: VERSION, error, ..Self::default() }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`ParseError`] if it is none, the fault of the responder.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The number of the request that an answer is for, without reading the rest; `None` if the
    /// bytes are no answer or have no number.
    #[must_use]
    pub fn id_of(bytes: &[u8]) -> Option<u64> {
        #[derive(Deserialize)]
        struct Numbered {
            id: Option<u64>,
        }
        serde_json::from_slice::<Numbered>(bytes).ok()?.id
    }

    /// The answer as one line of JSON, without the line's end.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists of them always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A lease, as the registry granted or renewed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Granted {
    /// What renews, changes and ends it. Keep it secret.
    pub lease: LeaseId,
    /// The number of the instance, for people.
    pub instance: u64,
    /// Milliseconds that it lasts without renewal.
    pub ttl_ms: u64,
    /// Milliseconds after which to renew it: different each time, so that not all come at once.
    pub renew_ms: u64,
    /// The address that the registry sees the registrant at.
    pub observed: String,
    /// An address of the instance that cannot be reached from the registry, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

/// One name and its servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Service {
    /// The name, in upper case.
    pub name: String,
    /// Its servers.
    pub instances: Vec<Instance>,
}

/// One server of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Instance {
    /// Its number, the same under each of its names and never used again; 0 if unknown.
    #[serde(default)]
    pub id: u64,
    /// Its address, the one that suits the asker best.
    pub host: String,
    /// Its port (a number) or the path of its unix socket (a string).
    pub port: Port,
    /// Its other addresses, each `IP:PORT`, the better first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Whether it can be relied on.
    #[serde(default)]
    pub state: State,
    /// Why it is not passing, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Milliseconds since it registered this name.
    pub age_ms: u64,
    /// Milliseconds since it renewed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed_ms: Option<u64>,
    /// Milliseconds until its lease ends unless it renews; 0 for one that is overdue.
    pub left_ms: u64,
    /// Milliseconds that its lease lasts without renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Whether it registered by RPyC's own protocol: any program on its host can end it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub legacy: bool,
    /// The dialect of RPyC that it was last found to speak, by a client or a probe: a hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// The details of its registration.
    #[serde(flatten)]
    pub details: Details,
}

impl Instance {
    /// A passing instance of which nothing else is known.
    #[must_use]
    pub fn at(host: &str, port: Port) -> Self {
        Self {
            id: 0,
            host: host.to_owned(),
            port,
            addresses: Vec::new(),
            state: State::Passing,
            why: None,
            age_ms: 0,
            renewed_ms: None,
            left_ms: 0,
            ttl_ms: None,
            legacy: false,
            dialect: None,
            details: Details::default(),
        }
    }
}

/// Whether an instance can be relied on.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// It renews, and nothing speaks against it.
    #[default]
    Passing,
    /// It should have renewed and has not, or the registry has restarted since; answered last.
    Suspect,
    /// A probe finds it does not serve.
    Failing,
    /// It gets no new clients.
    Draining,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Suspect => "suspect",
            Self::Failing => "failing",
            Self::Draining => "draining",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why the request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// Why the request failed, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The registrant may not announce one of the addresses.
    AddressNotAllowed,
    /// Another registrant holds this address and port.
    AddressTaken,
    /// The request could not be read, or asks for what cannot be.
    BadRequest,
    /// A change over UDP needs the cookie of this reply: repeat the request with it.
    CookieRequired,
    /// Only the registrant or an operator may do this.
    Forbidden,
    /// A limit stands in the way.
    LimitReached,
    /// Listing is not allowed to this asker.
    ListingForbidden,
    /// Another server holds the name that was to be exclusive.
    NameTaken,
    /// The change is made but not durable: the store fails or is slow. It may still become so.
    NotDurable,
    /// The registry has just started and does not know yet; ask again.
    NotReady,
    /// The lease is unknown, or it has ended: register again.
    UnknownLease,
    /// The target matches no instance.
    UnknownTarget,
    /// The version is not spoken here.
    UnsupportedVersion,
    /// A code of a later version.
    #[serde(other)]
    Unknown,
}
