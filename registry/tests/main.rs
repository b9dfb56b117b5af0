//! The registry's own tests, in one program.
//!
//! Each module tests one part: a new file is added to this list. `load.rs` alone is a program of
//! its own, because it measures the memory of its process.

mod addresses;
mod asker;
mod costs;
// The harness is one of Unix.
#[cfg(unix)]
mod cli;
mod disk;
mod leases;
mod model;
mod native;
mod order;
mod ownership;
mod prober;
mod probes;
mod restart;
mod server;
mod simulation;
mod store;
mod table;
mod watching;
