//! Probes: whether registered servers can be connected to.
//!
//! [`Prober`] decides when each is tried and what to think of it; it is pure. `connect` tries, and
//! `run` puts both together. Nothing is probed unless a [`ProbeRule`] says so, because a probe is not
//! free for a server: any accepted connection runs a Python service's `on_connect`, and ends a server
//! that serves one client only. And nothing but addresses that belong to the registrant, or to networks
//! that the operator named, is ever connected to: see `target`.

mod check;
mod config;
mod connect;
mod distrust;
mod prober;
mod rule;
mod run;
mod target;

pub(crate) use check::Checks;
pub use config::ProbeConfig;
pub use prober::{Outcome as ProbeOutcome, Pace, Prober, Start, Verdict};
pub use rule::{ProbeKind, ProbeRule, ProbeRuleError, ServiceGlob};
pub(crate) use run::run;
use target::allowed;
