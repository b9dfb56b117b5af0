//! Measures calls of an RPyC server, or of a bare echo of as many bytes, from Rust.
//!
//! Prints one JSON object. `benches/rpc.py` runs it against several servers, interleaved.
#![expect(clippy::print_stdout, reason = "the result is what this is for")]

mod storm;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use rpyc_client::{Connection, args};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Bytes of a small call and of its answer on the wire, so that the echo carries as much.
const CALL_BYTES: usize = 64;

const MEBIBYTE: usize = 1 << 20;

#[derive(Parser)]
struct Cli {
    what: What,
    /// The server to call; for `serve-echo`, the address to listen on.
    address: SocketAddr,
    /// The duration of each measurement, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    millis: u64,
    /// The server's process, to report its processor time for each call. Requires /proc.
    #[arg(long)]
    server: Option<u32>,
    /// The number of objects in a storm.
    #[arg(long, default_value_t = 1_000_000)]
    objects: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Calls `add(1, 2)` and `payload(n)` of the conformance service.
    Rpc,
    /// Sends bytes and waits for them to return.
    Echo,
    /// Makes a million calls, each of which returns a counter that is used and dropped, and reports
    /// how many the conformance service still holds for the connection afterwards.
    Soak,
    /// Holds a million objects of the conformance service, drops them, and passes it a million of
    /// its own. Reports how long each step took and what either side still holds afterwards.
    Storm,
    /// Echoes all bytes, until killed.
    ServeEcho,
}

/// A connection with one request at a time.
enum Peer {
    Rpc(Box<rpyc_client::RemoteObject>),
    Echo(TcpStream),
}

impl Peer {
    async fn connect(what: What, address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if what == What::Echo {
            return Ok(Self::Echo(stream));
        }
        // With compression this would measure zlib. The Python side cannot turn it off, and pays
        // for it.
        let connection = Connection::builder().compress_above(None).over(stream);
        Ok(Self::Rpc(Box::new(connection.root().await?)))
    }

    async fn small(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Rpc(root) => {
                let sum: i64 = root.call("add", args![1, 2]).await?;
                if sum != 3 {
                    bail!("1 + 2 is not {sum}");
                }
            }
            Self::Echo(stream) => echo(stream, CALL_BYTES).await?,
        }
        Ok(())
    }

    async fn large(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Rpc(root) => {
                let payload: rpyc_client::Parcel = root.call("payload", args![MEBIBYTE]).await?;
                payload.into_value().ok().context("not a payload")?;
            }
            Self::Echo(stream) => echo(stream, MEBIBYTE).await?,
        }
        Ok(())
    }
}

async fn echo(stream: &mut TcpStream, len: usize) -> anyhow::Result<()> {
    let mut bytes = vec![0; len];
    let (mut reading, mut writing) = stream.split();
    let request = bytes.clone();
    tokio::try_join!(writing.write_all(&request), reading.read_exact(&mut bytes))?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if cli.what == What::ServeEcho {
        return serve_echo(cli.address).await;
    }
    if cli.what == What::Soak {
        return soak(cli.address).await;
    }
    if cli.what == What::Storm {
        return storm::storm(cli.address, cli.objects).await;
    }
    let time = Duration::from_millis(cli.millis);
    let mut peer = Peer::connect(cli.what, cli.address).await?;
    let round_trip = median(&mut peer, time, false).await?;
    let large = median(&mut peer, time, true).await?;
    let one = rate(&cli, 1, time).await?;
    let many = rate(&cli, 64, time).await?;
    let result = json!({
        "round_trip_us": round_trip.as_secs_f64() * 1e6,
        "mebibyte_ms": large.as_secs_f64() * 1e3,
        "calls_per_s_1": one.per_second,
        "calls_per_s_64": many.per_second,
        "server_us_per_call": one.server_us,
    });
    println!("{result}");
    Ok(())
}

/// The median time of sequential calls.
async fn median(peer: &mut Peer, time: Duration, is_large: bool) -> anyhow::Result<Duration> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < time || times.len() < 5 {
        let before = Instant::now();
        if is_large {
            peer.large().await?;
        } else {
            peer.small().await?;
        }
        times.push(before.elapsed());
    }
    times.sort_unstable();
    times.get(times.len() / 2).copied().context("nothing was measured")
}

/// The rate of calls, and the server's processor time for each.
struct Rate {
    per_second: f64,
    server_us: Option<f64>,
}

/// Calls a second over `n` connections, each with one call at a time.
async fn rate(cli: &Cli, n: usize, time: Duration) -> anyhow::Result<Rate> {
    let mut calling = JoinSet::new();
    let mut peers = Vec::new();
    for _ in 0..n {
        peers.push(Peer::connect(cli.what, cli.address).await?);
    }
    let before = cli.server.map(processor_time).transpose()?;
    let start = Instant::now();
    for mut peer in peers {
        calling.spawn(async move {
            let mut calls = 0_u32;
            while start.elapsed() < time {
                peer.small().await?;
                calls += 1;
            }
            anyhow::Ok((calls, peer))
        });
    }
    let mut calls = 0;
    // Kept until the server's time has been read, because its threads and their times may end with
    // them.
    let mut kept = Vec::new();
    while let Some(of_one) = calling.join_next().await {
        let (of_one, peer) = of_one??;
        calls += of_one;
        kept.push(peer);
    }
    let per_second = f64::from(calls) / start.elapsed().as_secs_f64();
    let after = cli.server.map(processor_time).transpose()?;
    let spent = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    let server_us = spent.map(|spent| spent.as_secs_f64() * 1e6 / f64::from(calls));
    Ok(Rate { per_second, server_us })
}

/// The processor time of a process, in user mode and in the kernel.
fn processor_time(process: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let told = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let spent = told.split_whitespace().next().context("an empty schedstat")?;
        nanoseconds += spent.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Calls in a soak, half for the counters and half on them.
const SOAK_CALLS: u64 = 1_000_000;

/// How many of them run concurrently.
const SOAK_WIDTH: u64 = 64;

async fn soak(address: SocketAddr) -> anyhow::Result<()> {
    let connection = rpyc_client::connect(address).await?;
    let root = connection.root().await?;
    let start = Instant::now();
    let mut calling = JoinSet::new();
    for _ in 0..SOAK_WIDTH {
        let root = root.clone();
        calling.spawn(async move {
            for number in 0..SOAK_CALLS / SOAK_WIDTH / 2 {
                let counter: rpyc_client::RemoteObject =
                    root.call("counter", args![number]).await?;
                let next: u64 = counter.call("inc", args![]).await?;
                if next != number + 1 {
                    bail!("{number} + 1 is not {next}");
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = calling.join_next().await {
        done??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let live: u64 = root.call("live", args![]).await?;
    let stats = connection.stats();
    println!(
        "{}",
        json!({
            "calls": SOAK_CALLS, "seconds": seconds, "counters_still_held_by_the_server": live,
            "calls_in_flight": stats.calls, "objects_held_by_the_client": stats.imports,
        })
    );
    Ok(())
}

async fn serve_echo(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("READY {}", listener.local_addr()?.port());
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut bytes = vec![0; 65_536];
            while let Ok(len @ 1..) = stream.read(&mut bytes).await {
                let Some(read) = bytes.get(..len) else { return };
                if stream.write_all(read).await.is_err() {
                    return;
                }
            }
        });
    }
}
