//! The harness of the whole-system tests: real daemons, real RPyC programs and small networks.
//!
//! | Module | Provides |
//! |---|---|
//! | [`mod@reference`] | virtual environments with real rpyc 6.0.2 and 5.3.1 |
//! | [`registry`] | a registry under test: the daemon, or RPyC's own as the control |
//! | [`daemon`] | the daemon, freshly built, on a free port |
//! | [`server`] | a real RPyC server that announces itself |
//! | [`registrar`] | a real RPyC client that discovers, lists, registers and calls |
//! | [`python`] | other Python programs |
//! | [`examples`], [`conformance`] | the example programs, and the conformance server |
//! | [`raw`] | bytes over UDP and TCP |
//! | [`disk`] | a small disk that can be full |
//! | [`namespace`] | hosts and links made of Linux network namespaces |
//! | [`process`], [`signals`] | child processes, with the default actions for signals |
//! | [`eventually()`], [`notice`], [`scratch`] | waiting, notices past the runner, directories |
//!
//! Dropping a handle stops its process. Tests wait for states instead of fixed times where
//! possible, and every wait has a deadline. Outside a [`namespace`] all traffic stays on loopback
//! and no port is fixed. Tests of broadcast and multicast need namespaces.
#![expect(clippy::panic, reason = "a harness fails the test that uses it")]
#![expect(clippy::missing_panics_doc, reason = "any of it may fail the test that uses it")]

pub mod conformance;
pub mod daemon;
pub mod disk;
mod eventually;
pub mod examples;
mod listener;
pub mod namespace;
pub mod notice;
pub mod process;
mod programs;
pub mod python;
pub mod raw;
pub mod reference;
pub mod registrar;
pub mod registry;
pub mod scratch;
pub mod server;
pub mod signals;
mod workspace;

pub use daemon::{Daemon, lasting_port};
pub use eventually::{PATIENCE, eventually};
pub use listener::{Listener, Transport};
pub use namespace::{Host, Interface, Lab, Segment};
pub use reference::Reference;
pub use registrar::{Raised, Registrar, Via};
pub use registry::{Control, Registry, Settings};
pub use scratch::Scratch;
pub use server::{Server, ServerOptions};
