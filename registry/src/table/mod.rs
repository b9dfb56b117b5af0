//! The table: which server serves which name, and until when.
//!
//! It is pure: time, addresses, randomness and limits come in as arguments. It has two halves. All
//! threads query and renew through the [`Directory`]; leases begin and end only through the
//! [`Registry`].

mod address_rule;
mod addressing;
mod arrival;
mod asker;
mod clock;
mod cuts;
mod dialects;
mod directory;
mod failure;
mod fragment;
mod host;
mod instance;
mod journal;
mod lease;
mod places;
mod protection;
mod queue;
mod registry;
mod service;
mod title;
mod topic;
mod turn;
mod view;

pub use address_rule::{AddressRule, AddressRuleError};
pub(crate) use addressing::Told;
pub use arrival::Arrival;
pub use asker::{Asker, Transport};
pub use directory::{Directory, Renewal};
pub(crate) use failure::Failure;
pub use host::Host;
pub(crate) use instance::Instance;
pub(crate) use journal::Entry;
pub use journal::JOURNAL_LEN;
pub use protection::ProtectionPolicy;
pub use registry::{Entropy, NewInstance, Place, Registry, SWEEP_INTERVAL, TableConfig};
pub use service::FailingPolicy;
pub(crate) use topic::Follower;
pub(crate) use view::{Extent, Found, Names, Selection, json_len, only_host};
