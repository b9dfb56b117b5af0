//! The file store with a million registrations: the time until they are durable, and until they are
//! restored.
//!
//! ```console
//! cargo run --release -p rpyc-benches --bin store-bench
//! ```
//!
//! Requests go through the registry's dispatcher, without the network.
#![expect(clippy::print_stdout, reason = "the result is what this is for")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};
use rpyc_benches::asker;
use rpyc_protocol::registry::{Names, Port, Request, reply};
use rpyc_protocol::{FoldedName, ServiceName};
use rpyc_registry::{
    Access, Asker, Counters, Dispatcher, Entropy, FileStore, LegacyAnswers, Opened, Outcome,
    Progress, Registry, TableConfig, Transport,
};
use tokio::sync::watch;

/// Single registrations whose time until durability is measured.
const SINGLES: usize = 300;

#[derive(Parser)]
#[command(about = "Measure the registry's file store")]
struct Cli {
    #[command(flatten)]
    shape: Shape,
    /// An empty directory on the disk to measure [default: a temporary one]
    #[arg(long)]
    directory: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// The registrations.
#[derive(Args, Clone, Copy)]
struct Shape {
    /// The number of instances
    #[arg(long, default_value = "1000000")]
    instances: u32,
    /// The number of names that they share
    #[arg(long, default_value = "10000")]
    names: u32,
    /// The number of instances of each host
    #[arg(long, default_value = "1")]
    ports: u32,
    /// Register by the native protocol, each instance with a key
    #[arg(long)]
    native: bool,
}

impl Shape {
    /// One registration, and its sender.
    fn registration(&self, instance: u32) -> anyhow::Result<(Asker, Vec<u8>)> {
        let mut asker = asker(instance / self.ports);
        let name = format!("SERVICE{}", instance % self.names);
        let port = u16::try_from(1024 + instance % self.ports)?;
        let mut request = Vec::new();
        if self.native {
            // Over UDP it would need a cookie.
            asker.transport = Transport::Tcp;
            write!(
                request,
                r#"{{"v":1,"op":"register","names":["{name}"],"port":{port},"key":"{instance:016x}"}}"#
            )?;
        } else {
            let names = [ServiceName::new(&name)?];
            let names = Names::from(&names[..]);
            Request::Register { names, port: Port::tcp(port)? }.encode(&mut request)?;
        }
        Ok((asker, request))
    }
}

/// Each runs in a separate process, so that none inherits the memory of another.
#[derive(Clone, Copy, Subcommand)]
enum Part {
    /// Register all of them
    Fill,
    /// Restart with them, as after a crash, and renew all
    Reopen,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let temporary = tempfile::TempDir::new()?;
    let directory = cli.directory.as_deref().unwrap_or_else(|| temporary.path());
    match cli.part {
        Some(Part::Fill) => runtime.block_on(fill(directory, cli.shape)),
        Some(Part::Reopen) => runtime.block_on(reopen(directory, cli.shape)),
        None => ["fill", "reopen", "reopen"].iter().try_for_each(|part| {
            let mut command = Command::new(std::env::current_exe()?);
            let Shape { instances, names, ports, native } = cli.shape;
            command.args(["--instances", &instances.to_string()]);
            command.args(["--names", &names.to_string(), "--ports", &ports.to_string()]);
            command.args(native.then_some("--native"));
            let status = command.arg("--directory").arg(directory).arg(part).status()?;
            ensure!(status.success(), "{part} failed");
            Ok(())
        }),
    }
}

struct Run {
    dispatcher: Dispatcher,
    progress: watch::Receiver<Progress>,
    answer: Vec<u8>,
}

impl Run {
    async fn begin(directory: &Path) -> anyhow::Result<Self> {
        let Opened { store, origin } = FileStore::claim(directory)?.open().await?;
        println!("  file opened, verified and read  {}", elapsed_since_start()?);
        let now = Instant::now();
        let progress = store.progress();
        let registry = Registry::new(now, TableConfig::default(), store, origin, entropy());
        let counters = Arc::new(Counters::new(now));
        let dispatcher = Dispatcher::new(now, registry, Access::default(), counters);
        Ok(Self { dispatcher, progress, answer: Vec::new() })
    }

    fn register(&mut self, shape: Shape, instance: u32) -> anyhow::Result<()> {
        let (asker, request) = shape.registration(instance)?;
        match self.dispatcher.handle(Instant::now(), &asker, &request, &mut self.answer) {
            Outcome::Refused(refusal) => Err(refusal).context("refused"),
            _ => Ok(()),
        }
    }

    async fn durable(&mut self) -> anyhow::Result<()> {
        let last = self.dispatcher.last_ticket();
        self.progress.wait_for(|progress| progress.committed >= last).await?;
        Ok(())
    }

    async fn end(mut self) {
        drop(self.dispatcher);
        while self.progress.changed().await.is_ok() {}
    }
}

async fn fill(directory: &Path, shape: Shape) -> anyhow::Result<()> {
    let Shape { instances, .. } = shape;
    println!("{instances} registrations");
    let mut run = Run::begin(directory).await?;
    let mut times = Vec::new();
    for single in 0..SINGLES {
        let start = Instant::now();
        run.register(shape, u32::try_from(single)?)?;
        run.durable().await?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let [median, late] = [50, 99].map(|percent| times.get(SINGLES * percent / 100).copied());
    println!(
        "  one after the other, until durable  median {:?}, 99th percentile {:?}",
        median.unwrap_or_default(),
        late.unwrap_or_default()
    );
    let start = Instant::now();
    for instance in u32::try_from(SINGLES)?..instances {
        run.register(shape, instance)?;
    }
    let taken = start.elapsed();
    run.durable().await?;
    tell("all at once, taken", taken, instances);
    tell("all at once, durable", start.elapsed(), instances);
    println!("  memory  {}", memory()?);
    let start = Instant::now();
    // The state that a crash would leave.
    let crashed = directory.join("crashed");
    std::fs::create_dir(&crashed)?;
    std::fs::copy(directory.join("registry.redb"), crashed.join("registry.redb"))?;
    let copied = start.elapsed();
    let start = Instant::now();
    run.end().await;
    println!("  end  {:?} (a copy of the file took {copied:?})", start.elapsed());
    println!("  file  {} MB", std::fs::metadata(directory.join("registry.redb"))?.len() >> 20);
    Ok(())
}

async fn reopen(directory: &Path, shape: Shape) -> anyhow::Result<()> {
    let crashed = directory.join("crashed");
    let is_after_crash = crashed.exists();
    println!("start {}", if is_after_crash { "after a crash" } else { "after an orderly end" });
    if is_after_crash {
        std::fs::rename(crashed.join("registry.redb"), directory.join("registry.redb"))?;
        std::fs::remove_dir(crashed)?;
    }
    let Shape { instances, .. } = shape;
    let mut run = Run::begin(directory).await?;
    let name = FoldedName::new("service7")?;
    let directory = Arc::clone(run.dispatcher.directory());
    let found = LegacyAnswers::default().query(&directory, &name, &asker(1), &mut run.answer)?;
    ensure!(!reply::decode_endpoints(found)?.is_empty(), "not found");
    println!("  first answer  {}", elapsed_since_start()?);
    println!("  memory  {}", memory()?);
    let start = Instant::now();
    for instance in 0..instances {
        run.register(shape, instance)?;
    }
    let taken = start.elapsed();
    run.durable().await?;
    tell("all renew, taken", taken, instances);
    tell("all renew, written that they did", start.elapsed(), instances);
    let start = Instant::now();
    for instance in 0..instances {
        run.register(shape, instance)?;
    }
    tell("all renew once more, which writes nothing", start.elapsed(), instances);
    drop(directory);
    run.end().await;
    Ok(())
}

/// Distinct numbers, which suffice for leases here.
fn entropy() -> Entropy {
    let mut last = 0_u128;
    Box::new(move || {
        last += 1;
        last.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    })
}

fn tell(what: &str, time: Duration, instances: u32) {
    println!(
        "  {what}  {:.2} s, {:.0}/s",
        time.as_secs_f64(),
        f64::from(instances) / time.as_secs_f64()
    );
}

/// How long this process has run, its start included.
fn elapsed_since_start() -> anyhow::Result<String> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime.split(' ').next().context("no uptime")?.parse()?;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let started: f64 = stat.split(' ').nth(21).context("no start")?.parse()?;
    Ok(format!("{:.2} s after the start", uptime - started / TICKS_PER_SECOND))
}

fn memory() -> anyhow::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let of = |key| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes >> 10)
    };
    let (now, most) = (of("VmRSS").context("no VmRSS")?, of("VmHWM").context("no VmHWM")?);
    Ok(format!("{now} MB, at most {most} MB"))
}
