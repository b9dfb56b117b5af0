//! Arguments of the verbs for operators.

use std::str::FromStr;

use clap::{ArgGroup, Args};
use rpyc_client::native::Target as Meant;
use rpyc_client::{Endpoint, Port, ServiceName};

use super::AskArgs;

/// Selects the instances that a verb applies to.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("target").required(true).args(["name", "instance"]))]
pub(crate) struct TargetArgs {
    /// The instances of this name, in any case
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<ServiceName>,

    /// Only the instance at this address, or all on this host
    #[arg(value_name = "HOST[:PORT]", requires = "name")]
    pub(crate) address: Option<Address>,

    /// The instance with this number, which list --wide shows
    #[arg(long, value_name = "N", conflicts_with = "name")]
    pub(crate) instance: Option<u64>,
}

impl TargetArgs {
    /// The same selection as the target of a native request.
    pub(crate) fn target(&self) -> Meant {
        let address = self.address.clone();
        let (host, port) = address.map_or((None, None), |it| (Some(it.host), it.port));
        let name = self.name.as_ref().map(ToString::to_string);
        Meant { instance: self.instance, name, host, port, lease: None }
    }

    /// Whether the selection includes a server of the name at this endpoint.
    pub(crate) fn includes(&self, endpoint: &Endpoint) -> bool {
        self.address.as_ref().is_none_or(|address| {
            address.host == endpoint.host
                && address.port.as_ref().is_none_or(|port| *port == endpoint.port)
        })
    }
}

impl std::fmt::Display for TargetArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.name, &self.address, self.instance) {
            (Some(name), Some(address), _) => write!(f, "{name} at {address}"),
            (Some(name), None, _) => name.fmt(f),
            (None, _, Some(id)) => write!(f, "instance {id}"),
            (None, _, None) => Ok(()),
        }
    }
}

/// A host with an optional port: `10.0.0.7`, `10.0.0.7:18861`, `[fd00::7]:18861`,
/// `10.0.0.7:/run/x.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: Option<Port>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
            None => match text.split_once(':') {
                // An address with several colons and no brackets is an IPv6 address without a port.
                Some((_, rest)) if !rest.starts_with('/') && rest.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.parse::<std::net::IpAddr>().is_err() && !host.contains('%') {
            return Err("write an address as list --wide shows it, like 10.0.0.7:18861".to_owned());
        }
        let port = port.map(super::value::parse_port).transpose()?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.port {
            None => self.host.fmt(f),
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct OperateArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// Only this name, in any case [default: all]
    pub(crate) name: Option<ServiceName>,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_shown() {
        for text in [
            "10.0.0.7",
            "10.0.0.7:18861",
            "fd00::7",
            "[fd00::7]:18861",
            "fe80::1%eth0",
            "10.0.0.7:/run/a:b.sock",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]".parse::<Address>().unwrap().host, "::1");
        for text in ["", "host", "host:1", "10.0.0.7:", "10.0.0.7:0", "10.0.0.7:99999", "[::1]x"] {
            text.parse::<Address>().unwrap_err();
        }
    }
}
