//! Why a name has no server that clients get, although instances of it are registered.

use anyhow::anyhow;
use rpyc_client::native::{State, Target};
use rpyc_client::{Instance, Registrar, ServiceName};

use crate::output;

/// All instances of a name, also those that clients do not get. Empty if no registry of this
/// project knows any.
pub(super) async fn instances(registrar: &Registrar, name: &ServiceName) -> Vec<Instance> {
    let target = Target { name: Some(name.to_string()), ..Target::default() };
    let described = registrar.native().describe(target).await;
    let services = described.map(|answer| answer.value).unwrap_or_default();
    services.into_iter().flat_map(|service| service.instances).collect()
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
