//! `rpyc-registry register`: announce a server of any language.

mod keep;
mod legacy;

use std::ffi::OsString;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, bail};
use rpyc_client::native::{Details, Registration};
use rpyc_client::{Registries, ServiceName};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::keep::{Keeper, key};
use super::{block_on, chosen};
use crate::cli::RegisterArgs;
use crate::{output, signals};

pub(crate) fn run(args: &RegisterArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let registries = chosen(registries)?;
    // Each has a table of its own, except where one of several is enough.
    let keepers = registries.into_targets().into_iter().map(|target| Keeper::new(args, target));
    let keepers: Vec<_> = keepers.collect();
    block_on(async {
        match args.command.split_first() {
            None if args.once => once(args, keepers).await,
            None => {
                let signal = signals::listen()?;
                let stop = CancellationToken::new();
                let keeping = keep(keepers, stop.clone());
                tokio::pin!(keeping);
                tokio::select! {
                    ended = &mut keeping => return ended.map(farewell),
                    _ = signal => stop.cancel(),
                }
                keeping.await.map(farewell)
            }
            Some((program, arguments)) => while_running(keepers, program, arguments).await,
        }
    })
}

/// What is to be registered, in the registry's words.
fn registration(args: &RegisterArgs) -> Registration {
    let told = &args.told;
    Registration {
        names: args.names.iter().map(ToString::to_string).collect(),
        port: args.place.port.clone(),
        addresses: told.address.clone(),
        ttl_ms: told.ttl.map(|ttl| u64::try_from(ttl.0.as_millis()).unwrap_or(u64::MAX)),
        key: Some(key()),
        exclusive: told.exclusive,
        details: Details {
            tags: told.tag.iter().cloned().collect(),
            meta: told.meta.iter().cloned().collect(),
            weight: told.weight,
            zone: told.zone.clone(),
            protocol: told.protocol.clone(),
        },
    }
}

async fn once(args: &RegisterArgs, keepers: Vec<Keeper>) -> anyhow::Result<ExitCode> {
    // What nobody renews needs no owner; and `unregister` ends it.
    let is_plain = args.told.given().is_empty();
    let mut failed = Vec::new();
    for keeper in keepers {
        let done = if is_plain { keeper.once_legacy().await } else { keeper.once().await };
        match done {
            Ok(line) => output::lines([line])?,
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("{}", failed.join("; "))
}

/// Keeps everything registered until `stop`; tells whether every registry knows of the end.
async fn keep(keepers: Vec<Keeper>, stop: CancellationToken) -> anyhow::Result<bool> {
    let mut keeping = JoinSet::new();
    for keeper in keepers {
        keeping.spawn(keeper.run(stop.clone()));
    }
    let mut is_tidy = true;
    let mut refused = Ok(());
    while let Some(ended) = keeping.join_next().await {
        match ended.context("a registration has ended by itself")? {
            Ok(knows) => is_tidy &= knows,
            Err(error) => {
                // The others are told that it is over.
                stop.cancel();
                refused = Err(error);
            }
        }
    }
    refused.map(|()| is_tidy)
}

/// Runs the program, announces it meanwhile, unregisters, and ends as the program ended.
async fn while_running(
    keepers: Vec<Keeper>,
    program: &OsString,
    arguments: &[OsString],
) -> anyhow::Result<ExitCode> {
    let signal = signals::listen()?;
    let mut command = Command::new(program);
    let child = command.args(arguments).kill_on_drop(true).spawn();
    let mut child = child.with_context(|| format!("cannot run {}", program.to_string_lossy()))?;
    let stop = CancellationToken::new();
    let running = async {
        // Nobody is sent to a program that is about to end: the registries are told first.
        let status = tokio::select! {
            status = child.wait() => status,
            request = signal => {
                stop.cancel();
                pass_on(request, &child);
                child.wait().await
            }
        };
        stop.cancel();
        status.context("cannot learn how the program ended")
    };
    // A program whose name is refused is not left to run.
    let announcing = async { keep(keepers, stop.clone()).await.map(farewell) };
    let (status, _) = tokio::try_join!(running, announcing)?;
    Ok(ended_as(status))
}

fn joined(names: &[ServiceName]) -> String {
    let names: Vec<_> = names.iter().map(ServiceName::as_str).collect();
    names.join(", ")
}

fn farewell(is_tidy: bool) -> ExitCode {
    if !is_tidy {
        anstream::eprintln!("a registry was not told of the end; it forgets after its timeout");
    }
    ExitCode::SUCCESS
}

/// Asks the program to end as we were asked.
#[cfg(unix)]
fn pass_on(request: signals::Request, child: &Child) {
    use std::io::IsTerminal;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let signal = match request {
        // A terminal has interrupted the program too.
        signals::Request::Interrupt if std::io::stdin().is_terminal() => return,
        signals::Request::Interrupt => Signal::SIGINT,
        signals::Request::Terminate => Signal::SIGTERM,
    };
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // A program that has just ended needs no asking.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Elsewhere a console interrupts all of its programs by itself.
#[cfg(not(unix))]
fn pass_on(_: signals::Request, _: &Child) {}

/// The program's exit code or, as in shells, 128 and the number of the signal that ended it.
fn ended_as(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None::<i32>;
    let code = status.code().or_else(|| signal.map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
