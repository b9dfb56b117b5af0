//! `rpyc-registry` and `rpyc-registry serve`: runs the daemon.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
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
use crate::{logging, signals};

/// How long requests in progress may take to finish after a termination signal.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(switches: Switches) -> anyhow::Result<ExitCode> {
    let Resolved { args, remarks, .. } = config::resolve(switches, &Environment::of_process())?;
    let default_level = if args.quiet { LogLevel::Error } else { LogLevel::Info };
    let level = args.log_level.unwrap_or(default_level);
    // RPyC uses an empty name for standard error.
    let logfile = args.logfile.as_deref().filter(|path| !path.as_os_str().is_empty());
    logging::start(level, args.log_format, logfile)?;
    for remark in remarks {
        warn!("{remark}");
    }
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
    let operator_socket = operator_socket::of_daemon(&args)?;
    runtime.block_on(serve(setup(args, operator_socket), claim))
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

async fn serve(config: Config, claim: Option<Claim>) -> anyhow::Result<ExitCode> {
    // Listen for signals before printing the addresses: a reader of them may send a signal at once.
    let shutdown = signals::listen()?;
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
    let ready = server.ready();
    tokio::spawn(async move {
        ready.await;
        tell(&listeners, operators.as_deref());
    });
    let shutdown = async {
        let _ = shutdown.await;
    };
    if !server.serve(shutdown, GRACE).await? {
        warn!(grace = %humantime::format_duration(GRACE), "some requests were not finished, or some changes not stored, in time");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the addresses of the listeners on standard output. Programs read the lines of the network
/// listeners, so the line of the socket for operators has another form.
fn tell(listeners: &[Listener], operators: Option<&Path>) {
    let mut stdout = std::io::stdout().lock();
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
        requests_per_second: args.max_rate,
        connections: args.max_connections,
    }
}
