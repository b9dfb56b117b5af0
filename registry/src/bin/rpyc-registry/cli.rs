//! What can be written on the command line. What it means is in `command`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// A registry for RPyC services: servers announce names, clients resolve them to host:port.
///
/// Without a command it serves, with the switches of RPyC's own registry.
#[derive(Debug, Parser)]
#[command(
    name = "rpyc-registry",
    version,
    subcommand_precedence_over_arg = true,
    after_help = "Examples:
  rpyc-registry                        serve on port 18811, UDP and TCP, IPv4 and IPv6
  rpyc-registry --listing -t 2m        let everyone list; forget servers after two minutes
  rpyc-registry --host 10.0.0.5        listen on one address, and to broadcasts there"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the registry (what happens without a command)
    Serve(ServeArgs),
}

impl Cli {
    /// The command to run, with switches before and after its name taken together.
    pub(crate) fn into_command(self) -> Command {
        match self.command {
            None => Command::Serve(self.serve),
            Some(Command::Serve(args)) => Command::Serve(args.or(self.serve)),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct ServeArgs {
    /// Serve only this transport [default: both]
    #[arg(short, long, value_enum, ignore_case = true, value_name = "UDP|TCP")]
    pub(crate) mode: Option<Mode>,

    /// Fail where IPv6 is not available, rather than doing without it
    #[arg(short = '6', long)]
    pub(crate) ipv6: bool,

    /// The port, for UDP and TCP; 0 lets the system choose [default: 18811]
    #[arg(short, long)]
    pub(crate) port: Option<u16>,

    /// Forget a server that has not registered again for this long: seconds, or like 90s, 4m
    /// [default: 240]
    #[arg(short, long, value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,

    /// Let everyone list the names, or (with false) nobody [default: this machine only]
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL",
          value_parser = BoolishValueParser::new())]
    pub(crate) listing: Option<bool>,

    /// Log errors only
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL",
          value_parser = BoolishValueParser::new())]
    pub(crate) quiet: Option<bool>,

    /// Append the log to this file [default: standard error]
    #[arg(long, value_name = "PATH")]
    pub(crate) logfile: Option<PathBuf>,

    /// Listen on this address and to broadcasts of its network (repeatable) [default: all]
    #[arg(long, value_name = "ADDR", action = ArgAction::Append)]
    pub(crate) host: Vec<IpAddr>,

    /// How much to log [default: info]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,

    /// How to write the log [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

#[derive(Clone, Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Instances (host and port) in all [default: 1000000]
    #[arg(long, value_name = "N")]
    pub(crate) max_instances: Option<usize>,

    /// Names of instances in all [default: 4000000]
    #[arg(long, value_name = "N")]
    pub(crate) max_registrations: Option<usize>,

    /// Names that one instance may have [default: 64]
    #[arg(long, value_name = "N")]
    pub(crate) max_names: Option<usize>,

    /// Bytes of one name, 255 at most [default: 255]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) max_name_length: Option<u8>,

    /// Instances that one other machine may register [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) max_instances_per_source: Option<usize>,

    /// Requests a second from one other machine, 0 for any number [default: 2000]
    #[arg(long, value_name = "N")]
    pub(crate) max_rate: Option<u32>,

    /// TCP connections at a time; one more closes the longest idle [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Udp,
    Tcp,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl ServeArgs {
    /// These switches, and where one is not given that of `before`.
    fn or(self, before: Self) -> Self {
        let host = if self.host.is_empty() { before.host } else { self.host };
        let limits = self.limits.or(before.limits);
        Self {
            mode: self.mode.or(before.mode),
            ipv6: self.ipv6 || before.ipv6,
            port: self.port.or(before.port),
            timeout: self.timeout.or(before.timeout),
            listing: self.listing.or(before.listing),
            quiet: self.quiet.or(before.quiet),
            logfile: self.logfile.or(before.logfile),
            host,
            log_level: self.log_level.or(before.log_level),
            log_format: self.log_format.or(before.log_format),
            limits,
        }
    }
}

impl LimitArgs {
    fn or(self, before: Self) -> Self {
        Self {
            max_instances: self.max_instances.or(before.max_instances),
            max_registrations: self.max_registrations.or(before.max_registrations),
            max_names: self.max_names.or(before.max_names),
            max_name_length: self.max_name_length.or(before.max_name_length),
            max_instances_per_source: self
                .max_instances_per_source
                .or(before.max_instances_per_source),
            max_rate: self.max_rate.or(before.max_rate),
            max_connections: self.max_connections.or(before.max_connections),
        }
    }
}

/// Reads seconds, as RPyC does, or a duration with units.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?,
        Err(_) => humantime::parse_duration(text)
            .map_err(|error| format!("{error}; write seconds, or units as in 90s or 4m"))?,
    };
    if duration.is_zero() { Err("it must be more than 0".to_owned()) } else { Ok(duration) }
}
