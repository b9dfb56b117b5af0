//! `rpyc-registry drain`, `undrain`, `deregister` and `release`: verbs for operators.

use std::process::ExitCode;

use anyhow::bail;
use rpyc_client::native::{Answer, Native, Target};
use rpyc_client::{Registrar, Registries, RequestError};
use serde_json::json;

use super::{block_on, chosen};
use crate::cli::{AskArgs, OperateArgs, OutputFormat, ReleaseArgs};
use crate::output;

pub(crate) fn drain(
    args: &OperateArgs,
    registries: Option<Registries>,
) -> anyhow::Result<ExitCode> {
    operate(args, registries, DRAIN, Native::drain)
}

pub(crate) fn undrain(
    args: &OperateArgs,
    registries: Option<Registries>,
) -> anyhow::Result<ExitCode> {
    operate(args, registries, UNDRAIN, Native::undrain)
}

pub(crate) fn deregister(
    args: &OperateArgs,
    registries: Option<Registries>,
) -> anyhow::Result<ExitCode> {
    let verb = Verb { done: "deregistered", idle: "is gone already", then: "" };
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
        0 => format!("nothing{what} is protected at {registry}"),
        _ => {
            format!("forgot {}{what} at {registry}", output::plural(count, "overdue registration"))
        }
    })
}

/// The words that describe a change.
struct Verb {
    done: &'static str,
    idle: &'static str,
    /// What holds from then on.
    then: &'static str,
}

const DRAIN: Verb = Verb {
    done: "drained",
    idle: "is draining already",
    then: "; it gets no new clients until `undrain`, also when it restarts",
};

const UNDRAIN: Verb = Verb { done: "undrained", idle: "is not draining", then: "" };

fn operate(
    args: &OperateArgs,
    registries: Option<Registries>,
    verb: Verb,
    change: impl AsyncFn(&Native, Target) -> Result<Answer<u64>, RequestError>,
) -> anyhow::Result<ExitCode> {
    let meant = &args.meant;
    let told = block_on(each(registries, &args.ask, async |native: Native| {
        change(&native, meant.meant()).await
    }));
    let told = match told {
        Err(error) if is_unknown_target(&error) => bail!("{meant} is not registered: {error:#}"),
        told => told?,
    };
    report(&args.ask, &told, |count, registry| match count {
        0 => format!("{meant} {} at {registry}", verb.idle),
        _ => {
            let Verb { done, then, .. } = &verb;
            format!("{done} {} ({meant}) at {registry}{then}", output::plural(count, "instance"))
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
    for target in chosen(registries)?.into_targets() {
        let registrar = Registrar::builder(target).timeout(ask.timeout).build();
        match request(registrar.native()).await {
            Ok(answer) => done.push(answer),
            Err(error) => failed.push(error),
        }
    }
    if done.is_empty()
        && let Some(error) = failed.pop()
    {
        return Err(error.into());
    }
    for error in failed {
        anstream::eprintln!("rpyc-registry: {}", output::printable(&error.to_string()));
    }
    Ok(done)
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
