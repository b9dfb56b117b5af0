//! Whole-system tests: the real daemon with real RPyC programs, on this machine and on small networks.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod golden;
mod harness;
