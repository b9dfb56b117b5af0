//! `rpyc-registry` and `rpyc-registry serve`: runs the daemon.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rpyc_registry::{
    Access, Claim, Config, FailingPolicy, FileStore, Limits, Listener, Listing, OperatorSocket,
    ProbeConfig, ProtectionPolicy, Server, StoreError, TableConfig,
};
use tracing::{info, warn};

use super::{operator_socket, state_dir};
use crate::cli::{
    Failing, LeaseArgs, LimitArgs, ListingFor, LogLevel, Mode, Operators, ServeArgs, StoreKind,
    Switches,
};
use crate::config::{self, Environment, Resolved};
use crate::logging::{self, Reopener};
use crate::signals::{self, HangUps};

/// How long requests in progress may take to finish after a termination signal.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(switches: Switches) -> anyhow::Result<ExitCode> {
    let Resolved { args, remarks, .. } = config::resolve(switches, &Environment::of_process())?;
    let default_level = if args.quiet { LogLevel::Error } else { LogLevel::Info };
    let level = args.log_level.unwrap_or(default_level);
    // RPyC uses an empty name for standard error.
    let logfile = args.logfile.as_deref().filter(|path| !path.as_os_str().is_empty());
    let log = logging::start(level, args.log_format, logfile)?;
    for remark in remarks {
        warn!("{remark}");
    }
    let ran = run_logged(args, log.reopener());
    if let Err(error) = &ran {
        log.fail(error);
    }
    log.finish();
    Ok(ran.unwrap_or(ExitCode::FAILURE))
}

/// Runs the daemon; an error goes to the log.
fn run_logged(args: ServeArgs, reopener: Reopener) -> anyhow::Result<ExitCode> {
    let claim = match args.store {
        StoreKind::Memory => None,
        StoreKind::File => {
            let directory =
                state_dir::choose(args.state_dir.clone(), |name| std::env::var_os(name))?;
            Some(FileStore::claim(&directory).map_err(|error| advised(error, args.mode))?)
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the threads of the registry")?;
    let is_quiet = args.quiet;
    let operator_socket = operator_socket::of_daemon(&args)?;
    runtime.block_on(serve(setup(args, operator_socket), claim, is_quiet, reopener))
}

/// Adds advice in terms of this command line to an error.
fn advised(error: StoreError, mode: Mode) -> anyhow::Error {
    let apart = "give each its own directory with --state-dir DIR, or use --store memory";
    let advice = match (&error, mode) {
        // RPyC's registry runs as two processes, one for each transport, so users may try that
        // here.
        (StoreError::InUse { .. }, Mode::Udp | Mode::Tcp) => format!(
            "one process serves both UDP and TCP: start only one, without --mode (-m). To run two \
             separate registries, {apart}"
        ),
        (StoreError::InUse { .. }, Mode::Both) => format!(
            "stop that process: one process serves both UDP and TCP. To run two separate \
             registries, {apart}"
        ),
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {advice}")
}

async fn serve(
    config: Config,
    claim: Option<Claim>,
    is_quiet: bool,
    reopener: Reopener,
) -> anyhow::Result<ExitCode> {
    // Listen for signals before printing the addresses: a reader of them may send a signal at once.
    let (shutdown, hang_ups) = (signals::listen()?, signals::hang_ups()?);
    let server = match claim {
        None => Server::bind(&config)?,
        Some(claim) => Server::with_opening(&config, claim.open())?,
    };
    let listeners = server.listeners().to_vec();
    for listener in &listeners {
        info!(%listener, "listening");
    }
    let operators = server.operator_socket().map(Path::to_owned);
    if let Some(path) = &operators {
        info!(path = %path.display(), "listening for operators");
    }
    if !is_quiet {
        let ready = server.ready();
        tokio::spawn(async move {
            ready.await;
            // Standard output may be a pipe without a reader, so no thread of the registry waits.
            thread::spawn(move || tell(&listeners, operators.as_deref()));
        });
    }
    let shutdown = async {
        tokio::select! {
            _ = shutdown => {}
            () = terminal_closed(hang_ups, reopener) => {}
        }
    };
    if !server.serve(shutdown, GRACE).await? {
        warn!(grace = %humantime::format_duration(GRACE), "some requests were not finished, or some changes not stored, in time");
    }
    Ok(ExitCode::SUCCESS)
}

/// Reopens the log file at each SIGHUP. Completes if the signal comes because the terminal of the
/// program has closed.
async fn terminal_closed(mut hang_ups: HangUps, reopener: Reopener) {
    let had_terminal = io::stderr().is_terminal();
    loop {
        hang_ups.next().await;
        if had_terminal && !io::stderr().is_terminal() {
            return;
        }
        reopener.reopen();
    }
}

/// Prints the addresses of the listeners on standard output. Programs read the lines of the network
/// listeners, so the line of the socket for operators has another form.
fn tell(listeners: &[Listener], operators: Option<&Path>) {
    let mut stdout = io::stdout().lock();
    for listener in listeners {
        // Standard output may be closed, which is harmless.
        let _ = writeln!(stdout, "rpyc-registry listening on {listener}");
    }
    if let Some(path) = operators {
        let _ = writeln!(stdout, "rpyc-registry serves operators at unix:{}", path.display());
    }
    let _ = stdout.flush();
}

/// Converts the settings to the configuration of the server.
fn setup(args: ServeArgs, operator_socket: Option<OperatorSocket>) -> Config {
    Config {
        operator_socket,
        hosts: args.host,
        port: args.port,
        needs_ipv6: args.ipv6,
        udp: args.mode != Mode::Tcp,
        udp_sockets: args.udp_sockets.unwrap_or_else(|| Config::default().udp_sockets),
        tcp: args.mode != Mode::Udp,
        table: TableConfig {
            ttl: args.timeout.0,
            limits: limits(&args.limits),
            address_rules: args.reach.address_rule,
            ..table(&args.leases)
        },
        access: Access {
            listing: match args.listing {
                ListingFor::Everyone => Listing::Everyone,
                ListingFor::ThisMachine => Listing::ThisMachine,
                ListingFor::Nobody => Listing::Nobody,
            },
            operators: match args.operators.operators {
                Operators::All => args.operators.operator_from,
                Operators::None => Vec::new(),
            },
            addresses: args.reach.addresses_from,
        },
        probes: ProbeConfig {
            rules: args.reach.probe,
            allow: args.reach.probe_allow,
            at_once: args.reach.max_probes,
        },
    }
}

fn table(args: &LeaseArgs) -> TableConfig {
    TableConfig {
        min_ttl: args.min_ttl.0,
        max_ttl: args.max_ttl.0,
        protection: ProtectionPolicy {
            share: args.protect_share.0,
            sample: args.protect_min,
            evictions_per_sweep: args.evictions_per_sweep,
        },
        failing: match args.failing {
            Failing::Last => FailingPolicy::Last,
            Failing::Hidden => FailingPolicy::Hidden,
        },
        ..TableConfig::default()
    }
}

fn limits(args: &LimitArgs) -> Limits {
    Limits {
        instances: args.max_instances,
        registrations: args.max_registrations,
        names_per_instance: args.max_names,
        name_bytes: args.max_name_length,
        instances_per_source: args.max_instances_per_source,
        registrations_per_source: args.max_registrations_per_source,
        bytes_per_source: args.max_bytes_per_source,
        legacy_bytes: args.max_legacy_bytes,
        requests_per_second: args.max_rate,
        answer_bytes_per_network: args.max_answer_bytes_per_network,
        answer_bytes: args.max_answer_bytes,
        connections: args.max_connections,
        connections_per_source: args.max_connections_per_source,
    }
}
