//! Arguments of `bench`, which load-tests a registry.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rpyc_client::{RegistryAddr, ServiceName};
use rpyc_load::Mix;

use super::value::parse_duration;

#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// The registry: HOST[:PORT] of a machine that is yours, over UDP. None is looked for, and none
    /// that many would hear is taken
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: RegistryAddr,

    /// How long to ask; 0 registers (and unregisters) only
    #[arg(short, long, value_parser = parse_duration_or_none, value_name = "DURATION", default_value = "10")]
    pub(crate) duration: Duration,

    /// Requests a second, at times that are fixed beforehand: an answer's latency counts from when
    /// its request was due, whoever held it up [default: as many as are answered]
    #[arg(long, value_name = "N", conflicts_with = "window",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,

    /// Without --rate: how many requests wait for an answer at a time; more take their place as
    /// these are answered
    #[arg(long, value_name = "N", default_value = "128",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) window: u32,

    /// What is asked, by weight: register renews what is registered
    #[arg(long, value_name = "KIND=WEIGHT,...", default_value = "query=90,register=10")]
    pub(crate) mix: Mix,

    /// How many instances to register before
    #[arg(long, value_name = "N", default_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) instances: u32,

    /// How many names they share, evenly [default: one for every five instances]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) names: Option<u32>,

    /// What the names begin with
    #[arg(long, value_name = "NAME", default_value = "BENCH")]
    pub(crate) prefix: ServiceName,

    /// How many sockets to ask from
    #[arg(long, value_name = "N", default_value = "16",
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) sources: u32,

    /// How many machines to seem to be, to a registry at 127.x.y.z: each has an address of its own
    /// [default: one for each source there, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) hosts: Option<u32>,

    /// The address of the first of them; the others follow
    #[arg(long, value_name = "ADDR", default_value = "127.64.0.1")]
    pub(crate) first_host: Ipv4Addr,

    /// How many threads share the sources. One is enough for a registry on one core
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,

    /// When an answer counts as lost: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "2")]
    pub(crate) timeout: Duration,

    /// Leave registered what was registered, until it expires
    #[arg(long)]
    pub(crate) keep: bool,

    /// Register nothing: a run with the same numbers and --keep has
    #[arg(long, requires = "keep")]
    pub(crate) registered: bool,

    /// How to print the result
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: BenchFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormat {
    /// Columns, for people
    Table,
    /// One JSON document, for programs
    Json,
}

fn parse_duration_or_none(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { parse_duration(text) }
}
