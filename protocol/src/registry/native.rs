//! The native face: one JSON object a datagram, or one a line on TCP.
//!
//! It begins with `{`, which no legacy request does. So far it carries what the legacy face cannot:
//! for each instance its age and the time left of its lease.
//!
//! ```
//! use rpyc_protocol::registry::native::{Operation, Request};
//!
//! let request = Request::parse(br#"{"v": 1, "op": "resolve", "name": "payroll"}"#)?;
//! assert_eq!(request.operation, Operation::Resolve { name: "payroll".to_owned() });
//! # Ok::<(), rpyc_protocol::registry::native::RequestError>(())
//! ```

use serde::{Deserialize, Serialize};

use super::Port;

/// The version of the native face that this crate speaks.
pub const VERSION: u32 = 1;

/// The most bytes of a reply over UDP, so that no link on the way must split it.
pub const MAX_DATAGRAM: usize = 1200;

/// Whether a message that begins with `first` is native.
#[must_use]
pub fn is_native(first: u8) -> bool {
    first == b'{'
}

/// A request. Fields that are not known are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by clients as a literal")]
pub struct Request {
    /// The version of the face, [`VERSION`].
    pub v: u32,
    /// Go on after this place, as the last answer's [`Reply::next`] told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
    /// What is asked.
    #[serde(flatten)]
    pub operation: Operation,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Operation {
    /// Every name and who serves it.
    List {
        /// Only what is served from this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// Who serves one name.
    Resolve {
        /// The name, in any case.
        name: String,
    },
}

/// A place in the table: everything registered before it has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "opaque to clients, who only echo it")]
pub struct Cursor {
    /// The number of the service.
    pub service: u64,
    /// The number of the lease within it.
    pub lease: u64,
}

/// An answer: services, or an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Reply {
    /// The version of the face.
    pub v: u32,
    /// What was asked for, in the order of registration.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Where to go on, if this is not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

impl Reply {
    /// An answer that is all.
    #[must_use]
    pub fn of(services: Vec<Service>) -> Self {
        Self { v: VERSION, services, next: None, error: None }
    }

    /// An answer that is an error.
    #[must_use]
    pub fn error(code: ErrorCode, message: impl Into<String>) -> Self {
        let error = Some(ErrorBody { code, message: message.into() });
        Self { v: VERSION, services: Vec::new(), next: None, error }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`RequestError`] if it is none, the fault of whoever answered.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        serde_json::from_slice(bytes).map_err(|error| RequestError(error.to_string()))
    }

    /// The answer as one line of JSON, without the line's end.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists of them always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// [`RequestError`] tells what is wrong; the fault of the sender.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        serde_json::from_slice(bytes).map_err(|error| RequestError(error.to_string()))
    }

    /// The request as one line of JSON, without the line's end.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// One name and who serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Service {
    /// The name, in upper case.
    pub name: String,
    /// Who serves it.
    pub instances: Vec<Instance>,
}

/// One server of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Instance {
    /// Its address, as the asker can reach it.
    pub host: String,
    /// Its port (a number) or the path of its unix socket (a string).
    pub port: Port,
    /// Milliseconds since it registered this name.
    pub age_ms: u64,
    /// Milliseconds until its lease ends unless it renews.
    pub left_ms: u64,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// Why there is no answer, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request could not be read.
    BadRequest,
    /// Listing is not allowed to this asker.
    ListingForbidden,
    /// The version is not spoken here.
    UnsupportedVersion,
    /// A code of a later version.
    #[serde(other)]
    Unknown,
}

/// JSON that is no message of the native face.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a native message: {0}")]
pub struct RequestError(String);
