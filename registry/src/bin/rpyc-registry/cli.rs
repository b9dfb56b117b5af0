//! What can be written on the command line. What it means is in `command`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use rpyc_client::{Port, Registries, ServiceName};

use crate::command::Target;
use crate::reach::ReachArgs;

/// A registry for RPyC services: servers announce names, clients resolve them to host:port.
///
/// Without a command it serves, with the switches of RPyC's own registry.
#[derive(Debug, Parser)]
#[command(
    name = "rpyc-registry",
    version,
    subcommand_precedence_over_arg = true,
    after_help = "Examples:
  rpyc-registry                             serve on port 18811, UDP and TCP, IPv4 and IPv6
  rpyc-registry --listing -t 2m             let everyone list; forget servers after two minutes
  rpyc-registry --host 10.0.0.5             listen on one address, and to broadcasts there
  rpyc-registry --state-dir /srv/registry   keep registrations there
  rpyc-registry --store memory              keep them in memory only; a restart forgets
  rpyc-registry list --wide                 who serves what, where, since when
  rpyc-registry lookup PAYROLL              where PAYROLL is served
  rpyc-registry --registry tcp://10.0.0.5 list
                                            ask a certain registry, over TCP"
)]
pub(crate) struct Cli {
    #[arg(
        long,
        global = true,
        value_name = "REGISTRY",
        help = "The registries that client commands ask: [udp://|tcp://]HOST[:PORT], separated by \
                commas [default: $RPYC_REGISTRY, else this machine, then broadcast]"
    )]
    registry: Option<Registries>,
    #[command(flatten)]
    serve: ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the registry (what happens without a command)
    Serve(ServeArgs),
    /// List the names that are served
    #[command(after_help = "Examples:
  rpyc-registry list
  rpyc-registry list --wide                 with addresses, age and time left
  rpyc-registry list --host 10.0.0.7        only what that host serves
  rpyc-registry list -o json | jq .")]
    List(ListArgs),
    /// Tell where a name is served, one HOST:PORT a line
    #[command(after_help = "Examples:
  rpyc-registry lookup PAYROLL
  nc $(rpyc-registry lookup PAYROLL | head -1 | tr ':' ' ')

The exit code is 1 if nobody serves the name.")]
    Lookup(LookupArgs),
    /// Announce names for a server on this machine, for as long as this runs
    #[command(after_help = "Examples:
  rpyc-registry register PAYROLL --port 18861               until interrupted
  rpyc-registry register PAYROLL PAY --port 18861 --once    until it expires
  rpyc-registry register PAYROLL --port 18861 -- python3 payroll_server.py
                                                            for as long as the server runs")]
    Register(RegisterArgs),
    /// End the registration of a port of this machine
    #[command(after_help = "Examples:
  rpyc-registry unregister --port 18861
  rpyc-registry unregister --port 18861 --bind 10.0.0.7     if it registered from that address")]
    Unregister(UnregisterArgs),
    /// Call a method of an RPyC server, in Python or Rust
    #[command(after_help = "Examples:
  rpyc-registry call PAYROLL get_salary last=Mertz first=David
  rpyc-registry call localhost:18861 add 1 -2 -o json
  rpyc-registry call PAYROLL rename -- --odd-name \"'42'\"

A word that is a Python literal (42, 1.5, 'text', b'..', (1, 2), None) is that value, any other word is
text. KEY=VALUE is an argument by keyword. The exit code is 1 if the method raises; what it raises is
on standard error.")]
    Call(CallArgs),
    /// Tell which methods an RPyC server offers, with their documentation
    #[command(after_help = "Examples:
  rpyc-registry inspect PAYROLL
  rpyc-registry inspect localhost:18861 -o json")]
    Inspect(InspectArgs),
    /// Ask every server of a name whether it answers, how fast, and what it speaks
    #[command(after_help = "Examples:
  rpyc-registry ping PAYROLL
  rpyc-registry ping localhost:18861

The exit code is 1 if one does not answer.")]
    Ping(PingArgs),
    /// Open the Python prompt of a classic server
    #[command(after_help = "Examples:
  rpyc-registry shell localhost             port 18812, where rpyc_classic listens
  rpyc-registry shell buildhost:18813
  rpyc-registry shell SLAVE                 a classic server that registered itself")]
    Shell(ShellArgs),
    /// Print a script that completes commands and switches in a shell
    #[command(after_help = "Examples:
  rpyc-registry completions bash > /etc/bash_completion.d/rpyc-registry
  rpyc-registry completions fish > ~/.config/fish/completions/rpyc-registry.fish")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Fish,
    Zsh,
}

impl Cli {
    /// The command to run, with switches before and after its name taken together, and the
    /// registries it is to ask.
    ///
    /// # Errors
    /// A usage error if switches and command do not belong together.
    pub(crate) fn into_command(self) -> Result<(Command, Option<Registries>), clap::Error> {
        let conflict =
            |message: &str| Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        let command = match self.command {
            None => Command::Serve(self.serve),
            Some(Command::Serve(args)) => Command::Serve(args.or(self.serve)),
            Some(command) if self.serve == ServeArgs::default() => command,
            Some(_) => {
                return conflict(
                    "switches before a client command are for serving; put the switches of the command after it",
                );
            }
        };
        if matches!(command, Command::Serve(_)) && self.registry.is_some() {
            return conflict(
                "--registry is for client commands; a registry that serves asks nobody",
            );
        }
        Ok((command, self.registry))
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AskArgs {
    /// How long to wait for an answer: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "2")]
    pub(crate) timeout: Duration,

    /// How to print the answer
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: OutputFormat,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Add a line for each instance: its address, its age, the time left unless it renews
    #[arg(short, long)]
    pub(crate) wide: bool,

    /// Only what this host serves
    #[arg(long, value_name = "ADDR")]
    pub(crate) host: Option<String>,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LookupArgs {
    /// The name, in any case
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The port on which it is served, or the path of a unix socket
    #[arg(short, long, value_parser = parse_port)]
    pub(crate) port: Port,

    /// The address of this machine to register from, which is what clients are told
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: Option<IpAddr>,

    /// How long to wait for each acknowledgement: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "2")]
    pub(crate) timeout: Duration,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The names, in any case
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<ServiceName>,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// Register once and end; the registry forgets it after its timeout
    #[arg(long, conflicts_with = "command")]
    pub(crate) once: bool,

    /// How often to renew: seconds, or like 30s
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "60")]
    pub(crate) interval: Duration,

    /// Run this program, announce it for as long as it runs, and end with its exit code
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UnregisterArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CallArgs {
    /// A name, HOST:PORT, or the path of a unix socket
    #[arg(value_name = "NAME|HOST:PORT")]
    pub(crate) target: Target,

    /// The method
    pub(crate) method: String,

    /// Its arguments
    #[arg(value_name = "ARG|KEY=VALUE", allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,

    /// How long to wait for the registry, the connection and the answer, each: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "30")]
    pub(crate) timeout: Duration,

    /// How to print the result: as Python would, or as JSON
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: OutputFormat,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct InspectArgs {
    /// A name, HOST:PORT, or the path of a unix socket
    #[arg(value_name = "NAME|HOST:PORT")]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PingArgs {
    /// A name, HOST:PORT, or the path of a unix socket
    #[arg(value_name = "NAME|HOST:PORT")]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ShellArgs {
    /// A host, HOST:PORT, or a name
    #[arg(value_name = "HOST|NAME")]
    pub(crate) target: Target,

    /// How long to wait for the registry and the connection, each: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "3")]
    pub(crate) timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Columns, for people
    Table,
    /// One JSON document, for programs
    Json,
    /// One name, or HOST:PORT, a line, for scripts
    Name,
}

#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct ServeArgs {
    /// Serve only this transport [default: both]
    #[arg(
        short,
        long,
        value_enum,
        ignore_case = true,
        value_name = "UDP|TCP",
        hide_possible_values = true
    )]
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
          hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) listing: Option<bool>,

    /// Log errors only
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL",
          hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) quiet: Option<bool>,

    /// Append the log to this file [default: standard error]
    #[arg(long, value_name = "PATH")]
    pub(crate) logfile: Option<PathBuf>,

    /// Listen on this address and to broadcasts of its network (repeatable) [default: all]
    #[arg(long, value_name = "ADDR", action = ArgAction::Append)]
    pub(crate) host: Vec<IpAddr>,

    /// Where to keep registrations: in a file, so that a restart forgets nobody, or in memory
    /// [default: file]
    #[arg(long, value_enum, value_name = "STORE", hide_possible_values = true)]
    pub(crate) store: Option<StoreKind>,

    #[arg(
        long,
        value_name = "DIR",
        help = "The directory of that file [default: $STATE_DIRECTORY, else \
                $XDG_STATE_HOME/rpyc-registry, else ~/.local/state/rpyc-registry]"
    )]
    pub(crate) state_dir: Option<PathBuf>,

    /// How much to log [default: info]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,

    /// How to write the log [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    #[command(flatten)]
    pub(crate) reach: ReachArgs,

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
pub(crate) enum StoreKind {
    File,
    Memory,
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
        let reach = self.reach.or(before.reach);
        Self {
            mode: self.mode.or(before.mode),
            ipv6: self.ipv6 || before.ipv6,
            port: self.port.or(before.port),
            timeout: self.timeout.or(before.timeout),
            listing: self.listing.or(before.listing),
            quiet: self.quiet.or(before.quiet),
            logfile: self.logfile.or(before.logfile),
            host,
            store: self.store.or(before.store),
            state_dir: self.state_dir.or(before.state_dir),
            log_level: self.log_level.or(before.log_level),
            log_format: self.log_format.or(before.log_format),
            reach,
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

/// Reads a TCP port or, if it has a slash, the path of a unix socket.
fn parse_port(text: &str) -> Result<Port, String> {
    if text.contains('/') {
        return Port::path(text).map_err(|error| error.to_string());
    }
    let port = text.parse().map_err(|_not_a_number| {
        "it is neither a number from 1 to 65535 nor the path of a unix socket".to_owned()
    })?;
    Port::tcp(port).map_err(|error| error.to_string())
}
