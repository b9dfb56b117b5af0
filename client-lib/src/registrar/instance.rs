//! Services and their servers, as registries return them.

use std::net::SocketAddr;
use std::time::Duration;

use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{self, Details, State};
use rpyc_protocol::registry::reply::Endpoint;
use rpyc_protocol::rpc::Dialect;

use super::complete_zones;

/// One name and its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// The name, as the registry returns it.
    pub name: String,
    /// Its servers; at least one.
    pub instances: Vec<Instance>,
}

/// One server of a name. RPyC's own registry returns nothing but the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// The registry's number for it, the same under each of its names and never used again.
    pub id: Option<u64>,
    /// Where it can be reached, by the address that the registry thinks best for this machine.
    pub endpoint: Endpoint,
    /// Its other addresses, the better first.
    pub others: Vec<Endpoint>,
    /// Whether it can be relied on; passing where the registry does not know.
    pub state: State,
    /// Why it is not passing, for people.
    pub why: Option<String>,
    /// How long ago it registered the name.
    pub age: Option<Duration>,
    /// How long ago it renewed last.
    pub renewed: Option<Duration>,
    /// How long the registry keeps it unless it renews.
    pub left: Option<Duration>,
    /// How long its lease lasts without renewal.
    pub ttl: Option<Duration>,
    /// Whether it registered by RPyC's own protocol, so that any program on its host can end it.
    pub is_legacy: bool,
    /// The dialect of RPyC that a client or a probe last found it to speak, where the registry
    /// knows.
    pub dialect: Option<Dialect>,
    /// Details from its registration: tags, metadata, weight, zone.
    pub details: Details,
}

impl Instance {
    /// A server of which nothing is known but where it is.
    #[must_use]
    pub fn at(endpoint: Endpoint) -> Self {
        Self {
            id: None,
            endpoint,
            others: Vec::new(),
            state: State::Passing,
            why: None,
            age: None,
            renewed: None,
            left: None,
            ttl: None,
            is_legacy: true,
            dialect: None,
            details: Details::default(),
        }
    }

    /// All its addresses, the best first.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.endpoint).chain(&self.others)
    }

    /// An instance that a registry returned to this machine's address `local`. Others of its
    /// addresses that cannot be read are left out.
    pub(crate) fn received(instance: native::Instance, local: SocketAddr) -> Self {
        let mut endpoint = Endpoint { host: instance.host, port: instance.port };
        let mut others: Vec<_> =
            instance.addresses.iter().filter_map(|it| read_endpoint(it)).collect();
        let all = std::iter::once(&mut endpoint).chain(&mut others);
        complete_zones(all.map(|endpoint| &mut endpoint.host), local);
        Self {
            id: (instance.id != 0).then_some(instance.id),
            endpoint,
            others,
            state: instance.state,
            why: instance.why,
            age: Some(Duration::from_millis(instance.age_ms)),
            renewed: instance.renewed_ms.map(Duration::from_millis),
            left: Some(Duration::from_millis(instance.left_ms)),
            ttl: instance.ttl_ms.map(Duration::from_millis),
            is_legacy: instance.legacy,
            dialect: instance.dialect.and_then(|dialect| dialect.parse().ok()),
            details: instance.details,
        }
    }
}

/// Reads `IP:PORT` or `[IP%ZONE]:PORT`.
fn read_endpoint(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    let port = Port::tcp(port.parse().ok()?).ok()?;
    (!host.is_empty()).then(|| Endpoint { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_addresses_are_read_and_what_is_none_is_left_out() {
        let told = native::Instance {
            addresses: [
                "10.0.0.1:5",
                "[2001:db8::1]:6",
                "nonsense",
                "10.0.0.1:0",
                ":7",
                "[fe80::1%9]:8",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..native::Instance::at("10.0.0.9", Port::tcp(4).unwrap())
        };
        let instance = Instance::received(told, "10.0.0.3:1".parse().unwrap());
        let all: Vec<_> = instance.endpoints().map(ToString::to_string).collect();
        assert_eq!(all, ["10.0.0.9:4", "10.0.0.1:5", "[2001:db8::1]:6", "[fe80::1%9]:8"]);
        assert_eq!(instance.id, None, "0 means that the registry does not know it");
    }
}
