//! Arguments of the verbs that register servers of this machine.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::Args;
use rpyc_client::{Port, ServiceName};
use rpyc_server::Advertised;

use super::value::{Span, parse_duration, parse_pair, parse_port};

#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The port of the server, or the path of its unix socket
    #[arg(short, long, value_parser = parse_port)]
    pub(crate) port: Port,

    /// The address of this machine to register from, which the registry returns to clients
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: Option<IpAddr>,

    /// How long to wait for each acknowledgement: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "2")]
    pub(crate) timeout: Duration,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The service names, in any case
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<ServiceName>,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// Register once and exit; the registration expires after its TTL
    #[arg(long, conflicts_with = "command")]
    pub(crate) once: bool,

    /// How often to renew; the registry may ask for less: seconds, or like 30s
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "60")]
    pub(crate) interval: Duration,

    #[command(flatten)]
    pub(crate) details: DetailsArgs,

    /// Run this program, keep it registered while it runs, and exit with its exit code
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// The details that this project's registry accepts in addition to names and a port.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Details that RPyC's own registry does not accept")]
pub(crate) struct DetailsArgs {
    /// The TTL to ask for: the registration expires if it is not renewed for this long
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<Span>,

    /// A tag, to filter by (repeatable)
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,

    /// A metadata entry, to filter by and to read (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) meta: Vec<(String, String)>,

    /// The share of the load relative to other instances; 0 gets none while there are others
    #[arg(long, value_name = "N")]
    pub(crate) weight: Option<u16>,

    /// The zone of the server; clients prefer their own zone
    #[arg(long)]
    pub(crate) zone: Option<String>,

    /// An address at which clients reach the server, the best first (repeatable) [default: the
    /// address that the registry sees]
    #[arg(long, value_name = "IP[:PORT]", value_parser = parse_advertised)]
    pub(crate) address: Vec<Advertised>,

    /// The protocol of the server [default: RPyC]
    #[arg(long)]
    pub(crate) protocol: Option<String>,

    /// Fail if another server holds one of the names
    #[arg(long)]
    pub(crate) exclusive: bool,
}

impl DetailsArgs {
    /// The switches that the command line contains.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let all = [
            ("--ttl", self.ttl.is_some()),
            ("--tag", !self.tag.is_empty()),
            ("--meta", !self.meta.is_empty()),
            ("--weight", self.weight.is_some()),
            ("--zone", self.zone.is_some()),
            ("--address", !self.address.is_empty()),
            ("--protocol", self.protocol.is_some()),
            ("--exclusive", self.exclusive),
        ];
        all.into_iter().filter(|(_, is_given)| *is_given).map(|(switch, _)| switch).collect()
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UnregisterArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

fn parse_advertised(text: &str) -> Result<Advertised, String> {
    let ip = |_| text.parse::<IpAddr>().map(Into::into);
    let address = text.parse::<SocketAddr>().map(Into::into).or_else(ip);
    address.map_err(|_neither| {
        "write an address, like 10.0.0.7, 10.0.0.7:8080 or [fd00::7]:8080".to_owned()
    })
}
