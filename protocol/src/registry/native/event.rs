//! Messages to a watcher.

use serde::{Deserialize, Serialize};

use super::Instance;

/// A change of the table. A later watch can go on from the revision beside it,
/// [`Reply::revision`](super::Reply::revision).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which name, in upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The instance in its present state; a removed one in its last state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
}

/// The kind of a change. Changes that follow one another quickly may be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// An instance is there.
    Added,
    /// An instance, perhaps a new one, has changed.
    Updated,
    /// An instance, perhaps an unseen one, is gone.
    Removed,
    /// Earlier changes no longer count: forget all instances. The present ones follow.
    Reset,
    /// All present instances have been sent, up to the revision beside this. Comes again now and
    /// then, while nothing else happens.
    Current,
    /// A kind of a later version.
    #[serde(other)]
    Unknown,
}
