//! Probes: whether registered servers accept connections.
//!
//! [`Prober`] schedules probes and judges their results; it is pure. `connect` makes a probe, and
//! `run` combines both. Without a [`ProbeRule`] nothing is probed, because a probe has a cost for a
//! server: any accepted connection runs a Python service's `on_connect`, and ends a server that
//! serves one client only. The registry connects only to addresses that belong to the registrant,
//! or to networks that the operator named: see `target`.

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
pub use prober::{Outcome, Prober, Schedule, Start, Verdict};
pub use rule::{ProbeKind, ProbeRule, ProbeRuleError, ServiceGlob};
pub(crate) use run::run;
use target::allowed;
