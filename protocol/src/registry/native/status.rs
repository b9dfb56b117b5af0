//! How a registry does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a registry does: what it holds, how it is set up, and what it has counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Which kind of store it has: `memory`, `file`.
    pub store: String,
    /// Why the store does not take changes at the moment, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_failure: Option<String>,
    /// Changes that are not durable yet.
    pub uncommitted: u64,
    /// Names that have servers.
    pub services: u64,
    /// Servers.
    pub instances: u64,
    /// Names of servers: what an instance with three names counts thrice in.
    pub registrations: u64,
    /// Of these, by state.
    pub states: BTreeMap<String, u64>,
    /// Whether overdue instances are being kept because too many are overdue at once, and of which
    /// names; an empty name stands for the whole table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<String>,
    /// The endpoints that operators have drained, whether or not a server is there now; at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drained: Vec<String>,
    /// The state of the probes; absent if no probe is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// Watchers.
    pub watchers: u64,
    /// The path of the unix socket for operators, for clients on the registry's machine; absent if
    /// it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_socket: Option<String>,
    /// The counters since the start.
    pub counters: BTreeMap<String, u64>,
}

/// What the probes of a registry do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "built by the registry as a literal")]
pub struct Probes {
    /// Instances that are probed.
    pub instances: u64,
    /// Probes under way.
    pub in_flight: u64,
    /// Probes that have ended, however.
    pub done: u64,
    /// Those of them that did not get through.
    pub failed: u64,
    /// Those of them that could not be made, so that they say nothing.
    pub unable: u64,
    /// Whether most fail at once, so that none is called failing on account of that for now.
    pub holding_back: bool,
}
