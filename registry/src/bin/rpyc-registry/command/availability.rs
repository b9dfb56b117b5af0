//! Why a name has no server that clients get, although instances of it are registered.

use std::time::Duration;

use anyhow::anyhow;
use rpyc_client::native::{Filter, State};
use rpyc_client::{Instance, Registrar, ServiceName};
use tokio::time::timeout;

use crate::output;

/// How long to wait for the instances. RPyC's own registry does not answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// All instances of a name, also those that clients do not get. Empty if no registry of this
/// project knows any.
pub(super) async fn instances(registrar: &Registrar, name: &ServiceName) -> Vec<Instance> {
    let states = [State::Passing, State::Suspect, State::Failing, State::Draining];
    let filter = Filter { states: states.into_iter().collect(), ..Filter::default() };
    match timeout(PATIENCE, registrar.native().resolve(name, filter)).await {
        Ok(Ok(answer)) => answer.value,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// Replaces the error that a name has no server, if instances of it are registered.
pub(super) async fn explained(
    error: anyhow::Error,
    registrar: &Registrar,
    name: &ServiceName,
) -> anyhow::Error {
    let instances = instances(registrar, name).await;
    if instances.is_empty() {
        return error;
    }
    let count = output::plural(u64::try_from(instances.len()).unwrap_or(u64::MAX), "instance");
    let is_draining = |instance: &Instance| instance.state == State::Draining;
    if instances.iter().all(is_draining) {
        anyhow!("no server of {name} takes new clients: {count}, draining; `undrain` ends that")
    } else {
        let states = output::states(&instances);
        anyhow!("the registry returns no server of {name}: {count} ({states})")
    }
}
