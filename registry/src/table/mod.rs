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
mod dialects;
mod directory;
mod endpoint_index;
mod failure;
mod follower;
mod fragment;
mod instance;
mod journal;
mod lease;
mod lookup;
mod protection;
mod queue;
mod registry;
mod select;
mod service;
mod service_id;
mod topic;
mod turn;
mod view;

pub use address_rule::{AddressRule, AddressRuleError};
pub(crate) use addressing::{Addressing, Advertised};
pub use arrival::Arrival;
pub use asker::{Asker, Transport};
pub(crate) use directory::NameOrder;
pub use directory::{Directory, Renewal};
pub(crate) use failure::Failure;
pub(crate) use follower::Follower;
pub(crate) use instance::Instance;
pub(crate) use journal::Entry;
pub use journal::JOURNAL_LEN;
pub(crate) use lookup::{Found, Lookup};
pub use protection::ProtectionPolicy;
pub use registry::{
    Endpoint, Entropy, NewInstance, Registry, SWEEP_INTERVAL, Standing, TableConfig,
};
pub(crate) use select::{Extent, Names, Page, Selection, Sizes, only_host};
pub use service::FailingPolicy;
