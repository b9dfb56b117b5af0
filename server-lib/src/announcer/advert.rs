//! What is told of a server besides its names and its port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rpyc_client::native::{Details, Registration};
use rpyc_client::{Port, ServiceName};

/// What is told of a server besides its names and its port, to registries that can be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Advert {
    pub(crate) details: Details,
    pub(crate) ttl: Option<Duration>,
    pub(crate) addresses: Vec<Advertised>,
    pub(crate) is_exclusive: bool,
}

impl Advert {
    /// Whether RPyC's own registry would be told less than all.
    pub(super) fn says_something(&self) -> bool {
        self.details != Details::default()
            || self.ttl.is_some()
            || !self.addresses.is_empty()
            || self.is_exclusive
    }

    pub(super) fn registration(
        &self,
        names: &[ServiceName],
        port: &Port,
        key: &str,
    ) -> Registration {
        Registration {
            names: names.iter().map(ToString::to_string).collect(),
            port: port.clone(),
            addresses: self.addresses.iter().map(|address| address.0.clone()).collect(),
            ttl_ms: self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            key: Some(key.to_owned()),
            exclusive: self.is_exclusive,
            details: self.details.clone(),
        }
    }
}

/// An address under which a server is announced: with a port, or with the port that it listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised(String);

impl From<SocketAddr> for Advertised {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl From<IpAddr> for Advertised {
    fn from(ip: IpAddr) -> Self {
        Self(ip.to_string())
    }
}

impl From<Ipv4Addr> for Advertised {
    fn from(ip: Ipv4Addr) -> Self {
        IpAddr::from(ip).into()
    }
}

impl From<Ipv6Addr> for Advertised {
    fn from(ip: Ipv6Addr) -> Self {
        IpAddr::from(ip).into()
    }
}
