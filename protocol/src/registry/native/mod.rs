//! The native face: one JSON object a datagram, or one a line on TCP.
//!
//! It begins with `{`, which no legacy request does. It carries what the legacy face cannot: leases
//! with an owner, states and times, several addresses, tags and metadata, changes as they happen.
//! `docs/protocol.md` describes it.
//!
//! ```
//! use rpyc_protocol::registry::native::{Filter, Operation, Request};
//!
//! let request = Request::parse(br#"{"v": 1, "op": "resolve", "name": "payroll"}"#)?;
//! let Operation::Resolve { name, filter, .. } = request.operation else { panic!() };
//! assert_eq!((name.as_str(), filter), ("payroll", Filter::default()));
//! # Ok::<(), rpyc_protocol::registry::native::ParseError>(())
//! ```

use std::time::Duration;

mod event;
mod lease_id;
mod reply;
mod request;
mod revision;
mod status;

pub use event::{Event, EventKind};
pub use lease_id::LeaseId;
pub use reply::{ErrorBody, ErrorCode, Granted, Instance, Reply, Service, State};
pub use request::{
    Cursor, Details, DetailsUpdate, Filter, Operation, Page, Registration, Request, Target,
};
pub use revision::{Revision, RevisionError, StoreId};
pub use status::{Probes, Status};

/// The version of the native face that this crate speaks.
pub const VERSION: u32 = 1;

/// The most bytes of a reply over UDP, so that no link on the way must split it.
pub const MAX_DATAGRAM: usize = 1200;

/// How many times as long as its request a reply over UDP may be, unless the source has shown by
/// echoing a cookie that it is where it says. So forging the source of a request gains nothing.
pub const MAX_AMPLIFICATION: usize = 3;

/// The largest number of a request: what JSON numbers keep exactly in every language. A client
/// chooses the number at random, so that a host that does not see the request cannot answer it.
pub const MAX_REQUEST_ID: u64 = (1 << 53) - 1;

/// How often a registry sends [`EventKind::Current`] to a watcher for which nothing has changed.
pub const CURRENT_INTERVAL: Duration = Duration::from_secs(15);

/// The greatest weight of an instance: a greater one counts as this, so that no server of a name
/// outweighs all others without bound.
pub const MAX_WEIGHT: u16 = 100;

/// Whether a message that begins with `first` is native.
#[must_use]
pub fn is_native(first: u8) -> bool {
    first == b'{'
}

/// Whether invalid bytes were meant as a request: an object with an `op`, which no answer
/// has. A registry that answered anything else could be made to answer another registry.
#[must_use]
pub fn asks(bytes: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Asking {
        op: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Asking>(bytes).is_ok_and(|it| it.op.is_some())
}

/// JSON that is not a message of the native face.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a native message: {0}")]
pub struct ParseError(String);

impl From<serde_json::Error> for ParseError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}
