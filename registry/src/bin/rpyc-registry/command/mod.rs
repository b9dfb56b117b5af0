//! One file a verb.

pub(crate) mod call;
pub(crate) mod completions;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod ping;
pub(crate) mod register;
pub(crate) mod serve;
pub(crate) mod shell;
mod state_dir;
mod target;
pub(crate) mod unregister;

use std::time::Duration;

pub(crate) use target::Target;

use anyhow::Context;
use rpyc_client::{Endpoint, Instance, Registrar, Registries};
use serde_json::{Value, json};

/// Runs a client verb, which needs one thread.
fn block_on<T>(verb: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(verb)
}

/// The registrar of the registries on the command line, else in the environment, else nearby.
fn registrar(registries: Option<Registries>, timeout: Duration) -> anyhow::Result<Registrar> {
    Ok(Registrar::builder(chosen(registries)?).timeout(timeout).build())
}

fn chosen(registries: Option<Registries>) -> anyhow::Result<Registries> {
    match registries {
        Some(registries) => Ok(registries),
        None => Ok(Registries::from_env()?),
    }
}

fn instance_json(instance: &Instance) -> Value {
    let Endpoint { host, port } = &instance.endpoint;
    let millis = |duration: Option<Duration>| duration.map(|it| it.as_millis());
    let (age, left) = (millis(instance.age), millis(instance.left));
    json!({ "host": host, "port": port, "age_ms": age, "left_ms": left })
}
