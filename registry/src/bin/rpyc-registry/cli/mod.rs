//! The syntax of the command line. The modules of `command` run the verbs.

mod ask;
mod bench;
mod call;
mod operate;
mod register;
mod serve;
mod value;

use clap::builder::OsStringValueParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use rpyc_client::Registries;

pub(crate) use ask::{
    AskArgs, DescribeArgs, ListArgs, LookupArgs, OutputFormat, WatchArgs, WatchFormat,
};
pub(crate) use bench::{BenchArgs, BenchFormat};
pub(crate) use call::{CallArgs, InspectArgs, PingArgs, ShellArgs, SpeakArgs};
pub(crate) use operate::{OperateArgs, ReleaseArgs, StatusArgs, TargetArgs};
pub(crate) use register::{RegisterArgs, UnregisterArgs};
pub(crate) use serve::{LeaseArgs, LimitArgs, OperatorArgs, ServeArgs, Switches};
pub(crate) use value::{
    Failing, ListingFor, LogFormat, LogLevel, Mode, Operators, SocketAt, StoreKind,
};

/// A registry for RPyC services: servers register names, clients resolve them to HOST:PORT.
///
/// Without a command, it runs the registry. The switches of RPyC's own registry work here too.
#[derive(Debug, Parser)]
#[command(
    name = "rpyc-registry",
    version,
    subcommand_precedence_over_arg = true,
    after_help = "Examples:
  rpyc-registry                             serve on port 18811, UDP and TCP, IPv4 and IPv6
  rpyc-registry --listing -t 2m             let everyone list; expire servers after two minutes
  rpyc-registry --host 10.0.0.5             listen on one address, and for broadcasts there
  rpyc-registry --state-dir /srv/registry   keep registrations in this directory
  rpyc-registry --store memory              keep registrations in memory only
  rpyc-registry --config /etc/rpyc-registry.toml
                                            read settings from a file
  rpyc-registry list --wide                 every instance: address, state, times
  rpyc-registry lookup PAYROLL              the addresses of PAYROLL
  rpyc-registry --registry tcp://10.0.0.5 list
                                            query one registry, over TCP"
)]
pub(crate) struct Cli {
    #[arg(
        long,
        global = true,
        value_name = "REGISTRY",
        help = "The registries for client commands: [udp://|tcp://]HOST[:PORT] or unix:PATH, \
                separated by commas [default: $RPYC_REGISTRY, else this machine, then broadcast]"
    )]
    registry: Option<Registries>,
    #[command(flatten)]
    serve: Switches,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the registry (the default without a command)
    #[command(after_help = "Examples:
  rpyc-registry serve --config /etc/rpyc-registry.toml
  RPYC_REGISTRY_PORT=18812 rpyc-registry serve --log-format json

A switch overrides its variable ($RPYC_REGISTRY_MAX_TTL is --max-ttl), which overrides the file.")]
    Serve(Switches),
    /// Check the settings of the registry, and print each with its origin as a configuration file
    #[command(after_help = "Examples:
  rpyc-registry check-config --config /etc/rpyc-registry.toml
  rpyc-registry check-config --listing -t 2m > rpyc-registry.toml

It takes the switches of serve, and reads the same environment. The exit code is 2 if a setting is
invalid.")]
    CheckConfig(Switches),
    /// List the registered names, with the number and the states of their instances
    #[command(after_help = "Examples:
  rpyc-registry list
  rpyc-registry list --wide                 each instance: address, state, times, reason
  rpyc-registry list 'PAY*' --wide --state suspect --state failing
  rpyc-registry list --tag gpu --zone eu    instances with that tag in that zone
  rpyc-registry list --host 10.0.0.7        only instances on that host
  rpyc-registry list -o json | jq .")]
    List(ListArgs),
    /// Show each instance of a name in full, and why it is not passing
    #[command(after_help = "Examples:
  rpyc-registry describe PAYROLL
  rpyc-registry describe PAYROLL 10.0.0.7:18861
  rpyc-registry describe --instance 42 -o json")]
    Describe(DescribeArgs),
    /// Watch changes: a live table on a terminal, else a line of JSON for each change
    #[command(after_help = "Examples:
  rpyc-registry watch
  rpyc-registry watch 'PAY*'
  rpyc-registry watch PAYROLL | jq -c 'select(.event == \"removed\")'

It reconnects when the registry restarts.")]
    Watch(WatchArgs),
    /// Print the addresses of a name, one HOST:PORT on each line
    #[command(after_help = "Examples:
  rpyc-registry lookup PAYROLL
  rpyc-registry lookup PAYROLL -o json | jq .instances

The exit code is 1 if no server of the name is registered.")]
    Lookup(LookupArgs),
    /// Register names for a server on this machine, for as long as this command runs
    #[command(after_help = "Examples:
  rpyc-registry register PAYROLL --port 18861               until interrupted
  rpyc-registry register PAYROLL PAY --port 18861 --once    until it expires
  rpyc-registry register PAYROLL --port 18861 -- python3 payroll_server.py
                                                            for as long as the server runs
  rpyc-registry register PAYROLL --port 18861 --tag gpu --zone eu --meta os=linux --ttl 30s
  rpyc-registry register LEADER --port 18861 --exclusive    fails if another server holds LEADER")]
    Register(RegisterArgs),
    /// End the registration of a port of this machine
    #[command(after_help = "Examples:
  rpyc-registry unregister --port 18861
  rpyc-registry unregister --port 18861 --bind 10.0.0.7     if it registered from that address

It ends registrations that RPyC's servers or `register --once` made. A registration with a lease
ends with its owner, or by `deregister`.")]
    Unregister(UnregisterArgs),
    /// Send no new clients to instances, which stay registered
    #[command(after_help = "Examples:
  rpyc-registry drain PAYROLL 10.0.0.7:18861
  rpyc-registry drain --instance 42
  rpyc-registry drain PAYROLL --registry unix:/run/rpyc-registry/operator.sock

Operators may do this: on the registry's machine the user that runs it, by its socket, which this
command finds in the state directory; elsewhere the networks of its --operator-from.")]
    Drain(OperateArgs),
    /// Send new clients to drained instances again
    #[command(after_help = "Examples:
  rpyc-registry undrain PAYROLL             all instances of the name
  rpyc-registry undrain PAYROLL 10.0.0.7:18861")]
    Undrain(OperateArgs),
    /// End the registrations of instances, even those of other programs
    #[command(after_help = "Examples:
  rpyc-registry deregister PAYROLL 10.0.0.7:18861
  rpyc-registry deregister --instance 42

A server that is still running registers again when it renews; drain it to keep clients away.")]
    Deregister(OperateArgs),
    /// Expire protected overdue instances now
    #[command(after_help = "Examples:
  rpyc-registry release PAYROLL
  rpyc-registry release                     of all names")]
    Release(ReleaseArgs),
    /// Show the state of the registry: its contents, its store, and requests that it did not serve
    #[command(after_help = "Examples:
  rpyc-registry status
  rpyc-registry status -o json | jq .states")]
    Status(StatusArgs),
    /// Call a method of an RPyC server, in Python or Rust
    #[command(after_help = "Examples:
  rpyc-registry call PAYROLL get_salary last=Mertz first=David
  rpyc-registry call localhost:18861 add 1 -2 -o json
  rpyc-registry call PAYROLL rename -- --odd-name \"'42'\"

A Python literal (42, 1.5, 'text', b'..', (1, 2), None) is passed as that value, any other word as
text. KEY=VALUE is a keyword argument. The exit code is 1 if the method raises; the exception is
printed on standard error.")]
    Call(CallArgs),
    /// List the methods of an RPyC server, with their documentation
    #[command(after_help = "Examples:
  rpyc-registry inspect PAYROLL
  rpyc-registry inspect localhost:18861 -o json")]
    Inspect(InspectArgs),
    /// Check that every server of a name answers, and measure its latency and dialect
    #[command(after_help = "Examples:
  rpyc-registry ping PAYROLL
  rpyc-registry ping localhost:18861

The exit code is 1 if a server does not answer.")]
    Ping(PingArgs),
    /// Open the Python prompt of a classic server
    #[command(after_help = "Examples:
  rpyc-registry shell localhost             port 18812, where rpyc_classic listens
  rpyc-registry shell buildhost:18813
  rpyc-registry shell SLAVE                 a classic server that registered itself")]
    Shell(ShellArgs),
    /// Load-test a registry: throughput and latency
    #[command(after_help = "Examples:
  rpyc-registry bench 127.0.0.1                        as fast as it answers, 128 requests in flight
  rpyc-registry bench 127.0.0.1 --rate 20000 -d 1m     latency at 20,000 requests a second
  rpyc-registry bench 127.0.0.1 --mix query=1 --instances 5000 --names 1000
  rpyc-registry bench 127.0.0.1 --instances 1000000 --hosts 100 --keep -d 0
                                                       register a million, and leave them registered

Load-test only a registry of your own that no program depends on. bench speaks RPyC's own protocol
over UDP, so it can test RPyC's registry too. It registers instances that do not exist, under names
of their own and on ports from 1 on, and unregisters them at the end. If the address is not
127.x.y.z, this also unregisters servers of this machine on such ports. Only the register requests
of the mix renew the instances. bench uses one core, which should not be the registry's. The exit
code is 1 if an answer is wrong.")]
    Bench(BenchArgs),
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

/// The command with settings that accept any value.
fn unchecked(command: clap::Command) -> clap::Command {
    let settings = Switches::parser();
    settings.get_arguments().fold(command, |command, setting| {
        command.mut_arg(setting.get_id(), |arg| arg.value_parser(OsStringValueParser::new()))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Fish,
    Zsh,
}

impl Cli {
    /// Parses the command line without checking the settings of the registry, so that they can be
    /// checked together with the file and the environment. Returns nothing if something else is
    /// wrong, or if the command does not use them.
    pub(crate) fn unchecked_settings() -> Option<Switches> {
        let command = Self::command();
        let unchecked = ["serve", "check-config"]
            .into_iter()
            .fold(unchecked(command), |command, name| command.mut_subcommand(name, unchecked));
        let parsed = Self::from_arg_matches(&unchecked.try_get_matches().ok()?).ok()?;
        match parsed.into_command().ok()?.0 {
            Command::Serve(switches) | Command::CheckConfig(switches) => Some(switches),
            _ => None,
        }
    }

    /// Combines the switches before and after the command's name, and returns the command to run
    /// and the registries that it sends to.
    ///
    /// # Errors
    /// A usage error if the switches and the command do not belong together.
    pub(crate) fn into_command(self) -> Result<(Command, Option<Registries>), clap::Error> {
        let conflict =
            |message: &str| Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        let command = match self.command {
            None => Command::Serve(self.serve),
            Some(Command::Serve(args)) => Command::Serve(args.or(self.serve)),
            Some(Command::CheckConfig(args)) => Command::CheckConfig(args.or(self.serve)),
            Some(command) if self.serve == Switches::default() => command,
            Some(_) => {
                return conflict(
                    "switches before a client command configure the registry: \
                     write the switches of the command after its name",
                );
            }
        };
        if matches!(command, Command::Serve(_) | Command::CheckConfig(_)) && self.registry.is_some()
        {
            return conflict(
                "--registry is for client commands; the registry itself does not use it",
            );
        }
        Ok((command, self.registry))
    }
}
