//! What a watcher is told.

use serde::{Deserialize, Serialize};

use super::Instance;

/// Something that happened to the table. [`Reply::revision`](super::Reply::revision) beside it tells
/// from where a later watch goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which name, in upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// To which instance of it, as it is now; of a removed one, as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
}

/// What happened. Changes that follow one another quickly may be told as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// An instance is there.
    Added,
    /// An instance, which may not have been told before, is not as it was.
    Updated,
    /// An instance is gone, which may not have been told before.
    Removed,
    /// What was told before counts no more: forget it all. What there is follows.
    Reset,
    /// All that is there has been told, up to the revision beside this. Comes again now and then,
    /// while nothing else happens.
    Current,
    /// A kind of a later version.
    #[serde(other)]
    Unknown,
}
