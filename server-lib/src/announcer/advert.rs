//! The details of a server besides its names and its port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rpyc_client::native::{Details, Registration};
use rpyc_client::{Port, ServiceName};

/// The details of a server besides its names and its port, for registries that take them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Advert {
    pub(crate) details: Details,
    pub(crate) ttl: Option<Duration>,
    pub(crate) addresses: Vec<Advertised>,
    pub(crate) is_exclusive: bool,
}

impl Advert {
    /// Whether RPyC's own registry would take less than all.
    pub(super) fn has_details(&self) -> bool {
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
            replaces: None,
            exclusive: self.is_exclusive,
            details: self.details.clone(),
        }
    }
}

/// The setters that the builders of a server and of an announcer share. Both have an `advert`.
macro_rules! advert_setters {
    () => {
        /// Announces a tag, which clients may filter by.
        ///
        /// RPyC's own registry takes no tags, metadata, weight, zone, TTL or addresses.
        pub fn tag(mut self, tag: impl Into<String>) -> Self {
            self.advert.details.tags.insert(tag.into());
            self
        }

        /// Announces a key and a value, which clients may filter by and read.
        pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
            self.advert.details.meta.insert(key.into(), value.into());
            self
        }

        /// The server's share of the load, relative to the others. Default 1. A server of weight 0
        /// gets none while there are others; more than 100 counts as 100.
        pub fn weight(mut self, weight: u16) -> Self {
            self.advert.details.weight = Some(weight);
            self
        }

        /// The zone of the server; clients prefer servers of their own zone. Default: none.
        pub fn zone(mut self, zone: impl Into<String>) -> Self {
            self.advert.details.zone = Some(zone.into());
            self
        }

        /// How long the registry keeps the server without a renewal, within the registry's bounds.
        /// Default: the registry's own, 240 s unless it is configured otherwise.
        ///
        /// With a short TTL a dead server vanishes soon, and a busy network looks like a dead
        /// server.
        pub fn ttl(mut self, ttl: Duration) -> Self {
            self.advert.ttl = Some(ttl);
            self
        }

        /// Adds an address at which clients reach the server, the best first. Its port is the
        /// server's unless it has one. Default: the address that the registry sees.
        ///
        /// It must be an address of this machine, which the announcer proves to the registry, or
        /// one that the registry's configuration allows; otherwise the registry refuses it.
        pub fn address(mut self, address: impl Into<$crate::Advertised>) -> Self {
            self.advert.addresses.push(address.into());
            self
        }
    };
}
pub(crate) use advert_setters;

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
