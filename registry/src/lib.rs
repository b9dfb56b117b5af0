//! A registry for RPyC services, as a library, so that tests and programs can embed it.
//!
//! Data flows one way: a face (a socket) hands the bytes of a request to the [`Dispatcher`], which
//! decodes them, asks the [`Directory`] or changes the [`Registry`], and returns the bytes of an
//! answer. Nothing below the faces reads a clock or a socket.

mod access;
mod admission;
mod counters;
mod details;
mod dispatch;
mod face;
mod host;
mod limits;
mod net;
pub mod probe;
mod random;
mod refusal;
mod server;
mod store;
mod table;

pub use access::{Access, AddressGrant, AddressGrantError, Listing};
pub use counters::{ANSWERS_CUT, Counters, Loss};
pub use details::{
    DetailsError, MAX_DETAILS_BYTES, MAX_META, MAX_TAGS, MAX_VALUE_BYTES, MAX_WORD_BYTES,
};
pub use dispatch::{
    Deferred, Dispatcher, LegacyAnswers, MAX_ADDRESSES, MAX_KEY_BYTES, Outcome, Watch,
};
pub use face::tcp::{Frame, Framing};
pub use host::Host;
pub use limits::{Limits, MAX_REQUEST};
pub use net::{BindError, OperatorSocket};
pub use probe::{ProbeConfig, ProbeKind, ProbeRule, ProbeRuleError, ServiceGlob};
pub use random::store_id as random_store_id;
pub use refusal::Refusal;
pub use server::{Config, Listener, Server};
pub use store::{
    Change, Claim, FileStore, MemoryStore, NativeRecord, Opened, Origin, Progress, Record, Records,
    Silence, Store, StoreError, Ticket,
};
pub use table::{
    AddressRule, AddressRuleError, Arrival, Asker, Directory, Endpoint, Entropy, FailingPolicy,
    JOURNAL_LEN, NewInstance, ProtectionPolicy, Registry, Renewal, SWEEP_INTERVAL, Standing,
    TableConfig, Transport,
};
