//! Verbs that tell a registry what is served on this machine.

use std::ffi::OsString;
use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use rpyc_client::{Port, ServiceName};

use super::value::{parse_duration, parse_port};

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
