//! `rpyc-registry register`: announce a server of any language.

use std::ffi::OsString;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, bail};
use rpyc_client::{Registries, ServiceName};
use rpyc_server::{Announcer, State, Status};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

use super::{block_on, chosen};
use crate::cli::RegisterArgs;
use crate::{output, signals};

pub(crate) fn run(args: RegisterArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let place = args.place;
    let mut announcer = Announcer::builder(args.names.clone(), place.port, chosen(registries)?)
        .interval(args.interval)
        .timeout(place.timeout);
    if let Some(bind) = place.bind {
        announcer = announcer.bind((bind, 0).into());
    }
    let announcer = announcer.build();
    block_on(async {
        match args.command.split_first() {
            None if args.once => once(&args.names, &announcer).await,
            None => until_signal(&args.names, announcer).await,
            Some((program, arguments)) => {
                while_running(&args.names, announcer, program, arguments).await
            }
        }
    })
}

async fn once(names: &[ServiceName], announcer: &Announcer) -> anyhow::Result<ExitCode> {
    let mut failed = Vec::new();
    for outcome in announcer.announce_once().await {
        match outcome {
            Ok(by) => {
                let names = joined(names);
                let line = format!("registered {names} at {} as {}", by.registry, by.source.ip());
                output::lines([line])?;
            }
            Err(error) => failed.push(error.to_string()),
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("{}", failed.join("; "))
}

async fn until_signal(names: &[ServiceName], announcer: Announcer) -> anyhow::Result<ExitCode> {
    let signal = signals::listen()?;
    let status = announcer.status();
    tokio::select! {
        is_tidy = announcer.run(signal) => Ok(farewell(is_tidy)),
        never = tell(names, status) => never,
    }
}

/// Runs the program, announces it meanwhile, unregisters, and ends as the program ended.
async fn while_running(
    names: &[ServiceName],
    announcer: Announcer,
    program: &OsString,
    arguments: &[OsString],
) -> anyhow::Result<ExitCode> {
    let signal = signals::listen()?;
    let mut command = Command::new(program);
    let child = command.args(arguments).kill_on_drop(true).spawn();
    let mut child = child.with_context(|| format!("cannot run {}", program.to_string_lossy()))?;
    let (over, is_over) = oneshot::channel::<()>();
    let running = async {
        // Nobody is sent to a program that is about to end: the registries are told first.
        let status = tokio::select! {
            status = child.wait() => status,
            request = signal => {
                drop(over);
                pass_on(request, &child);
                child.wait().await
            }
        };
        status.context("cannot learn how the program ended")
    };
    let status = announcer.status();
    let announcing = async {
        tokio::select! {
            is_tidy = announcer.run(is_over) => Ok(farewell(is_tidy)),
            never = tell(names, status) => never,
        }
    };
    let (status, _) = tokio::try_join!(running, announcing)?;
    Ok(ended_as(status))
}

/// Tells on standard error how the registries answer, for as long as it is polled.
async fn tell<T>(names: &[ServiceName], mut status: watch::Receiver<Vec<Status>>) -> T {
    let mut told: Vec<String> = Vec::new();
    loop {
        let lines: Vec<_> =
            status.borrow_and_update().iter().map(|one| describe(names, one)).collect();
        for (index, line) in lines.iter().enumerate() {
            if told.get(index) != Some(line) && !line.is_empty() {
                anstream::eprintln!("{}", output::printable(line));
            }
        }
        told = lines;
        if status.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn describe(names: &[ServiceName], status: &Status) -> String {
    match (&status.state, &status.last) {
        (State::Acknowledged { .. }, Some(by)) => {
            format!("registered {} at {} as {}", joined(names), by.registry, by.source.ip())
        }
        (State::Failing { reason, .. }, _) => format!("not registered, trying again: {reason}"),
        _ => String::new(),
    }
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
