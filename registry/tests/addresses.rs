//! The addresses of an instance that each asker gets, and their order.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{ErrorCode, Instance, Reply, StoreId};
use rpyc_protocol::registry::reply::{decode_endpoints, decode_names};
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_registry::{
    Access, AddressRule, Asker, Counters, Dispatcher, Host, Listing, MemoryStore, Origin, Outcome,
    Registry, TableConfig,
};
use serde_json::{Value, json};

use super::asker::{any_address, at as asker};

const DOCKER: &str = "172.17.0.0/16=10.0.0.5";
const DOCKER6: &str = "fd17::/64=fd00::5";

struct Table {
    now: Instant,
    dispatcher: Dispatcher,
}

impl Table {
    fn new(rules: &[&str], own: &[&str]) -> Self {
        let now = Instant::now();
        let rule = |text: &&str| text.parse::<AddressRule>().unwrap();
        let config =
            TableConfig { address_rules: rules.iter().map(rule).collect(), ..Default::default() };
        let (store, origin) = (Box::new(MemoryStore::new()), Origin::empty(StoreId::new(1)));
        let mut random = 0;
        let entropy = Box::new(move || {
            random += 1;
            random
        });
        let registry = Registry::new(now, config, store, origin, entropy);
        registry.directory().set_own_addresses(own.iter().map(|it| it.parse().unwrap()).collect());
        let addresses = any_address();
        let access = Access { listing: Listing::Everyone, addresses, ..Access::default() };
        let counters = Arc::new(Counters::new(now));
        Self { now, dispatcher: Dispatcher::new(now, registry, access, counters) }
    }

    fn handle(&self, asker: &Asker, message: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        match self.dispatcher.handle(self.now, asker, message, &mut buffer) {
            Outcome::Reply(bytes) | Outcome::Deferred(_, bytes) => bytes.to_vec(),
            other => unreachable!("{other:?}"),
        }
    }

    fn legacy(&self, asker: &Asker, request: &Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes).unwrap();
        self.handle(asker, &bytes)
    }

    fn native(&self, asker: &Asker, mut request: Value) -> Reply {
        request.as_object_mut().unwrap().insert("v".into(), json!(1));
        let reply = Reply::parse(&self.handle(asker, request.to_string().as_bytes())).unwrap();
        assert_eq!(reply.error, None);
        reply
    }

    /// A legacy registration of `A` on port 1.
    fn register(&self, from: &Asker) {
        let names = [ServiceName::new("a").unwrap()];
        let (names, port) = (Names::from(&names[..]), Port::tcp(1).unwrap());
        self.legacy(from, &Request::Register { names, port });
    }

    /// A native registration of `A` on port 1.
    fn register_at(&self, from: &Asker, addresses: &[&str]) {
        let register = json!({"op": "register", "names": ["a"], "port": 1, "addresses": addresses});
        self.native(from, register);
    }

    /// The addresses of the one instance of `A`, as every kind of request returns them.
    fn told(&self, asker: &Asker) -> Vec<String> {
        let resolved = all(&self.native(asker, json!({"op": "resolve", "name": "a"})));
        assert_eq!(all(&self.native(asker, json!({"op": "list"}))), resolved);
        let legacy = decode_endpoints(&self.legacy(asker, &Request::Query { name: "A" })).unwrap();
        let legacy = legacy.into_iter().map(|it| format!("{} {}", it.host, it.port));
        assert_eq!(
            legacy.collect::<Vec<_>>(),
            resolved.iter().take(1).cloned().collect::<Vec<_>>()
        );
        let mut lines = Vec::new();
        let mut buffer = Vec::new();
        let watch = br#"{"v":1,"op":"watch"}"#;
        match self.dispatcher.handle(self.now, asker, watch, &mut buffer) {
            Outcome::Watch(mut watch) => while watch.lines(self.now, &mut lines) {},
            other => unreachable!("{other:?}"),
        }
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let watched = lines.filter_map(|line| Reply::parse(line).unwrap().event?.instance);
        assert_eq!(watched.flat_map(|it| addresses(&it)).collect::<Vec<_>>(), resolved);
        resolved
    }
}

fn all(reply: &Reply) -> Vec<String> {
    let instances = reply.services.iter().flatten().flat_map(|service| &service.instances);
    instances.flat_map(addresses).collect()
}

/// `HOST PORT` of the best address, `HOST:PORT` of the others.
fn addresses(instance: &Instance) -> Vec<String> {
    let best = format!("{} {}", instance.host, instance.port);
    [best].into_iter().chain(instance.addresses.iter().cloned()).collect()
}

#[test]
fn an_address_within_a_rule_is_told_as_another_to_those_outside() {
    for (container, neighbour, outside, rule, told) in [
        ("172.17.0.2", "172.17.0.3", "10.0.0.9", DOCKER, "10.0.0.5"),
        ("fd17::2", "fd17::3", "fd00::9", DOCKER6, "fd00::5"),
    ] {
        let table = Table::new(&[rule], &[]);
        table.register(&asker(container));
        assert_eq!(table.told(&asker(outside)), [format!("{told} 1")]);
        assert_eq!(table.told(&asker(neighbour)), [format!("{container} 1")]);
        // The registry's machine counts as outside unless it has an address in the network.
        assert_eq!(table.told(&asker("127.0.0.1")), [format!("{told} 1")]);
    }
}

#[test]
fn the_registry_s_machine_is_inside_of_a_network_that_it_has_an_address_in() {
    let table = Table::new(&[DOCKER], &["10.0.0.5/24", "172.17.0.1/16"]);
    table.register(&asker("172.17.0.2"));
    assert_eq!(table.told(&asker("127.0.0.1")), ["172.17.0.2 1"]);
    assert_eq!(table.told(&asker("10.0.0.9")), ["10.0.0.5 1"]);
}

#[test]
fn rules_apply_to_named_addresses_and_equal_ones_are_told_once() {
    let table = Table::new(&["172.17.0.0/24=10.0.0.5", "172.17.0.0/16=10.0.0.6"], &[]);
    let here = asker("172.17.0.2");
    table.register_at(&here, &["172.17.0.2", "172.17.0.3", "172.17.1.4", "10.0.7.7:9"]);
    assert_eq!(table.told(&asker("192.0.2.1")), ["10.0.0.5 1", "10.0.0.6:1", "10.0.7.7:9"]);
    // An asker inside only the wider rule gets the address of the narrower rule, which comes first.
    let told = table.told(&asker("172.17.1.9"));
    assert_eq!(told, ["172.17.1.4 1", "10.0.0.5:1", "10.0.7.7:9"]);
}

#[test]
fn what_a_rule_tells_is_found_by_the_told_address_too() {
    let table = Table::new(&[DOCKER], &[]);
    table.register(&asker("172.17.0.2"));
    let outside = asker("10.0.0.9");
    for host in ["10.0.0.5", "172.17.0.2"] {
        let names = table.legacy(&outside, &Request::List { host: Some(host) });
        assert_eq!(decode_names(&names).unwrap().unwrap(), ["A"], "{host}");
        let found = all(&table.native(&outside, json!({"op": "list", "host": host})));
        assert_eq!(found, ["10.0.0.5 1"], "{host}");
    }
    assert!(all(&table.native(&outside, json!({"op": "list", "host": "10.0.0.6"}))).is_empty());
}

#[test]
fn loopback_told_as_the_address_that_was_reached_obeys_the_rules() {
    // The registry itself is in a container.
    let table = Table::new(&[DOCKER], &["172.17.0.9/16"]);
    table.register(&asker("127.0.0.1"));
    let reached = Some("172.17.0.9".parse().unwrap());
    assert_eq!(table.told(&Asker { reached, ..asker("10.0.0.9") }), ["10.0.0.5 1"]);
    assert_eq!(table.told(&Asker { reached, ..asker("172.17.0.2") }), ["172.17.0.9 1"]);
}

#[test]
fn the_asker_s_own_network_comes_first_and_otherwise_the_registrant_s_order_stays() {
    let table = Table::new(&[], &["10.1.0.1/16", "10.1.2.1/24", "192.0.2.1/24"]);
    let addresses = ["10.9.0.7", "192.0.2.7", "10.1.0.7", "10.1.2.7"];
    table.register_at(&asker("192.0.2.7"), &addresses);
    let order = |ip: &str| {
        let first = |text: &String| text.split([' ', ':']).next().unwrap().to_owned();
        table.told(&asker(ip)).iter().map(first).collect::<Vec<_>>()
    };
    assert_eq!(order("10.1.2.9"), ["10.1.2.7", "10.9.0.7", "192.0.2.7", "10.1.0.7"]);
    // The prefix is that of the registry's interface there.
    assert_eq!(order("10.1.77.9"), ["10.1.0.7", "10.1.2.7", "10.9.0.7", "192.0.2.7"]);
    // No network is known for this asker, so it is taken to be a /24.
    assert_eq!(order("10.9.0.9"), addresses);
    assert_eq!(order("10.9.1.9"), addresses);
    assert_eq!(order("127.0.0.1"), ["192.0.2.7", "10.1.0.7", "10.1.2.7", "10.9.0.7"]);
}

#[test]
fn askers_are_told_addresses_of_their_ip_version_first() {
    let table = Table::new(&[], &[]);
    let addresses = ["2001:db8:1::7", "198.51.100.7", "2001:db8:2::7", "203.0.113.7"];
    table.register_at(&asker("198.51.100.7"), &addresses);
    assert_eq!(
        table.told(&asker("192.0.2.9")),
        ["198.51.100.7 1", "203.0.113.7:1", "[2001:db8:1::7]:1", "[2001:db8:2::7]:1"]
    );
    assert_eq!(
        table.told(&asker("2001:db8:2::9")),
        ["2001:db8:2::7 1", "[2001:db8:1::7]:1", "198.51.100.7:1", "203.0.113.7:1"]
    );
}

#[test]
fn named_loopback_is_told_on_the_registry_s_machine_alone() {
    let table = Table::new(&[], &["10.0.0.1/24"]);
    table.register_at(&asker("127.0.0.1"), &["127.0.0.1:7", "::1"]);
    assert_eq!(table.told(&asker("127.0.0.1")), ["127.0.0.1 7", "[::1]:1"]);
    assert_eq!(table.told(&asker("10.0.0.9")), ["10.0.0.1 7"], "by which it was reached");

    let table = Table::new(&[], &["10.0.0.1/24"]);
    table.register_at(&asker("127.0.0.1"), &["127.0.0.1:7", "10.0.0.1:8"]);
    assert_eq!(table.told(&asker("10.0.0.9")), ["10.0.0.1 8"], "there is a better one");
    let by_own = Asker { is_here: true, ..asker("10.0.0.1") };
    assert_eq!(table.told(&by_own), ["127.0.0.1 7", "10.0.0.1:8"]);
}

#[test]
fn loopback_of_another_machine_is_refused_even_where_any_address_is_allowed() {
    let table = Table::new(&[], &["10.0.0.1/24"]);
    table.register(&asker("127.0.0.1"));
    let there = asker("10.0.0.7");
    for other in ["127.0.0.1", "::1", "169.254.3.4", "fe80::8"] {
        let register = json!({"v": 1, "op": "register", "names": ["a"], "port": 1,
            "addresses": ["10.0.0.7:8", other]});
        let reply = table.handle(&there, register.to_string().as_bytes());
        let error = Reply::parse(&reply).unwrap().error.unwrap();
        assert_eq!(error.code, ErrorCode::AddressNotAllowed, "{other}");
    }
    table.register_at(&there, &["10.0.0.7:8"]);
    // Both instances stay: the second is not a restart of the one on this machine.
    for (who, best) in [("127.0.0.1", "127.0.0.1 1"), ("10.0.0.9", "10.0.0.1 1")] {
        let found = all(&table.native(&asker(who), json!({"op": "resolve", "name": "a"})));
        assert_eq!(found, [best, "10.0.0.7 8"], "{who}");
    }
}

#[test]
fn another_machine_that_names_an_address_does_not_end_what_is_registered_from_it() {
    let table = Table::new(&[], &[]);
    let (server, stranger) = (asker("10.0.0.7"), asker("10.0.0.66"));
    table.register(&server);
    table.register_at(&stranger, &["10.0.0.7"]);
    let resolve = json!({"op": "resolve", "name": "a"});
    let instances = |reply: Reply| -> Vec<_> {
        let services = reply.services.into_iter().flatten();
        services.flat_map(|service| service.instances).map(|it| (it.host, it.legacy)).collect()
    };
    let told = instances(table.native(&stranger, resolve.clone()));
    assert_eq!(told, [("10.0.0.7".to_owned(), true), ("10.0.0.7".to_owned(), false)]);
    // A registration by the server itself replaces both.
    table.register_at(&server, &["10.0.0.7"]);
    assert_eq!(instances(table.native(&server, resolve)), [("10.0.0.7".to_owned(), false)]);
}

#[test]
fn link_local_addresses_are_told_on_their_link() {
    let table = Table::new(&[], &[]);
    let proof = table.native(&asker("169.254.3.4"), json!({"op": "ping"})).cookie.unwrap();
    let addresses = ["fe80::7", "2001:db8::7", "169.254.3.4"];
    let register = json!({"op": "register", "names": ["a"], "port": 1, "addresses": addresses,
        "proofs": [proof]});
    table.native(&asker("fe80::7"), register);
    let on_link = asker("fe80::9");
    assert_eq!(table.told(&on_link), ["fe80::7 1", "[2001:db8::7]:1"]);
    let elsewhere = Asker { host: Host::new("fe80::9".parse().unwrap(), 3), link: 3, ..on_link };
    assert_eq!(table.told(&elsewhere), ["2001:db8::7 1"]);
    let here = asker("::1");
    assert_eq!(table.told(&here), ["fe80::7%2 1", "[2001:db8::7]:1", "169.254.3.4:1"]);
    let unconfigured = Asker { link: 3, ..asker("169.254.9.9") };
    assert_eq!(table.told(&unconfigured), ["169.254.3.4 1", "[2001:db8::7]:1"]);
}
