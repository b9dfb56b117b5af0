//! The three phases of a load test, on as many threads as the settings ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bulk::{self, Bulk, Outcome};
use crate::engine::{self, Work};
use crate::error::LoadError;
use crate::load::{Load, LoadModel};
use crate::population::{Hosts, Population, Request};
use crate::settings::Settings;
use crate::source::Source;
use crate::tally::Tally;
use crate::window::MAX_WINDOW;

/// A population of simulated instances, and the sockets that send for it.
///
/// The phases are [`register`](Self::register), [`measure`](Self::measure) and
/// [`unregister`](Self::unregister). Each blocks its thread until it ends, or shortly after `stop`
/// becomes true.
#[derive(Debug)]
pub struct LoadTest {
    settings: Settings,
    population: Population,
    threads: Vec<Vec<Source>>,
    stop: Arc<AtomicBool>,
}

/// The outcome of registering or unregistering all instances.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BulkReport {
    /// How many instances the registry acknowledged.
    pub acknowledged: u32,
    /// How many requests were sent again because no acknowledgement came.
    pub asked_again: u64,
    /// No instance from this number on was sent.
    pub reached: u32,
    /// How long it took.
    pub time: Duration,
}

/// The outcome of the measured load.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoadReport {
    /// The counts and latencies.
    pub tally: Tally,
    /// How long it took.
    pub time: Duration,
}

impl LoadTest {
    /// Encodes all requests and opens all sockets. Nothing is sent yet.
    ///
    /// # Errors
    /// [`LoadError`] if there are too many instances, a name is too long, or a socket cannot be
    /// opened.
    pub fn new(settings: Settings, stop: Arc<AtomicBool>) -> Result<Self, LoadError> {
        let hosts = settings.hosts;
        let population =
            Population::new(hosts, settings.instances, settings.names, &settings.prefix)?;
        let sources = settings.sources();
        let n_threads = settings.threads.clamp(1, sources);
        let source =
            |number| Source::new(number, hosts.address(number % hosts.count()), settings.target);
        let threads = (0..n_threads)
            .map(|thread| (thread..sources).step_by(n_threads as usize).map(source).collect());
        let threads = threads.collect::<Result<_, _>>()?;
        Ok(Self { settings, population, threads, stop })
    }

    /// The simulated hosts.
    #[must_use]
    pub fn hosts(&self) -> Hosts {
        self.population.hosts()
    }

    /// How many instances there are.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.population.instances()
    }

    /// How many names they share.
    #[must_use]
    pub fn names(&self) -> u32 {
        self.population.names()
    }

    /// Replaces the flag that ends a phase.
    pub fn set_stop(&mut self, stop: Arc<AtomicBool>) {
        self.stop = stop;
    }

    /// Registers all instances, as fast as no request is lost, until the registry has acknowledged
    /// all of them.
    ///
    /// # Errors
    /// [`LoadError::NoReply`] if it stops acknowledging, [`LoadError::Socket`] if a socket cannot
    /// be replaced.
    pub fn register(&mut self) -> Result<BulkReport, LoadError> {
        self.bulk(Request::Register, self.population.instances())
    }

    /// Unregisters the first `instances` instances.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn unregister(&mut self, instances: u32) -> Result<BulkReport, LoadError> {
        self.bulk(Request::Unregister, instances)
    }

    fn bulk(
        &mut self,
        request: fn(u32) -> Request,
        instances: u32,
    ) -> Result<BulkReport, LoadError> {
        let start = Instant::now();
        let (sources, timeout) = (self.settings.sources(), self.settings.timeout);
        let stop = Arc::clone(&self.stop);
        let make = |own: &[Source]| {
            let own = own.iter().map(|source| source.number);
            Bulk::new(request, instances, sources, own, timeout, &stop)
        };
        let done =
            on_each_thread(&mut self.threads, &self.population, timeout, make, Bulk::finish)?;
        let outcome = done.into_iter().fold(Outcome::default(), Outcome::and);
        let Outcome { acknowledged, asked_again, reached, .. } = outcome;
        if outcome.gave_up() {
            let (target, patience) = (self.settings.target, timeout * bulk::PATIENCE);
            return Err(LoadError::NoReply { target, acknowledged, instances, patience });
        }
        Ok(BulkReport { acknowledged, asked_again, reached, time: start.elapsed() })
    }

    /// Puts the registry under the measured load.
    ///
    /// # Errors
    /// [`LoadError::Socket`] if a socket cannot be replaced.
    pub fn measure(&mut self) -> Result<LoadReport, LoadError> {
        let (settings, sources) = (&self.settings, self.settings.sources());
        let model = match settings.rate {
            Some(rate) => {
                let threads = settings.threads.clamp(1, sources);
                LoadModel::Open { per_second: f64::from(rate) / f64::from(threads) }
            }
            None => {
                let sources = settings.window.clamp(1, sources);
                let at_once = settings.window.div_ceil(sources) as usize;
                LoadModel::Closed { sources, at_once: at_once.min(MAX_WINDOW) }
            }
        };
        let (mix, duration) = (settings.mix, settings.duration);
        let times = (duration, settings.timeout);
        let stop = Arc::clone(&self.stop);
        let population = &self.population;
        let make = |_: &[Source]| Load::new(population, sources, mix, model, times, &stop);
        let tallies = on_each_thread(&mut self.threads, population, times.1, make, Load::finish)?;
        let sum = tallies.into_iter().reduce(|mut sum, tally| {
            sum.merge(&tally);
            sum
        });
        let tally = sum.unwrap_or_else(|| Tally::new(Instant::now()));
        let is_stopped = stop.load(Ordering::Relaxed);
        let time = if is_stopped { tally.elapsed() } else { tally.elapsed().max(duration) };
        Ok(LoadReport { tally, time })
    }
}

/// Runs work on every thread, with the sources of that thread, and returns the results.
fn on_each_thread<W: Work, T: Send>(
    threads: &mut [Vec<Source>],
    population: &Population,
    timeout: Duration,
    make: impl Fn(&[Source]) -> W + Sync,
    finish: impl Fn(W) -> T + Sync,
) -> Result<Vec<T>, LoadError> {
    let one = |sources: &mut Vec<Source>| {
        let mut work = make(sources);
        engine::run(sources, population, timeout, &mut work).map(|()| finish(work))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            threads.iter_mut().map(|sources| scope.spawn(|| one(sources))).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect()
    })
}
