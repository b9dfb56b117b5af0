//! Loads for other registries that do not use datagrams. See `benches/registry.py`.
#![expect(clippy::print_stdout, reason = "the result is what this is for")]

mod etcd;
mod pyro;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use serde_json::json;

#[derive(Parser)]
struct Cli {
    /// HOST:PORT
    address: String,
    /// Concurrent requests
    #[arg(long, default_value = "64")]
    window: usize,
    #[arg(long, default_value = "1000")]
    millis: u64,
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Put instances into etcd, each a key with its own lease
    EtcdFill(etcd::Size),
    /// Get the instances of a name from etcd
    EtcdGet(etcd::Size),
    /// Renew the leases of instances in etcd
    EtcdKeepAlive(etcd::Size),
    /// Call Pyro5's name server with bytes that its own client has sent
    Pyro {
        /// The bytes that its client has sent, as `benches/pyro_calls.py` prints them
        calls: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let load = Load { window: cli.window, time: Duration::from_millis(cli.millis) };
    runtime.block_on(async {
        match cli.part {
            Part::EtcdFill(size) => etcd::fill(&cli.address, load, &size).await,
            Part::EtcdGet(size) => etcd::get(&cli.address, load, &size).await,
            Part::EtcdKeepAlive(size) => etcd::keep_alive(&cli.address, load, &size).await,
            Part::Pyro { calls } => pyro::run(&cli.address, load, &calls).await,
        }
    })
}

/// The number of concurrent requests, and the duration.
#[derive(Clone, Copy)]
struct Load {
    window: usize,
    time: Duration,
}

impl Load {
    /// Runs `window` askers until the time is over, each with one request at a time, and prints the
    /// results. `asker` gets the number of an asker and returns the latency of an answer.
    async fn run<F>(self, mut asker: impl FnMut(usize, Instant) -> F) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<Vec<Duration>>>,
    {
        let start = Instant::now();
        let all = try_join_all((0..self.window).map(|at| asker(at, start + self.time))).await?;
        let seconds = start.elapsed().as_secs_f64();
        let mut latency = Histogram::<u64>::new(3)?;
        for one in all.iter().flatten() {
            latency.record(u64::try_from(one.as_nanos())?)?;
        }
        let micros = |percentile| {
            Duration::from_nanos(latency.value_at_percentile(percentile)).as_secs_f64() * 1e6
        };
        let answered = u32::try_from(latency.len())?;
        println!(
            "{}",
            json!({
                "answered": answered,
                "per_second": f64::from(answered) / seconds,
                "p50_us": micros(50.0),
                "p99_us": micros(99.0),
            })
        );
        Ok(())
    }
}
