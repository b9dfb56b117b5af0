//! `rpyc-registry register`: announces a server in any language.

use std::ffi::OsString;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, bail};
use rpyc_client::native::RegistryProtocol;
use rpyc_client::{Acknowledgement, Fault, Registrar, Registries, ServiceName};
use rpyc_server::announcer::{State, Status};
use rpyc_server::{Announcer, AnnouncerBuilder};
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

use super::{block_on, chosen};
use crate::cli::RegisterArgs;
use crate::{advice, output, signals};

pub(crate) fn run(args: &RegisterArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let registries = chosen(registries)?;
    block_on(async {
        match args.command.split_first() {
            None if args.once => once(args, registries).await,
            None => {
                let signal = signals::listen()?;
                announce(args, registries, signal).await.map(farewell)
            }
            Some((program, arguments)) => while_running(args, registries, program, arguments).await,
        }
    })
}

fn announcer(args: &RegisterArgs, registries: Registries) -> Announcer {
    let (place, details) = (&args.place, &args.details);
    let announcer = Announcer::builder(args.names.clone(), place.port.clone(), registries)
        .interval(args.interval)
        .timeout(place.timeout);
    let announcer = details.tag.iter().fold(announcer, AnnouncerBuilder::tag);
    let announcer =
        details.meta.iter().fold(announcer, |announcer, (key, value)| announcer.meta(key, value));
    let mut announcer = details.address.iter().cloned().fold(announcer, AnnouncerBuilder::address);
    if let Some(bind) = place.bind {
        announcer = announcer.bind((bind, 0).into());
    }
    if let Some(ttl) = details.ttl {
        announcer = announcer.ttl(ttl.0);
    }
    if let Some(weight) = details.weight {
        announcer = announcer.weight(weight);
    }
    if let Some(zone) = &details.zone {
        announcer = announcer.zone(zone);
    }
    if let Some(protocol) = &details.protocol {
        announcer = announcer.protocol(protocol);
    }
    if details.exclusive { announcer.exclusive().build() } else { announcer.build() }
}

async fn once(args: &RegisterArgs, registries: Registries) -> anyhow::Result<ExitCode> {
    let mut failed = Vec::new();
    for target in registries.into_targets() {
        match once_with(args, target).await {
            Ok(lines) => output::lines(lines)?,
            Err(error) => failed.push(advice::message(&error)),
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("{}", failed.join("; "))
}

async fn once_with(args: &RegisterArgs, target: Registries) -> anyhow::Result<Vec<String>> {
    let given = args.details.given();
    let mut registrar = Registrar::builder(target.clone()).timeout(args.place.timeout);
    if let Some(bind) = args.place.bind {
        registrar = registrar.source((bind, 0).into());
    }
    let registrar = registrar.build();
    let told = if given.is_empty() {
        // A registration without renewals needs no owner. Without an owner, `unregister` can end
        // it.
        registrar.register(&args.names, &args.place.port).await?
    } else {
        if registrar.protocol().await?.value == RegistryProtocol::Legacy {
            if args.details.exclusive {
                bail!("{target} is RPyC's own registry, which does not support --exclusive");
            }
            warn_of_legacy(&target, &given);
        }
        announcer(args, target).announce_once().await.into_iter().collect::<Result<_, _>>()?
    };
    let names = joined(&args.names);
    let line = |by: &Acknowledgement| {
        let (source, lease) = (by.source.ip(), lease(args, by));
        format!("registered {names} at {} as {source}{lease}", by.registry)
    };
    Ok(told.iter().map(line).collect())
}

/// Announces until `shutdown`; returns whether every registry acknowledged the deregistration.
///
/// # Errors
/// The refusal of a registry that has never accepted the registration, so that the caller sees it.
async fn announce(
    args: &RegisterArgs,
    registries: Registries,
    shutdown: impl Future,
) -> anyhow::Result<bool> {
    let announcer = announcer(args, registries);
    let status = announcer.status();
    tokio::select! {
        is_tidy = announcer.run(shutdown) => Ok(is_tidy),
        refused = tell(args, status) => refused,
    }
}

/// Runs the program and announces it until it ends, then unregisters and returns its exit code.
async fn while_running(
    args: &RegisterArgs,
    registries: Registries,
    program: &OsString,
    arguments: &[OsString],
) -> anyhow::Result<ExitCode> {
    let signal = signals::listen()?;
    let mut command = Command::new(program);
    let child = command.args(arguments).kill_on_drop(true).spawn();
    let mut child = child.with_context(|| format!("cannot run {}", program.to_string_lossy()))?;
    let (over, is_over) = oneshot::channel::<()>();
    let running = async {
        // Unregister before the program ends, so that clients do not connect to it while it shuts
        // down.
        let status = tokio::select! {
            status = child.wait() => status,
            request = signal => {
                drop(over);
                pass_on(request, &child);
                child.wait().await
            }
        };
        status.context("cannot read the exit status of the program")
    };
    // If a registry refuses the name, the program must not keep running.
    let announcing = async { announce(args, registries, is_over).await.map(farewell) };
    let (status, _) = tokio::try_join!(running, announcing)?;
    Ok(ended_as(status))
}

/// Reports status changes of the registries on standard error while it is polled. It fails if a
/// registry refuses the registration before it has ever accepted it.
async fn tell<T>(
    args: &RegisterArgs,
    mut status: watch::Receiver<Vec<Status>>,
) -> anyhow::Result<T> {
    let given = args.details.given();
    let mut told: Vec<String> = Vec::new();
    let mut warned = Vec::new();
    loop {
        let all = status.borrow_and_update().clone();
        let mut lines = Vec::new();
        for one in &all {
            if let (State::Failing { reason, .. }, None) = (&one.state, &one.last)
                && reason.attempts().iter().any(|it| matches!(it.fault, Fault::Declined { .. }))
            {
                let advice = advice::for_attempts(reason.attempts());
                let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
                bail!("cannot register {}: {reason}{advice}", joined(&args.names));
            }
            if one.is_acknowledged()
                && !one.is_native
                && !given.is_empty()
                && !warned.contains(&one.registries)
            {
                warn_of_legacy(&one.registries, &given);
                warned.push(one.registries.clone());
            }
            lines.push(describe(args, one));
        }
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

/// The lease that a registry has granted, and what was asked for if that is something else.
fn lease(args: &RegisterArgs, by: &Acknowledgement) -> String {
    let (granted, asked) = (by.ttl, args.details.ttl.map(|ttl| ttl.0));
    let shown = |ttl| humantime::format_duration(ttl);
    match (granted, asked) {
        (Some(granted), Some(asked)) if granted != asked => {
            let (granted, asked) = (shown(granted), shown(asked));
            format!(", with a TTL of {granted} (asked for {asked}; the registry limits it)")
        }
        (Some(granted), _) => format!(", with a TTL of {}", shown(granted)),
        (None, _) => String::new(),
    }
}

fn describe(args: &RegisterArgs, status: &Status) -> String {
    match (&status.state, &status.last) {
        (State::Acknowledged { .. }, Some(by)) => {
            let (names, ip, lease) = (joined(&args.names), by.source.ip(), lease(args, by));
            let instance = status.instance.map(|id| format!(", instance {id}"));
            let unreachable = status.unreachable.as_ref();
            let unreachable = unreachable.map(|it| format!("; the registry cannot reach {it}"));
            let (instance, unreachable) =
                (instance.unwrap_or_default(), unreachable.unwrap_or_default());
            format!("registered {names} at {} as {ip}{instance}{lease}{unreachable}", by.registry)
        }
        (State::Failing { reason, .. }, _) => format!("not registered, trying again: {reason}"),
        _ => String::new(),
    }
}

fn warn_of_legacy(registries: &Registries, given: &[&str]) {
    let given = given.join(", ");
    let line = format!(
        "WARNING: {registries} is RPyC's own registry: it accepts names and a port, but not {given}"
    );
    anstream::eprintln!("{}", output::printable(&line));
}

fn joined(names: &[ServiceName]) -> String {
    let names: Vec<_> = names.iter().map(ServiceName::as_str).collect();
    names.join(", ")
}

fn farewell(is_tidy: bool) -> ExitCode {
    if !is_tidy {
        anstream::eprintln!(
            "a registry did not acknowledge the deregistration; the registration expires after \
             its TTL"
        );
    }
    ExitCode::SUCCESS
}

/// Passes the signal that this process received on to the program.
#[cfg(unix)]
fn pass_on(request: signals::Request, child: &Child) {
    use std::io::IsTerminal;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let signal = match request {
        // The terminal has interrupted the program as well.
        signals::Request::Interrupt if std::io::stdin().is_terminal() => return,
        signals::Request::Interrupt => Signal::SIGINT,
        signals::Request::Terminate => Signal::SIGTERM,
    };
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // Sending fails if the program has just ended, which is harmless.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// On other systems, the console interrupts all of its programs itself.
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
