//! The syntax of the command line. The modules of `command` run the verbs.

mod ask;
mod bench;
mod call;
mod operate;
mod register;
mod serve;
mod value;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use rpyc_client::Registries;

pub(crate) use ask::{
    AskArgs, DescribeArgs, ListArgs, LookupArgs, OutputFormat, WatchArgs, WatchFormat,
};
pub(crate) use bench::{BenchArgs, BenchFormat};
pub(crate) use call::{CallArgs, InspectArgs, PingArgs, ShellArgs, SpeakArgs};
pub(crate) use operate::{MeantArgs, OperateArgs, ReleaseArgs, StatusArgs};
pub(crate) use register::{RegisterArgs, UnregisterArgs};
pub(crate) use serve::{LeaseArgs, LimitArgs, ServeArgs, Switches};
pub(crate) use value::{Failing, ListingFor, LogFormat, LogLevel, Mode, StoreKind};

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
  rpyc-registry --config /etc/rpyc-registry.toml
                                            with settings from a file
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
    serve: Switches,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the registry (what happens without a command)
    #[command(after_help = "Examples:
  rpyc-registry serve --config /etc/rpyc-registry.toml
  RPYC_REGISTRY_PORT=18812 rpyc-registry serve --log-format json

A switch wins over its variable ($RPYC_REGISTRY_MAX_TTL is --max-ttl), that over the file.")]
    Serve(Switches),
    /// Print how the registry would be set up, and by what, as a configuration file
    #[command(after_help = "Examples:
  rpyc-registry check-config --config /etc/rpyc-registry.toml
  rpyc-registry check-config --listing -t 2m > rpyc-registry.toml

It takes the switches of serve, and reads the same environment. The exit code is 2 if something is wrong.")]
    CheckConfig(Switches),
    /// List the names that are served, and how many serve them in which state
    #[command(after_help = "Examples:
  rpyc-registry list
  rpyc-registry list --wide                 each instance: address, state, times, and why
  rpyc-registry list 'PAY*' --wide --state suspect --state failing
  rpyc-registry list --tag gpu --zone eu    what has that tag there
  rpyc-registry list --host 10.0.0.7        only what that host serves
  rpyc-registry list -o json | jq .")]
    List(ListArgs),
    /// Tell everything about the instances of a name, and why one is not passing
    #[command(after_help = "Examples:
  rpyc-registry describe PAYROLL
  rpyc-registry describe PAYROLL 10.0.0.7:18861
  rpyc-registry describe --instance 42 -o json")]
    Describe(DescribeArgs),
    /// Follow what happens: a live table on a terminal, else a line of JSON for each change
    #[command(after_help = "Examples:
  rpyc-registry watch
  rpyc-registry watch 'PAY*'
  rpyc-registry watch PAYROLL | jq -c 'select(.event == \"removed\")'

It goes on when the registry has restarted.")]
    Watch(WatchArgs),
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
                                                            for as long as the server runs
  rpyc-registry register PAYROLL --port 18861 --tag gpu --zone eu --meta os=linux --ttl 30s
  rpyc-registry register LEADER --port 18861 --exclusive    fails if somebody else is")]
    Register(RegisterArgs),
    /// End the registration of a port of this machine
    #[command(after_help = "Examples:
  rpyc-registry unregister --port 18861
  rpyc-registry unregister --port 18861 --bind 10.0.0.7     if it registered from that address

It ends what was registered as RPyC's servers and `register --once` do. A registration with a lease ends
with its owner, or by `deregister`.")]
    Unregister(UnregisterArgs),
    /// Send nobody new to instances, which stay registered
    #[command(after_help = "Examples:
  rpyc-registry drain PAYROLL 10.0.0.7:18861
  rpyc-registry drain --instance 42

It is allowed from the registry's own machine, and from where --operator-from says.")]
    Drain(OperateArgs),
    /// Send clients to drained instances again
    #[command(after_help = "Examples:
  rpyc-registry undrain PAYROLL             all that serve it
  rpyc-registry undrain PAYROLL 10.0.0.7:18861")]
    Undrain(OperateArgs),
    /// End registrations, whoever made them
    #[command(after_help = "Examples:
  rpyc-registry deregister PAYROLL 10.0.0.7:18861
  rpyc-registry deregister --instance 42

A server that is still running registers again when it renews; drain it to keep clients away.")]
    Deregister(OperateArgs),
    /// Forget at once those overdue instances that are protected because too many fell silent
    #[command(after_help = "Examples:
  rpyc-registry release PAYROLL
  rpyc-registry release                     of all names")]
    Release(ReleaseArgs),
    /// Tell how the registry does: what it holds, its store, what it did not serve
    #[command(after_help = "Examples:
  rpyc-registry status
  rpyc-registry status -o json | jq .states")]
    Status(StatusArgs),
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
    /// Put a registry of yours under load, and measure what it answers how fast
    #[command(after_help = "Examples:
  rpyc-registry bench 127.0.0.1                        as fast as it answers, 128 requests waiting
  rpyc-registry bench 127.0.0.1 --rate 20000 -d 1m     how long answers take at 20,000 requests a second
  rpyc-registry bench 127.0.0.1 --mix query=1 --instances 5000 --names 1000
  rpyc-registry bench 127.0.0.1 --instances 1000000 --hosts 100 --keep -d 0
                                                       register a million, and leave them there

This is load: aim it at nothing but a registry that is yours, with nobody depending on it. It speaks RPyC's
own protocol over UDP, so RPyC's registry can be measured as well. It registers instances that do not exist,
under names of their own and on ports from 1 on, and unregisters them in the end: with an address other than
127.x.y.z, a server of this machine on such a port is unregistered with them. They are renewed by the mix
only. One core is kept busy, and is best not the registry's. The exit code is 1 if an answer is wrong.")]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Fish,
    Zsh,
}

impl Cli {
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
                    "switches before a client command are for serving; put the switches of the command after it",
                );
            }
        };
        if matches!(command, Command::Serve(_) | Command::CheckConfig(_)) && self.registry.is_some()
        {
            return conflict(
                "--registry is for client commands; a registry that serves asks nobody",
            );
        }
        Ok((command, self.registry))
    }
}
