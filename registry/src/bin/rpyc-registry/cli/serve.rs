//! The switches of the daemon, each of which is also a key of its configuration file.
//!
//! To add a switch, add a field here and use its value in `command/serve.rs`. The file, the
//! environment, `check-config` and the help follow from the field.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{
    BoolishValueParser, FalseyValueParser, OsStringValueParser, TypedValueParser as _,
};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum as _};
use ipnet::IpNet;
use rpyc_protocol::registry::REGISTRY_PORT;
use rpyc_registry::{
    AddressGrant, AddressRule, Limits, ProbeConfig, ProbeRule, ProtectionPolicy, TableConfig,
};
use serde::{Serialize, Serializer};

use super::value::{
    Failing, ListingFor, LogFormat, LogLevel, Mode, Operators, Share, SocketAt, Span, StoreKind,
};

/// All settings of the daemon, after they are resolved.
#[derive(Clone, Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ServeArgs {
    /// Serve only this transport
    #[arg(short, long, value_enum, ignore_case = true, value_name = "UDP|TCP|BOTH",
          hide_possible_values = true, default_value_t = Mode::Both)]
    pub(crate) mode: Mode,

    /// Fail if IPv6 is not available, instead of serving IPv4 alone
    #[arg(short = '6', long, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL",
          hide_possible_values = true, value_parser = BoolishValueParser::new(),
          default_value_t = false, hide_default_value = true)]
    pub(crate) ipv6: bool,

    /// The port, for UDP and TCP; 0 lets the system choose
    #[arg(short, long, default_value_t = REGISTRY_PORT, value_parser = parse_trimmed::<u16>)]
    pub(crate) port: u16,

    /// The TTL of servers that ask for none: a server expires if it does not renew for this long.
    /// Seconds, or like 90s, 4m
    #[arg(short, long, value_name = "DURATION", default_value_t = Span(TableConfig::default().ttl))]
    pub(crate) timeout: Span,

    /// Who may list the names: everyone (or true), this-machine, or nobody (or false)
    #[arg(short, long, num_args = 0..=1, default_missing_value = "everyone", value_name = "WHO",
          value_parser = parse_listing, default_value = "this-machine")]
    pub(crate) listing: ListingFor,

    /// Log errors only
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL",
          value_parser = FalseyValueParser::new(), hide_possible_values = true,
          default_value_t = false, hide_default_value = true)]
    pub(crate) quiet: bool,

    /// Append the log to this file [default: standard error]
    #[arg(long, value_name = "PATH", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) logfile: Option<PathBuf>,

    /// Listen on this address and for broadcasts of its network (repeatable) [default: all]
    #[arg(long, value_name = "ADDR", action = ArgAction::Append)]
    pub(crate) host: Vec<IpAddr>,

    /// The number of sockets that share the datagrams of each address, 8 at most [default: one for
    /// each core]
    #[arg(long, value_name = "N", value_parser = parse_at_least_one)]
    pub(crate) udp_sockets: Option<usize>,

    /// Where to keep registrations: in a file, which survives a restart, or in memory only
    #[arg(long, value_enum, value_name = "file|memory", hide_possible_values = true,
          default_value_t = StoreKind::File)]
    pub(crate) store: StoreKind,

    #[arg(
        long,
        value_name = "DIR",
        help = "The directory of the store's file [default: $STATE_DIRECTORY, else \
                $XDG_STATE_HOME/rpyc-registry, else ~/.local/state/rpyc-registry]"
    )]
    pub(crate) state_dir: Option<PathBuf>,

    /// The least severe messages to log [default: info]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,

    /// The format of the log
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) operators: OperatorArgs,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) leases: LeaseArgs,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) reach: ReachArgs,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) limits: LimitArgs,
}

#[derive(Clone, Debug, Args, Serialize)]
#[command(next_help_heading = "Operators")]
#[serde(rename_all = "kebab-case")]
pub(crate) struct OperatorArgs {
    /// Which clients may drain and deregister the servers of others: all that the next switches
    /// describe, or none
    #[arg(long, value_enum, value_name = "all|none", hide_possible_values = true,
          default_value_t = Operators::All)]
    pub(crate) operators: Operators,

    /// The unix socket over which operators of this machine reach the registry, or off
    /// [default: operator.sock in the state directory]
    #[arg(long, value_name = "PATH|off",
          value_parser = OsStringValueParser::new().try_map(SocketAt::parse))]
    pub(crate) operator_socket: Option<SocketAt>,

    /// Let the members of this group use the socket for operators [default: none, only the user
    /// that runs the registry]
    #[arg(long, value_name = "GROUP")]
    pub(crate) operator_group: Option<String>,

    /// Allow operator requests from this network, over TCP, or over UDP with a cookie (repeatable)
    /// [default: none]
    #[arg(long, value_name = "CIDR", action = ArgAction::Append, value_parser = parse_network)]
    #[serde(serialize_with = "shown")]
    pub(crate) operator_from: Vec<IpNet>,
}

#[derive(Clone, Debug, Args, Serialize)]
#[command(next_help_heading = "Leases")]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LeaseArgs {
    /// The shortest TTL that a server may ask for
    #[arg(long, value_name = "DURATION", default_value_t = Span(TableConfig::default().min_ttl))]
    pub(crate) min_ttl: Span,

    /// The longest TTL that a server may ask for
    #[arg(long, value_name = "DURATION", default_value_t = Span(TableConfig::default().max_ttl))]
    pub(crate) max_ttl: Span,

    /// Keep overdue instances for one more TTL if more than this share of all, or of one service,
    /// is overdue at once; 1 turns this off
    #[arg(long, value_name = "SHARE", default_value_t = Share(ProtectionPolicy::default().share))]
    pub(crate) protect_share: Share,

    /// Protect no instances while there are fewer than this
    #[arg(long, value_name = "N", default_value_t = ProtectionPolicy::default().sample)]
    pub(crate) protect_min: usize,

    /// Expire at most this many at a time
    #[arg(long, value_name = "N", value_parser = parse_at_least_one,
          default_value_t = ProtectionPolicy::default().evictions_per_sweep)]
    pub(crate) evictions_per_sweep: usize,

    /// How to return a server whose probes fail: after the other servers, or not at all
    #[arg(long, value_enum, value_name = "last|hidden", hide_possible_values = true,
          default_value_t = Failing::Last)]
    pub(crate) failing: Failing,
}

#[derive(Clone, Debug, Args, Serialize)]
#[command(next_help_heading = "Reaching instances")]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ReachArgs {
    /// Return addresses within a network as another address to clients outside it, like
    /// 172.17.0.0/16=10.0.0.5; the first rule that matches applies (repeatable) [default: none]
    #[arg(long, value_name = "NETWORK=ADDRESS", action = ArgAction::Append)]
    #[serde(serialize_with = "shown")]
    pub(crate) address_rule: Vec<AddressRule>,

    /// Let the registrants of a network announce addresses in another, which they cannot prove to
    /// be theirs, like 10.0.5.0/24=192.0.2.7 (repeatable) [default: none]
    #[arg(long, value_name = "REGISTRANTS=ADDRESSES", action = ArgAction::Append)]
    #[serde(serialize_with = "shown")]
    pub(crate) addresses_from: Vec<AddressGrant>,

    /// Probe registered servers: tcp (connect), tls (handshake) or rpyc (PING), with
    /// ,service=GLOB,interval=10s,timeout=2s,failures=3,successes=2 as needed (repeatable). Off by
    /// default: each probe opens a connection to the server [default: none]
    #[arg(long, value_name = "KIND[,KEY=VALUE]...", action = ArgAction::Append)]
    #[serde(serialize_with = "shown")]
    pub(crate) probe: Vec<ProbeRule>,

    /// Probe addresses in this network even if the server did not register from them (repeatable)
    /// [default: none]
    #[arg(long, value_name = "CIDR", action = ArgAction::Append, value_parser = parse_network)]
    #[serde(serialize_with = "shown")]
    pub(crate) probe_allow: Vec<IpNet>,

    /// The most probes in progress at a time
    #[arg(long, value_name = "N", value_parser = parse_at_least_one,
          default_value_t = ProbeConfig::default().at_once)]
    pub(crate) max_probes: usize,
}

#[derive(Clone, Debug, Args, Serialize)]
#[command(next_help_heading = "Limits")]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LimitArgs {
    /// The most instances (host and port) in all
    #[arg(long, value_name = "N", default_value_t = Limits::default().instances)]
    pub(crate) max_instances: usize,

    /// The most registrations (one name of one instance) in all
    #[arg(long, value_name = "N", default_value_t = Limits::default().registrations)]
    pub(crate) max_registrations: usize,

    /// The most names of one instance
    #[arg(long, value_name = "N", default_value_t = Limits::default().names_per_instance)]
    pub(crate) max_names: usize,

    /// The most bytes of one name, 255 at most
    #[arg(long, value_name = "N", value_parser = parse_name_length,
          default_value_t = Limits::default().name_bytes)]
    pub(crate) max_name_length: usize,

    /// The most instances that one other machine may register
    #[arg(long, value_name = "N", default_value_t = Limits::default().instances_per_source)]
    pub(crate) max_instances_per_source: usize,

    /// The most registrations of one other machine
    #[arg(long, value_name = "N", default_value_t = Limits::default().registrations_per_source)]
    pub(crate) max_registrations_per_source: usize,

    /// The most bytes of memory for the registrations of one other machine
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().bytes_per_source)]
    pub(crate) max_bytes_per_source: usize,

    /// The most bytes of memory for registrations in RPyC's protocol from all other machines
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().legacy_bytes)]
    pub(crate) max_legacy_bytes: usize,

    /// The most bytes a second of long answers in RPyC's protocol over UDP to one foreign network;
    /// 0 for no limit
    #[arg(long, value_name = "BYTES",
          default_value_t = Limits::default().answer_bytes_per_network)]
    pub(crate) max_answer_bytes_per_network: u64,

    /// The most bytes a second of such answers to all foreign networks; 0 for no limit
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().answer_bytes)]
    pub(crate) max_answer_bytes: u64,

    /// The most requests a second from one other machine; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = Limits::default().requests_per_second)]
    pub(crate) max_rate: u32,

    /// The most TCP connections at a time; one more closes one that has been idle long
    #[arg(long, value_name = "N", value_parser = parse_at_least_one,
          default_value_t = Limits::default().connections)]
    pub(crate) max_connections: usize,

    /// The most TCP connections of one other machine
    #[arg(long, value_name = "N", value_parser = parse_at_least_one,
          default_value_t = Limits::default().connections_per_source)]
    pub(crate) max_connections_per_source: usize,
}

/// Parses a network, or a single address as a network of one address.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let alone = |ip: IpAddr| IpNet::from(ip);
    let network = text.parse::<IpNet>().or_else(|_| text.parse().map(alone));
    network.map_err(|_neither| "write a network, like 10.0.0.0/8 or fd00::/8".to_owned())
}

/// Parses a number as RPyC's command line does, which ignores white space around it.
fn parse_trimmed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|error: T::Err| error.to_string())
}

/// Parses the listing switch. RPyC's own switch has only the empty value for "nobody".
fn parse_listing(text: &str) -> Result<ListingFor, String> {
    if text.is_empty() {
        return Ok(ListingFor::Nobody);
    }
    let unknown = "write everyone (or true), this-machine, or nobody (or false)";
    ListingFor::from_str(text, true).map_err(|_unknown| unknown.to_owned())
}

fn parse_at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "write a number of at least 1".to_owned())
}

fn parse_name_length(text: &str) -> Result<usize, String> {
    let most = Limits::default().name_bytes;
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("write a number from 1 to {most}"))
}

fn shown<T: ToString, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

/// The switch that names the configuration file. It is not a setting itself.
const CONFIG: &str = "config";

/// The switches on the command line, by key, with their values unparsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Switches {
    /// The configuration file with more settings.
    pub(crate) config: Option<PathBuf>,
    pub(crate) values: BTreeMap<String, Vec<OsString>>,
}

impl Switches {
    /// Merges two sets of switches: a switch in `self` wins over the same switch in `before`.
    pub(crate) fn or(self, before: Self) -> Self {
        let config = self.config.or(before.config);
        let mut values = before.values;
        values.extend(self.values);
        Self { config, values }
    }

    /// A command that accepts only the settings, in long form.
    pub(crate) fn parser() -> Command {
        ServeArgs::augment_args(Command::new("rpyc-registry").no_binary_name(true))
            .disable_help_flag(true)
            .disable_version_flag(true)
    }
}

impl Args for Switches {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(
                "Read settings from this TOML file: a key for each switch, like timeout = \"4m\"",
            );
        ServeArgs::augment_args(command.arg(config))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Switches {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut switches = Self::default();
        switches.update_from_arg_matches(matches)?;
        Ok(switches)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one(CONFIG).cloned().or_else(|| self.config.take());
        for setting in Self::parser().get_arguments() {
            let id = setting.get_id().as_str();
            let is_written = matches.value_source(id) == Some(ValueSource::CommandLine);
            if let (true, Some(key), Some(values)) =
                (is_written, setting.get_long(), matches.get_raw(id))
            {
                self.values.insert(key.to_owned(), values.map(ToOwned::to_owned).collect());
            }
        }
        Ok(())
    }
}
