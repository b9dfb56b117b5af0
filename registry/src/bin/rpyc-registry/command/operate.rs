//! `rpyc-registry drain`, `undrain`, `deregister` and `release`: verbs for operators.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use rpyc_client::native::{Answer, Native, Target};
use rpyc_client::{Registrar, Registries, RequestError};
use rpyc_protocol::registry::native::ErrorCode;
use serde_json::json;

use super::{block_on, chosen_by_operator};
use crate::cli::{AskArgs, OperateArgs, OutputFormat, ReleaseArgs};
use crate::{advice, output};

pub(crate) fn drain(
    args: &OperateArgs,
    registries: Option<Registries>,
) -> anyhow::Result<ExitCode> {
    operate(args, registries, Verb { done: "drained", idle: "is already draining" }, Native::drain)
}

pub(crate) fn undrain(
    args: &OperateArgs,
    registries: Option<Registries>,
) -> anyhow::Result<ExitCode> {
    operate(args, registries, Verb { done: "undrained", idle: "is not draining" }, Native::undrain)
}

pub(crate) fn deregister(
    args: &OperateArgs,
    registries: Option<Registries>,
) -> anyhow::Result<ExitCode> {
    let verb = Verb { done: "deregistered", idle: "is already gone" };
    operate(args, registries, verb, Native::deregister)
}

pub(crate) fn release(
    args: &ReleaseArgs,
    registries: Option<Registries>,
) -> anyhow::Result<ExitCode> {
    let name = args.name.as_ref();
    let what = name.map(|name| format!(" of {name}")).unwrap_or_default();
    let told =
        block_on(each(registries, &args.ask, async |native: Native| native.release(name).await))?;
    report(&args.ask, &told, |count, registry| match count {
        0 => format!("no overdue registration{what} is protected at {registry}"),
        _ => {
            format!("expired {}{what} at {registry}", output::plural(count, "overdue registration"))
        }
    })
}

/// The words that describe a change.
struct Verb {
    done: &'static str,
    idle: &'static str,
}

fn operate(
    args: &OperateArgs,
    registries: Option<Registries>,
    verb: Verb,
    change: impl AsyncFn(&Native, Target) -> Result<Answer<u64>, RequestError>,
) -> anyhow::Result<ExitCode> {
    let target = &args.target;
    let told = block_on(each(registries, &args.ask, async |native: Native| {
        change(&native, target.target()).await
    }));
    let told = match told {
        Err(error) if is_unknown_target(&error) => bail!("{target} is not registered: {error:#}"),
        told => told?,
    };
    report(&args.ask, &told, |count, registry| match count {
        0 => format!("{target} {} at {registry}", verb.idle),
        _ => {
            format!("{} {} ({target}) at {registry}", verb.done, output::plural(count, "instance"))
        }
    })
}

fn is_unknown_target(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(RequestError::is_unknown_target)
}

/// Sends the request to each registry that servers register with, because each has a separate
/// table. At least one of them must succeed; the errors of the others go to standard error.
async fn each(
    registries: Option<Registries>,
    ask: &AskArgs,
    request: impl AsyncFn(Native) -> Result<Answer<u64>, RequestError>,
) -> anyhow::Result<Vec<Answer<u64>>> {
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for target in chosen_by_operator(registries)?.into_targets() {
        let registrar = Registrar::builder(target).timeout(ask.timeout).build();
        match request(registrar.native()).await {
            Ok(answer) => done.push(answer),
            Err(error) => failed.push(with_socket(error, &registrar).await),
        }
    }
    if done.is_empty()
        && let Some(error) = failed.pop()
    {
        return Err(error);
    }
    for error in failed {
        output::problem(&advice::message(&error));
    }
    Ok(done)
}

/// Adds to the refusal of a registry on this machine how operators reach it. Only such a registry
/// names its socket.
async fn with_socket(error: RequestError, registrar: &Registrar) -> anyhow::Error {
    if error.code() != Some(ErrorCode::Forbidden) {
        return error.into();
    }
    let status = registrar.native().status().await.ok();
    match status.and_then(|answer| answer.value.operator_socket) {
        Some(path) => anyhow!(
            "{error}; use its socket for operators: --registry unix:{path}, as the user that runs \
             the registry"
        ),
        None => error.into(),
    }
}

fn report(
    ask: &AskArgs,
    told: &[Answer<u64>],
    line: impl Fn(u64, &str) -> String,
) -> anyhow::Result<ExitCode> {
    match ask.output {
        OutputFormat::Json => {
            let one = |answer: &Answer<u64>| {
                json!({
                    "registry": answer.registry.to_string(),
                    "changed": answer.value,
                    "revision": answer.revision.map(|revision| revision.to_string()),
                })
            };
            output::json(&told.iter().map(one).collect())?;
        }
        OutputFormat::Table | OutputFormat::Name => {
            output::lines(
                told.iter().map(|answer| line(answer.value, &answer.registry.to_string())),
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
