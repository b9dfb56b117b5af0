//! Arguments of `bench`, which load-tests a registry.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rpyc_client::{RegistryAddr, ServiceName};
use rpyc_load::Mix;

use super::value::parse_duration;

#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// The registry to test, over UDP: HOST[:PORT] of one machine. Test only a registry of your own
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: RegistryAddr,

    /// How long to send requests; with 0, bench only registers and unregisters
    #[arg(short, long, value_parser = parse_duration_or_none, value_name = "DURATION", default_value = "10")]
    pub(crate) duration: Duration,

    /// Requests a second, on a fixed schedule: the latency of a request counts from the time at
    /// which it was due [default: as many as the registry answers]
    #[arg(long, value_name = "N", conflicts_with = "window",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,

    /// Without --rate: the number of requests that wait for an answer at any time
    #[arg(long, value_name = "N", default_value = "128",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) window: u32,

    /// The kinds of requests, by weight: query, list, and register, which renews instances
    #[arg(long, value_name = "KIND=WEIGHT,...", default_value = "query=90,register=10")]
    pub(crate) mix: Mix,

    /// The number of instances to register first
    #[arg(long, value_name = "N", default_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) instances: u32,

    /// The number of names that the instances share evenly [default: one for every five instances]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) names: Option<u32>,

    /// The prefix of the names
    #[arg(long, value_name = "NAME", default_value = "BENCH")]
    pub(crate) prefix: ServiceName,

    /// The number of sockets to send from
    #[arg(long, value_name = "N", default_value = "16",
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) sources: u32,

    /// The number of hosts to simulate, each with its own address, if the registry is at 127.x.y.z
    /// [default: one for each source there, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) hosts: Option<u32>,

    /// The address of the first simulated host; the others follow it
    #[arg(long, value_name = "ADDR", default_value = "127.64.0.1")]
    pub(crate) first_host: Ipv4Addr,

    /// The number of threads that share the sockets. One is enough for a registry on one core
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,

    /// The time after which an answer counts as lost: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "2")]
    pub(crate) timeout: Duration,

    /// Leave the instances registered until they expire
    #[arg(long)]
    pub(crate) keep: bool,

    /// Register nothing: an earlier run with --keep and the same numbers did
    #[arg(long, requires = "keep")]
    pub(crate) registered: bool,

    /// The output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: BenchFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormat {
    /// A table for people
    Table,
    /// One JSON document for programs
    Json,
}

fn parse_duration_or_none(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { parse_duration(text) }
}
