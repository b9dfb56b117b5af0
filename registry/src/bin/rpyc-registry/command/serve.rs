//! `rpyc-registry` and `rpyc-registry serve`: the daemon.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rpyc_registry::{
    Access, Claim, Config, FileStore, Limits, Listener, Listing, Server, TableConfig,
};
use tracing::{info, warn};

use super::state_dir;
use crate::cli::{LimitArgs, LogFormat, LogLevel, Mode, ServeArgs, StoreKind};
use crate::{logging, signals};

/// How long requests under way may take to finish after a signal to end.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let default_level = if args.quiet == Some(true) { LogLevel::Error } else { LogLevel::Info };
    logging::start(
        args.log_level.unwrap_or(default_level),
        args.log_format.unwrap_or(LogFormat::Text),
        args.logfile.as_deref(),
    )?;
    let claim = match args.store.unwrap_or(StoreKind::File) {
        StoreKind::Memory => None,
        StoreKind::File => {
            let directory =
                state_dir::choose(args.state_dir.clone(), |name| std::env::var_os(name))?;
            Some(FileStore::claim(&directory)?)
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the threads of the registry")?;
    runtime.block_on(serve(config(args), claim))
}

async fn serve(config: Config, claim: Option<Claim>) -> anyhow::Result<ExitCode> {
    // Asked for before the addresses are told: whoever reads them may signal at once.
    let shutdown = signals::listen()?;
    let server = match claim {
        None => Server::bind(&config)?,
        Some(claim) => Server::with_opening(&config, claim.open())?,
    };
    let listeners = server.listeners().to_vec();
    for listener in &listeners {
        info!(%listener, "listening");
    }
    let ready = server.ready();
    tokio::spawn(async move {
        ready.await;
        tell(&listeners);
    });
    let shutdown = async {
        let _ = shutdown.await;
    };
    if !server.serve(shutdown, GRACE).await? {
        warn!(grace = %humantime::format_duration(GRACE), "some requests were cut off, or some changes not kept");
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells on standard output where requests are answered from now on.
fn tell(listeners: &[Listener]) {
    let mut stdout = std::io::stdout().lock();
    for listener in listeners {
        // Whoever started this may not care to read it.
        let _ = writeln!(stdout, "rpyc-registry listening on {listener}");
    }
    let _ = stdout.flush();
}

fn config(args: ServeArgs) -> Config {
    let defaults = Config::default();
    let mode = args.mode.unwrap_or(Mode::Both);
    let mut config = Config {
        hosts: args.host,
        port: args.port.unwrap_or(defaults.port),
        needs_ipv6: args.ipv6,
        udp: mode != Mode::Tcp,
        tcp: mode != Mode::Udp,
        table: TableConfig {
            ttl: args.timeout.unwrap_or(defaults.table.ttl),
            limits: limits(&args.limits),
            ..defaults.table
        },
        access: Access {
            listing: match args.listing {
                None => Listing::ThisMachine,
                Some(true) => Listing::Everyone,
                Some(false) => Listing::Nobody,
            },
            ..defaults.access
        },
        probes: defaults.probes,
    };
    args.reach.apply(&mut config);
    config
}

fn limits(args: &LimitArgs) -> Limits {
    let defaults = Limits::default();
    let to_usize = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        instances: args.max_instances.unwrap_or(defaults.instances),
        registrations: args.max_registrations.unwrap_or(defaults.registrations),
        names_per_instance: args.max_names.unwrap_or(defaults.names_per_instance),
        name_bytes: args.max_name_length.map_or(defaults.name_bytes, usize::from),
        instances_per_source: args
            .max_instances_per_source
            .unwrap_or(defaults.instances_per_source),
        requests_per_second: args.max_rate.unwrap_or(defaults.requests_per_second),
        connections: args.max_connections.map_or(defaults.connections, to_usize),
    }
}
