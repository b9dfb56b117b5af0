#![doc = include_str!("../README.md")]
//!
//! # Design
//!
//! A [`LoadTest`] simulates a population of instances. It registers them, sends a mix of queries
//! and renewals, and unregisters them. It measures the latency of each reply and checks that the
//! reply is right.
//!
//! `population` encodes the requests and checks the replies; `window` matches replies to requests;
//! `engine` is the loop that sends from each `source` by `batch`es; `bulk` registers and
//! unregisters, `load` is the measured load, `tally` counts.

mod batch;
mod bulk;
mod engine;
mod error;
mod load;
mod population;
mod settings;
mod source;
mod tally;
mod test;
mod window;

pub use error::LoadError;
pub use population::Hosts;
pub use settings::{Mix, Settings};
pub use tally::{Counts, Kind, Tally};
pub use test::{BulkReport, LoadReport, LoadTest};
