//! `rpyc-registry bench`: load-tests a registry with the generator of `rpyc-load`.

mod report;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow, bail};
use rpyc_client::{RegistryAddr, Transport};
use rpyc_load::{Hosts, LoadError, LoadTest, Settings};

use self::report::Report;
use super::block_on;
use crate::cli::{BenchArgs, BenchFormat};
use crate::output::{self, plural};
use crate::{UsageError, signals};

/// The default number of instances for each name.
const INSTANCES_A_NAME: u32 = 5;

pub(crate) fn run(args: &BenchArgs, has_registries: bool) -> anyhow::Result<ExitCode> {
    if has_registries {
        bail!(UsageError(
            "bench takes the address of the registry as its argument, not \
             with --registry"
        ));
    }
    let stop = Arc::<AtomicBool>::default();
    let until_interrupted = Arc::clone(&stop);
    // The load test keeps other threads busy; this thread waits for its end or for a signal.
    block_on(async move {
        let mut interrupt = Box::pin(signals::listen()?);
        let args = args.clone();
        let mut bench = tokio::task::spawn_blocking(move || bench(&args, stop));
        tokio::select! {
            done = &mut bench => return done.context("the load test ended unexpectedly")?,
            _ = &mut interrupt => until_interrupted.store(true, Ordering::Relaxed),
        }
        bench.await.context("the load test ended unexpectedly")?
    })
}

fn bench(args: &BenchArgs, stop: Arc<AtomicBool>) -> anyhow::Result<ExitCode> {
    let mut test = LoadTest::new(settings(args)?, Arc::clone(&stop)).map_err(advise)?;
    let mut report = Report::default();
    let mut reached = test.instances();
    if !args.registered {
        let bulk = test.register().map_err(advise)?;
        let instances = plural(bulk.acknowledged.into(), "instance");
        let names = plural(test.names().into(), "name");
        let hosts = plural(test.hosts().count().into(), "host");
        let what = format!("registered {instances} of {names} on {hosts}");
        print(args, || output::lines([report::line(&bulk, &what)]))?;
        reached = bulk.reached;
        report.registered = Some(bulk);
    }
    if !stop.load(Ordering::Relaxed) && !args.duration.is_zero() {
        let load = test.measure()?;
        print(args, || report::print(&load))?;
        report.load = Some(load);
    }
    if !args.keep {
        // An interrupt ends the measured load, but must not stop the deregistration of the
        // instances.
        test.set_stop(Arc::default());
        let bulk = test.unregister(reached).map_err(advise)?;
        let what = format!("unregistered {}", plural(bulk.acknowledged.into(), "instance"));
        print(args, || output::lines([report::line(&bulk, &what)]))?;
        report.unregistered = Some(bulk);
    }
    if args.output == BenchFormat::Json {
        output::json(&report.document())?;
    }
    if report.has_wrong_answers() {
        bail!(
            "some answers were wrong: other instances than the registered ones, or not decodable"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a phase for people as soon as it ends; programs get one document at the end.
fn print(args: &BenchArgs, print: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if args.output == BenchFormat::Table { print() } else { Ok(()) }
}

/// Adds advice to an error.
fn advise(error: LoadError) -> anyhow::Error {
    let advice = match error {
        LoadError::NoReply { .. } => {
            "check that a registry listens there for UDP, and that it accepts so many instances \
             from one machine"
        }
        LoadError::TooManyInstances { .. } => {
            "simulate more hosts with --hosts, which needs a registry at 127.x.y.z"
        }
        error => return error.into(),
    };
    anyhow!("{error}; {advice}")
}

fn settings(args: &BenchArgs) -> anyhow::Result<Settings> {
    let target = resolve(&args.address)?;
    let mut settings = Settings::new(target, args.prefix.clone());
    settings.hosts = hosts(args, target)?;
    settings.instances = args.instances;
    settings.names = args.names.unwrap_or_else(|| args.instances.div_ceil(INSTANCES_A_NAME));
    settings.sources = args.sources;
    settings.threads = args.threads;
    settings.mix = args.mix;
    settings.duration = args.duration;
    settings.rate = args.rate;
    settings.window = args.window;
    settings.timeout = args.timeout;
    Ok(settings)
}

/// Resolves the address of the registry, which must be a single host.
fn resolve(address: &RegistryAddr) -> anyhow::Result<SocketAddr> {
    if address.transport() != Transport::Udp {
        bail!(UsageError("bench sends over UDP; write the address without tcp:// or unix:"));
    }
    let unknown = || format!("cannot resolve {}", address.host());
    let found = (address.host().as_str(), address.port()).to_socket_addrs();
    let found = found.with_context(unknown)?.next().with_context(unknown)?;
    let ip = found.ip();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if is_broadcast || ip.is_multicast() || ip.is_unspecified() {
        bail!(UsageError(
            "bench tests one registry: write the address of its machine, not a broadcast or \
             multicast address"
        ));
    }
    Ok(found)
}

/// Chooses the hosts to simulate.
fn hosts(args: &BenchArgs, target: SocketAddr) -> anyhow::Result<Hosts> {
    let is_loopback = matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback());
    let count = match args.hosts {
        // Systems other than Linux have only 127.0.0.1 unless an administrator added more loopback
        // addresses.
        None if !is_loopback || !cfg!(target_os = "linux") => return Ok(Hosts::This),
        None => args.sources,
        Some(hosts) => hosts,
    };
    if !is_loopback {
        bail!(UsageError(
            "--hosts needs a registry at 127.x.y.z, where a source may use any such address"
        ));
    }
    let count = count.min(args.instances);
    let last = args.first_host.to_bits().checked_add(count);
    let last = last.map(std::net::Ipv4Addr::from_bits);
    if !args.first_host.is_loopback() || !last.is_some_and(|last| last.is_loopback()) {
        bail!(UsageError("--first-host and the hosts that follow it must be 127.x.y.z"));
    }
    Ok(Hosts::Loopback { first: args.first_host, count })
}
