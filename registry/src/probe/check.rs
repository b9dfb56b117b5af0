//! Probes a new registration while its registrant waits for the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::connect::{self, Fault};
use super::{ProbeConfig, allowed};
use crate::dispatch::{CheckPlan, Dispatcher};
use crate::table::{Directory, Instance};

/// The longest time that this delays an answer.
const LIMIT: Duration = Duration::from_secs(1);

/// Registrations that are checked at once. Others are answered without a check.
const AT_ONCE: usize = 64;

impl CheckPlan for ProbeConfig {
    fn addresses(&self, directory: &Directory, instance: &Arc<Instance>) -> Vec<SocketAddr> {
        match self.rule_for(&directory.names_of(instance)) {
            Some(_) => allowed(directory, instance, self),
            None => Vec::new(),
        }
    }
}

impl Dispatcher {
    /// Tells new registrants which of their addresses cannot be reached, where a rule of `probes`
    /// applies to them.
    #[must_use]
    pub fn with_probes(self, probes: Arc<ProbeConfig>) -> Self {
        if probes.rules.is_empty() { self } else { self.with_checks(probes) }
    }
}

/// Checks new registrations, a bounded number at once.
#[derive(Clone, Debug)]
pub(crate) struct Checks(Arc<Semaphore>);

impl Default for Checks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Checks {
    /// Connects to each of `addresses`, unless too many checks are running; returns the error of
    /// the first that cannot be reached. Takes at most a second.
    ///
    /// Cancel safe: dropping the future closes every connection that it opened.
    pub(crate) async fn unreachable(&self, addresses: &[SocketAddr]) -> Option<String> {
        let _place = self.0.try_acquire().ok()?;
        let tried = join_all(addresses.iter().map(|address| connect::tcp(*address, LIMIT))).await;
        tried.into_iter().find_map(|tried| match tried {
            Err(Fault::Theirs(why)) => Some(why),
            Ok(_) | Err(Fault::Ours(_)) => None,
        })
    }
}
