//! `rpyc-registry bench`: puts a registry under load, and tells what it answers how fast.
//!
//! `population` is whom it pretends to be, `engine` asks from `source`s by `batch`es in `train`s, `errand`
//! registers and unregisters, `load` is measured, `tally` counts, `report` tells.

mod batch;
mod engine;
mod errand;
mod load;
mod population;
mod report;
mod source;
mod tally;
mod train;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rpyc_client::{RegistryAddr, Transport};

use self::engine::Work;
use self::errand::{Errand, Outcome};
use self::load::{Load, Pace};
use self::population::{Hosts, Population, Request};
use self::report::{Report, Told};
use self::source::Source;
use self::tally::Tally;
use self::train::MAX_TRAIN;
use super::block_on;
use crate::cli::{BenchArgs, BenchFormat};
use crate::output::{self, plural};
use crate::{UsageError, signals};

/// Instances a name, unless told otherwise.
const INSTANCES_A_NAME: u32 = 5;

/// Set by whoever interrupts it: what was registered is unregistered, and the result told as far as it is.
type Stop = Arc<AtomicBool>;

pub(crate) fn run(args: &BenchArgs, has_registries: bool) -> anyhow::Result<ExitCode> {
    if has_registries {
        bail!(UsageError("bench takes one address, as its argument, and no --registry"));
    }
    let stop = Stop::default();
    let until_interrupted = Arc::clone(&stop);
    // The sources keep threads of their own busy; this one waits for whichever comes first.
    block_on(async move {
        let mut interrupt = Box::pin(signals::listen()?);
        let args = args.clone();
        let mut bench = tokio::task::spawn_blocking(move || Bench::new(args, stop)?.run());
        tokio::select! {
            done = &mut bench => return done.context("the load ended by itself")?,
            _ = &mut interrupt => until_interrupted.store(true, Ordering::Relaxed),
        }
        bench.await.context("the load ended by itself")?
    })
}

struct Bench {
    args: BenchArgs,
    population: Arc<Population>,
    sources: u32,
    threads: Vec<Vec<Source>>,
    target: SocketAddr,
    stop: Stop,
}

impl Bench {
    fn new(args: BenchArgs, stop: Stop) -> anyhow::Result<Self> {
        let target = resolve(&args.address)?;
        let hosts = hosts(&args, target)?;
        let count = hosts.count();
        // A multiple of the hosts, so that source `i` speaks for the instances `i`, `i + sources`, ...
        let sources = (args.sources.min(args.instances) / count).max(1) * count;
        let names = args.names.unwrap_or_else(|| args.instances.div_ceil(INSTANCES_A_NAME));
        let population = Population::new(hosts, args.instances, names, &args.prefix)?;
        let population = Arc::new(population);
        let n_threads = args.threads.min(sources);
        let threads = (0..n_threads).map(|thread| {
            let own = (thread..sources).step_by(n_threads as usize);
            own.map(|number| Source::new(number, hosts.address(number % count), target)).collect()
        });
        let threads = threads.collect::<anyhow::Result<_>>()?;
        Ok(Self { args, population, sources, threads, target, stop })
    }

    fn run(mut self) -> anyhow::Result<ExitCode> {
        let mut report = Report::default();
        let mut told_of = self.population.instances();
        if !self.args.registered {
            let told = self.errand(Request::Register, told_of)?;
            let people = &self.population;
            let instances = plural(told.outcome.acknowledged.into(), "instance");
            let names = plural(people.names().into(), "name");
            let hosts = plural(people.hosts().count().into(), "host");
            self.tell(told.line(&format!("registered {instances} of {names} on {hosts}")))?;
            told_of = told.outcome.reached;
            report.registered = Some(told);
        }
        if !self.is_stopped() && !self.args.duration.is_zero() {
            let (tally, time) = self.load()?;
            if self.args.output == BenchFormat::Table {
                report::print(&tally, time)?;
            }
            report.load = Some((tally, time));
        }
        if !self.args.keep {
            // Whoever interrupted the load wants this done all the same.
            self.stop = Stop::default();
            let told = self.errand(Request::Unregister, told_of)?;
            let instances = plural(told.outcome.acknowledged.into(), "instance");
            self.tell(told.line(&format!("unregistered {instances}")))?;
            report.unregistered = Some(told);
        }
        if self.args.output == BenchFormat::Json {
            output::json(&report.document())?;
        }
        if report.has_wrong_answers() {
            bail!("some answers were wrong: not what was registered, or nothing that can be read");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tells people a line; programs are told all in the end.
    fn tell(&self, line: String) -> std::io::Result<()> {
        match self.args.output {
            BenchFormat::Table => output::lines([line]),
            BenchFormat::Json => Ok(()),
        }
    }

    /// Tells the registry of the first `instances` instances, one way or the other.
    fn errand(&mut self, request: fn(u32) -> Request, instances: u32) -> anyhow::Result<Told> {
        let start = Instant::now();
        let (sources, timeout, stop) = (self.sources, self.args.timeout, Arc::clone(&self.stop));
        let make = |own: &[Source]| {
            let own = own.iter().map(|source| source.number);
            Errand::new(request, instances, sources, own, timeout, &stop)
        };
        let done = self.on_each_thread(make, Errand::finish)?;
        let outcome = done.into_iter().fold(Outcome::default(), Outcome::and);
        ensure!(
            !outcome.gave_up(),
            "{} does not answer: {} of {instances} instances were acknowledged, then none for {}. Is it a \
             registry, does it listen for UDP, and does it take so many from one machine?",
            self.target,
            outcome.acknowledged,
            output::duration(timeout * errand::PATIENCE)
        );
        Ok(Told { outcome, time: start.elapsed() })
    }

    /// The measured load, and how long it took.
    fn load(&mut self) -> anyhow::Result<(Tally, Duration)> {
        let pace = match self.args.rate {
            Some(rate) => {
                Pace::Open { per_second: f64::from(rate) / f64::from(self.threads_len()) }
            }
            None => {
                let sources = self.args.window.min(self.sources);
                let at_once = self.args.window.div_ceil(sources) as usize;
                Pace::Closed { sources, at_once: at_once.min(MAX_TRAIN) }
            }
        };
        let (mix, sources, stop) = (self.args.mix, self.sources, Arc::clone(&self.stop));
        let times = (self.args.duration, self.args.timeout);
        let population = Arc::clone(&self.population);
        let make = |_: &[Source]| Load::new(&population, sources, mix, pace, times, &stop);
        let tallies = self.on_each_thread(make, Load::finish)?;
        let sum = tallies.into_iter().reduce(|mut sum, tally| {
            sum.merge(&tally);
            sum
        });
        let sum = sum.context("there is no thread")?;
        let time = if self.is_stopped() { sum.elapsed() } else { sum.elapsed().max(times.0) };
        Ok((sum, time))
    }

    fn threads_len(&self) -> u32 {
        self.args.threads.min(self.sources)
    }

    /// Does work on every thread, with the sources of that thread, and gives what came of it.
    fn on_each_thread<W: Work, T: Send>(
        &mut self,
        make: impl Fn(&[Source]) -> W + Sync,
        finish: impl Fn(W) -> T + Sync,
    ) -> anyhow::Result<Vec<T>> {
        let (population, timeout) = (&*self.population, self.args.timeout);
        let one = |sources: &mut Vec<Source>| {
            let mut work = make(sources);
            engine::run(sources, population, timeout, &mut work).map(|()| finish(work))
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                self.threads.iter_mut().map(|sources| scope.spawn(|| one(sources))).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            joined.collect()
        })
    }
}

/// The one address that is meant.
fn resolve(address: &RegistryAddr) -> anyhow::Result<SocketAddr> {
    if address.transport() == Transport::Tcp {
        bail!(UsageError("bench asks over UDP; give the address without tcp://"));
    }
    let unknown = || format!("cannot find {}", address.host());
    let found = (address.host().as_str(), address.port()).to_socket_addrs();
    let found = found.with_context(unknown)?.next().with_context(unknown)?;
    let ip = found.ip();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if is_broadcast || ip.is_multicast() || ip.is_unspecified() {
        bail!(UsageError(
            "bench puts one registry under load, which must be yours: give the address of its machine, not \
             one that many hear"
        ));
    }
    Ok(found)
}

/// Which hosts to seem to be.
fn hosts(args: &BenchArgs, target: SocketAddr) -> anyhow::Result<Hosts> {
    let is_loopback = matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback());
    let count = match args.hosts {
        // Elsewhere a machine has 127.0.0.1 only, unless somebody gave it more.
        None if !is_loopback || !cfg!(target_os = "linux") => return Ok(Hosts::This),
        None => args.sources,
        Some(hosts) => hosts,
    };
    if !is_loopback {
        bail!(UsageError(
            "--hosts needs a registry at 127.x.y.z: there a source may have any such address"
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
