//! The wire formats against the bytes of real rpyc, in one program.
//!
//! Each module tests one format: a new file is added to this list.

mod brine;
mod registry;
mod rpc;
