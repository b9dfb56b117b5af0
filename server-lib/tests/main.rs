//! Servers and their clients, in one program.
//!
//! Each module tests one part: a new file is added to this list.

mod server;
mod service;
