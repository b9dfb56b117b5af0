//! The verbs, one in each file.

mod availability;
pub(crate) mod bench;
pub(crate) mod call;
pub(crate) mod check_config;
pub(crate) mod completions;
pub(crate) mod describe;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod lookup;
pub(crate) mod operate;
mod operator_socket;
pub(crate) mod ping;
pub(crate) mod register;
pub(crate) mod serve;
pub(crate) mod shell;
mod state_dir;
pub(crate) mod status;
mod target;
pub(crate) mod unregister;
pub(crate) mod watch;

use std::pin::{Pin, pin};
use std::time::Duration;

pub(crate) use target::Target;

use anyhow::Context;
use rpyc_client::{REGISTRY_VARIABLE, Registrar, Registries};

/// Runs a client verb on the current thread.
fn block_on<T>(verb: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start")?;
    let mut output = None;
    {
        // One type for all verbs, so that the runtime's loop is compiled once.
        let mut done = pin!(async { output = Some(verb.await) });
        let done: Pin<&mut dyn Future<Output = ()>> = done.as_mut();
        runtime.block_on(done);
    }
    output.context("cannot finish")?
}

/// Creates the registrar for the registries of an operator's verb.
fn operator_registrar(
    registries: Option<Registries>,
    timeout: Duration,
) -> anyhow::Result<Registrar> {
    Ok(Registrar::builder(chosen_by_operator(registries)?).timeout(timeout).build())
}

/// Creates the registrar for the registries on the command line, or else in the environment, or
/// else nearby.
fn registrar(registries: Option<Registries>, timeout: Duration) -> anyhow::Result<Registrar> {
    Ok(Registrar::builder(chosen(registries)?).timeout(timeout).build())
}

fn chosen(registries: Option<Registries>) -> anyhow::Result<Registries> {
    match registries {
        Some(registries) => Ok(registries),
        None => Ok(Registries::from_env()?),
    }
}

/// The registries for the verbs with which operators inspect and change: as [`chosen`], but if none
/// are named and this user's registry runs here, its socket for operators.
fn chosen_by_operator(registries: Option<Registries>) -> anyhow::Result<Registries> {
    let is_named = registries.is_some()
        || std::env::var_os(REGISTRY_VARIABLE)
            .is_some_and(|list| !list.to_string_lossy().trim().is_empty());
    let socket = if is_named { None } else { operator_socket::find() };
    chosen(registries.or_else(|| socket.map(Registries::from)))
}
