//! The addresses that a probe may connect to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use super::ProbeConfig;
use crate::host::Host;
use crate::table::{Arrival, Asker, Directory, Instance, Transport};

/// The addresses of an instance that may be probed, the best first.
///
/// A registrant may put any address into its registration, so a registry that connected to all of
/// them would scan ports for any sender. These are allowed: the address that the registration came
/// from; all addresses of the registry's own machine, if it came from there; and the networks that
/// the operator allows. The path of a unix socket never is.
pub(crate) fn allowed(
    directory: &Directory,
    instance: &Instance,
    config: &ProbeConfig,
) -> Vec<SocketAddr> {
    let here = Asker {
        port: 0,
        host: Host::new(Ipv4Addr::LOCALHOST.into(), 0),
        is_here: true,
        reached: None,
        link: 0,
        transport: Transport::Tcp,
        arrival: Arrival::UNKNOWN,
    };
    let advertised = directory.addressing.addresses_of(&here, instance).into_iter();
    let is_allowed = |host: Host| {
        host == instance.registrant()
            || directory.addressing.is_own_of(instance, host.ip())
            || config.allows(host.ip())
    };
    advertised
        .filter_map(|advertised| {
            let port = advertised.port.to_tcp()?;
            is_allowed(Host::new(advertised.ip, advertised.zone)).then(|| match advertised.ip {
                IpAddr::V4(_) => SocketAddr::new(advertised.ip, port),
                IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, advertised.zone).into(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use rpyc_protocol::ServiceName;
    use rpyc_protocol::registry::native::{Details, StoreId};
    use rpyc_protocol::registry::{Names, Port};

    use super::*;
    use crate::store::{MemoryStore, Origin};
    use crate::table::{AddressRule, Endpoint, NewInstance, Registry, Standing, TableConfig};

    struct Table {
        registry: Registry,
        config: ProbeConfig,
    }

    impl Table {
        fn new(allow: &[&str]) -> Self {
            let rules = ["172.17.0.0/16=10.0.0.5"].map(|rule| rule.parse::<AddressRule>().unwrap());
            let table = TableConfig { address_rules: rules.into(), ..TableConfig::default() };
            let (store, origin) = (Box::new(MemoryStore::new()), Origin::empty(StoreId::new(1)));
            let registry = Registry::new(Instant::now(), table, store, origin, Box::new(|| 4));
            let own = ["127.0.0.1/8", "10.0.0.1/24", "fe80::1/64"].map(|it| it.parse().unwrap());
            registry.directory().set_own_addresses(own.into());
            let allow = allow.iter().map(|network| network.parse().unwrap()).collect();
            Self { registry, config: ProbeConfig { allow, ..ProbeConfig::default() } }
        }

        /// The addresses that may be probed of an instance registered from `from` at `addresses`.
        fn allowed(mut self, from: &str, addresses: &[&str]) -> Vec<String> {
            let asker = Asker {
                port: 1,
                host: Host::new(from.parse().unwrap(), 2),
                is_here: false,
                reached: None,
                link: 2,
                transport: Transport::Tcp,
                arrival: Arrival::UNKNOWN,
            };
            let name = ServiceName::new("a").unwrap();
            let port = Port::tcp(1).unwrap();
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|address| address.parse().unwrap()).collect();
            let (now, endpoint) =
                (Instant::now(), Endpoint { host: asker.host, port: port.clone() });
            if addresses.is_empty() {
                let names = [name];
                self.registry.register(now, &asker, Names::from(&names[..]), &port).unwrap();
            } else {
                let (names, details) = (vec![name], Details::default());
                let (ttl, key, is_exclusive) = Default::default();
                let standing = Standing { is_holder: true, sent_after: now, replaces: None };

                let new = NewInstance {
                    names,
                    endpoint,
                    addresses,
                    ttl,
                    key,
                    is_exclusive,
                    details,
                    standing,
                };
                self.registry.register_native(now, &asker, new).unwrap();
            }
            let directory = self.registry.directory();
            let mut instances: Vec<Arc<Instance>> = Vec::new();
            directory.visit(|leases| {
                instances.extend(leases.iter().map(|lease| Arc::clone(&lease.instance)));
            });
            let instance = instances.first().unwrap();
            allowed(&directory, instance, &self.config).iter().map(SocketAddr::to_string).collect()
        }
    }

    #[test]
    fn only_what_belongs_to_the_registrant_is_probed() {
        let check = |from: &str, addresses: &[&str], expected: &[&str]| {
            assert_eq!(Table::new(&[]).allowed(from, addresses), expected, "{from} {addresses:?}");
        };
        check("10.0.0.7", &[], &["10.0.0.7:1"]);
        check("10.0.0.7", &["10.0.0.7:22", "10.0.0.8:22", "10.0.0.1:22"], &["10.0.0.7:22"]);
        // Loopback of another machine would mean the registry's own.
        check("10.0.0.7", &["127.0.0.1:22", "[::1]:22"], &[]);
        // The address that a rule maps to the registrant's belongs to it; one mapped to another
        // does not.
        check("10.0.0.5", &["172.17.0.2:22"], &["10.0.0.5:22"]);
        check("10.0.0.7", &["172.17.0.2:22"], &[]);
        // All addresses of the registry's own machine belong to a registrant on that machine.
        let own = ["127.0.0.1:1", "10.0.0.1:1"];
        check("127.0.0.1", &["127.0.0.1:1", "10.0.0.1:1", "10.0.0.7:1"], &own);
        check("10.0.0.1", &["10.0.0.1:1", "127.0.0.1:1"], &["10.0.0.1:1", "127.0.0.1:1"]);
        // The same link-local address on another link belongs to another machine.
        check("fe80::7", &["[fe80::7%2]:1", "[fe80::7%3]:1"], &["[fe80::7%2]:1"]);
    }

    #[test]
    fn operators_allow_further_networks() {
        let table = Table::new(&["10.0.0.0/28"]);
        let addresses = ["10.0.0.8:22", "10.0.0.16:22", "127.0.0.1:22"];
        assert_eq!(table.allowed("192.0.2.7", &addresses), ["10.0.0.8:22"]);
        let table = Table::new(&["127.0.0.0/8"]);
        assert!(table.allowed("192.0.2.7", &["127.0.0.1:22"]).is_empty(), "never");
    }
}
