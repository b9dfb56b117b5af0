//! The resolver with real registries: one inside the test, the daemon, and RPyC's own.

mod absence;
mod choosing;
mod following;
mod legacy;

use std::sync::Arc;
use std::time::Duration;

use rpyc_client::resolver::Freshness;
use rpyc_client::{Resolved, ResolverBuilder};
use rpyc_tests::PATIENCE;
use tokio::sync::watch;

/// Waits until the resolved state is as wanted, and returns it.
async fn until(
    following: &mut watch::Receiver<Arc<Resolved>>,
    what: &str,
    wanted: impl FnMut(&Arc<Resolved>) -> bool,
) -> Arc<Resolved> {
    let waited = tokio::time::timeout(PATIENCE, following.wait_for(wanted)).await;
    let found = waited.ok().map(|found| found.unwrap().clone());
    found.unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}: {:?}", following.borrow()))
}

fn is_watched(resolved: &Arc<Resolved>) -> bool {
    resolved.freshness == Freshness::Watched
}

fn is_stale(resolved: &Arc<Resolved>) -> bool {
    matches!(resolved.freshness, Freshness::Stale { .. })
}

/// The ports of the servers, in order, with the state of those that are not passing.
fn shown(resolved: &Resolved) -> Vec<String> {
    let mut shown: Vec<_> = resolved
        .instances
        .iter()
        .map(|it| match it.state {
            rpyc_client::native::State::Passing => it.endpoint.port.to_string(),
            state => format!("{} {state}", it.endpoint.port),
        })
        .collect();
    shown.sort();
    shown
}

/// Short intervals, for fast tests.
trait Quick {
    fn quick(self) -> Self;
}

impl Quick for ResolverBuilder {
    fn quick(self) -> Self {
        self.poll(Duration::from_millis(50)).timeout(Duration::from_secs(1))
    }
}
