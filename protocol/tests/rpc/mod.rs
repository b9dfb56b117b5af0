//! The RPC protocol: conversations between two sessions, and against the bytes of real rpyc.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and needs an instant to count from"
)]

mod allocations;
mod answers;
mod deadlines;
mod dialects;
mod frames;
mod limits;
mod nonsense;
mod pair;
mod references;
mod replay;
mod values;
