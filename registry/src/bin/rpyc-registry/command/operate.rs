//! `rpyc-registry drain`, `undrain`, `deregister` and `release`: verbs for operators.

use std::process::ExitCode;

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
    let verb = Verb { done: "deregistered", idle: "is already gone", then: "" };
    operate(args, registries, verb, Native::deregister)
}

pub(crate) fn release(
    args: &ReleaseArgs,
    registries: Option<Registries>,
) -> anyhow::Result<ExitCode> {
    let name = args.name.as_ref();
    let what = name.map(|name| format!(" of {name}")).unwrap_or_default();
    let outcomes =
        block_on(each(registries, &args.ask, async |native: Native| native.release(name).await))?;
    let explain = |error: &RequestError| message(error);
    report(&args.ask, &outcomes, explain, |count, registry| match count {
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
    /// What holds from then on.
    then: &'static str,
}

const DRAIN: Verb = Verb {
    done: "drained",
    idle: "is already draining",
    then: "; it gets no new clients until `undrain`, also when it restarts",
};

const UNDRAIN: Verb = Verb { done: "undrained", idle: "is not draining", then: "" };

fn operate(
    args: &OperateArgs,
    registries: Option<Registries>,
    verb: Verb,
    change: impl AsyncFn(&Native, Target) -> Result<Answer<u64>, RequestError>,
) -> anyhow::Result<ExitCode> {
    let target = &args.target;
    let outcomes = block_on(each(registries, &args.ask, async |native: Native| {
        change(&native, target.target()).await
    }))?;
    let explain = |error: &RequestError| match message(error) {
        message if error.is_unknown_target() => format!("{target} is not registered: {message}"),
        message => message,
    };
    report(&args.ask, &outcomes, explain, |count, registry| match count {
        0 => format!("{target} {} at {registry}", verb.idle),
        _ => {
            let Verb { done, then, .. } = &verb;
            format!("{done} {} ({target}) at {registry}{then}", output::plural(count, "instance"))
        }
    })
}

/// What a request to one registry, or to the first that answers of several, has led to.
struct Outcome {
    registries: Registries,
    result: Result<Answer<u64>, RequestError>,
    /// How operators reach a registry that refused the request.
    socket: Option<String>,
}

/// Sends the request to each registry that servers register with, because each has a separate
/// table.
async fn each(
    registries: Option<Registries>,
    ask: &AskArgs,
    request: impl AsyncFn(Native) -> Result<Answer<u64>, RequestError>,
) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for registries in chosen_by_operator(registries)?.into_targets() {
        let registrar = Registrar::builder(registries.clone()).timeout(ask.timeout).build();
        let result = request(registrar.native()).await;
        let socket = match &result {
            Err(error) if error.code() == Some(ErrorCode::Forbidden) => socket_of(&registrar).await,
            _ => None,
        };
        outcomes.push(Outcome { registries, result, socket });
    }
    Ok(outcomes)
}

/// The socket for operators of a registry on this machine. Only such a registry names it.
async fn socket_of(registrar: &Registrar) -> Option<String> {
    registrar.native().status().await.ok()?.value.operator_socket
}

/// The message of an error, and whether the request may have taken effect all the same.
fn message(error: &RequestError) -> String {
    let message = advice::for_request(error);
    if error.may_have_run() { format!("{message}; {}", advice::MAY_HAVE_RUN) } else { message }
}

/// Prints the outcomes, errors on standard error, and in JSON all in one document. Fails if one has
/// failed, except that a registry which does not know the target is none if another does.
fn report(
    ask: &AskArgs,
    outcomes: &[Outcome],
    explain: impl Fn(&RequestError) -> String,
    line: impl Fn(u64, &str) -> String,
) -> anyhow::Result<ExitCode> {
    let is_json = ask.output == OutputFormat::Json;
    let mut documents = Vec::new();
    for Outcome { registries, result, socket } in outcomes {
        match result {
            Ok(answer) if is_json => documents.push(json!({
                "registry": answer.registry.to_string(),
                "changed": answer.value,
                "revision": answer.revision.map(|revision| revision.to_string()),
            })),
            Ok(answer) => output::lines([line(answer.value, &answer.registry.to_string())])?,
            Err(error) => {
                let explained = match socket {
                    Some(path) => format!(
                        "{error}; use its socket for operators: --registry unix:{path}, as the \
                         user that runs the registry"
                    ),
                    None => explain(error),
                };
                documents.push(json!({
                    "registry": registries.to_string(),
                    "error": explained,
                    "code": error.code(),
                    "may_have_run": error.may_have_run(),
                }));
                output::problem(&explained);
            }
        }
    }
    if is_json {
        output::json(&documents.into())?;
    }
    let has_succeeded = outcomes.iter().any(|outcome| outcome.result.is_ok());
    let is_failure = |outcome: &Outcome| {
        outcome.result.as_ref().is_err_and(|error| !has_succeeded || !error.is_unknown_target())
    };
    let has_failed = outcomes.iter().any(is_failure);
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
