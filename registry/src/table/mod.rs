//! The table: who serves which name where, and until when.
//!
//! Pure: time, addresses and limits come in as arguments. Two halves share it. The
//! [`Directory`] is read and renewed by everybody at once; the [`Registry`] is the one place where
//! leases begin and end.

mod asker;
mod clock;
mod directory;
mod host;
mod lease;
mod registry;
mod snapshot;
mod turn;

pub use asker::{Asker, Transport};
pub use directory::Directory;
pub use host::Host;
pub use registry::{Registry, SWEEP_INTERVAL};
