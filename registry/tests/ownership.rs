//! Who owns what: which requests may replace, end or suppress a registration, or share its name.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{ErrorCode, Granted, Instance, Reply, State, StoreId};
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_registry::{
    Access, Asker, Counters, Dispatcher, MemoryStore, Origin, Outcome, Registry, TableConfig,
    Transport,
};
use serde_json::{Value, json};

use super::asker::{at as tcp, by_udp as udp, operator, with_cookie};

struct Table {
    now: Instant,
    dispatcher: Dispatcher,
}

impl Table {
    fn new() -> Self {
        Self::with(TableConfig::default(), Access::default())
    }

    fn with(config: TableConfig, access: Access) -> Self {
        let now = Instant::now();
        let (store, origin) = (Box::new(MemoryStore::new()), Origin::empty(StoreId::new(1)));
        let mut random = 0;
        let entropy = Box::new(move || {
            random += 1;
            random
        });
        let registry = Registry::new(now, config, store, origin, entropy);
        let own = ["10.0.0.1/24", "10.1.0.1/24"].map(|own| own.parse().unwrap());
        registry.directory().set_own_addresses(own.into());
        let counters = Arc::new(Counters::new(now));
        Self { now, dispatcher: Dispatcher::new(now, registry, access, counters) }
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.now = self.dispatcher.expire(self.now).clamp(self.now, end);
        }
    }

    /// Sends a message once; `None` if it gets no reply.
    fn send(&self, asker: &Asker, message: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = Vec::new();
        match self.dispatcher.handle(self.now, asker, message, &mut buffer) {
            Outcome::Reply(bytes) | Outcome::Deferred(_, bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }

    /// Sends a native request once, as a client does that knows no cookie.
    fn once(&self, asker: &Asker, request: &Value) -> Reply {
        Reply::parse(&self.send(asker, &bytes(request)).unwrap()).unwrap()
    }

    /// Sends a native request, and repeats it with the cookie that the reply asks for. Returns the
    /// last datagram with its reply.
    fn exchange(&self, asker: &Asker, request: &Value) -> (Vec<u8>, Reply) {
        let mut message = bytes(request);
        let mut reply = self.send(asker, &message).unwrap();
        if let Some(again) = with_cookie(&message, &reply) {
            message = again;
            reply = self.send(asker, &message).unwrap();
        }
        (message, Reply::parse(&reply).unwrap())
    }

    fn ask(&self, asker: &Asker, request: &Value) -> Reply {
        self.exchange(asker, request).1
    }

    fn code(&self, asker: &Asker, request: &Value) -> Option<ErrorCode> {
        self.ask(asker, request).error.map(|error| error.code)
    }

    fn register(&self, asker: &Asker, request: &Value) -> Granted {
        let reply = self.ask(asker, request);
        reply.lease.unwrap_or_else(|| unreachable!("{request}: {:?}", reply.error))
    }

    /// RPyC's REGISTER of `name` on a port; returns whether it is acknowledged.
    fn legacy(&self, asker: &Asker, name: &str, port: u16) -> bool {
        let names = [ServiceName::new(name).unwrap()];
        let (names, port) = (Names::from(&names[..]), Port::tcp(port).unwrap());
        self.send(asker, &encoded(&Request::Register { names, port })).is_some()
    }

    /// The instances of a name, as an operator sees them.
    fn all(&self, name: &str) -> Vec<Instance> {
        let reply = self.ask(&tcp("127.0.0.1"), &json!({"op": "list", "glob": name}));
        reply.services.into_iter().flatten().flat_map(|service| service.instances).collect()
    }

    fn ids(&self, name: &str) -> Vec<u64> {
        self.all(name).into_iter().map(|instance| instance.id).collect()
    }
}

fn bytes(request: &Value) -> Vec<u8> {
    let mut request = request.clone();
    if let Some(request) = request.as_object_mut() {
        request.insert("v".to_owned(), json!(1));
    }
    request.to_string().into_bytes()
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes).unwrap();
    bytes
}

fn register(key: &str) -> Value {
    json!({"op": "register", "names": ["a"], "port": 1, "key": key})
}

fn at_port(asker: &Asker, port: u16) -> Asker {
    Asker { port, ..*asker }
}

#[test]
fn a_change_over_udp_needs_a_cookie_of_its_host_and_port() {
    let table = Table::new();
    let lease = table.register(&tcp("10.0.0.7"), &register("k")).lease;
    let server = udp("10.0.0.7");
    for change in [
        json!({"op": "register", "names": ["b"], "port": 2}),
        json!({"op": "update", "lease": lease, "weight": 2}),
        json!({"op": "speaks", "lease": lease, "dialect": "5"}),
        json!({"op": "drain", "lease": lease}),
        json!({"op": "undrain", "lease": lease}),
        json!({"op": "deregister", "lease": lease}),
        json!({"op": "drain", "instance": 1}),
        json!({"op": "release"}),
    ] {
        let before = table.once(&tcp("127.0.0.1"), &json!({"op": "list"})).revision;
        let reply = table.once(&server, &change);
        let is_told = reply.error.map(|error| error.code) == Some(ErrorCode::CookieRequired);
        // The shortest request leaves no room for the error.
        assert!(is_told || (reply.truncated && change.to_string().len() < 20), "{change}");
        let cookie = reply.cookie.unwrap();
        let mut again = change.clone();
        again["cookie"] = json!(cookie);
        for other in [at_port(&server, 2), udp("10.0.0.8"), udp("10.0.0.1")] {
            let code = table.once(&other, &again).error.unwrap().code;
            assert_eq!(code, ErrorCode::CookieRequired, "{change}");
        }
        let after = table.once(&tcp("127.0.0.1"), &json!({"op": "list"})).revision;
        assert_eq!(after, before, "{change}: nothing has changed");
        let reply = table.once(&server, &again);
        let is_refused = reply.error.map(|error| error.code);
        assert_ne!(is_refused, Some(ErrorCode::CookieRequired), "{change}");
    }
    let lease = table.register(&server, &register("k2")).lease;
    let renewed = table.once(&server, &json!({"op": "renew", "lease": lease}));
    assert!(renewed.lease.is_some(), "a lease id is proof enough");
    assert!(table.legacy(&server, "c", 3), "RPyC's programs know no cookies");
}

#[test]
fn a_ping_returns_a_cookie_and_no_reply_is_longer_than_three_times_its_request() {
    let table = Table::new();
    let client = udp("10.0.0.7");
    for padding in 0..100 {
        for request in [r#"{"v":1,"op":"ping"}"#, r#"{"v":1,"op":"release"}"#] {
            let request = format!("{request}{}", " ".repeat(padding));
            let reply = table.send(&client, request.as_bytes()).unwrap();
            assert!(reply.len() <= 3 * request.len());
            let has_cookie = Reply::parse(&reply).unwrap().cookie.is_some();
            assert!(has_cookie || (padding < 20 && request.contains("ping")), "{request}");
        }
    }
}

#[test]
fn one_datagram_with_another_key_does_not_replace_a_lease() {
    let table = Table::new();
    let server = udp("10.0.0.7");
    let first = table.register(&server, &register("k1"));
    table.once(&server, &register("k2"));
    assert_eq!(table.ids("A"), [first.instance]);
    assert!(table.once(&server, &json!({"op": "renew", "lease": first.lease})).lease.is_some());
}

#[test]
fn a_server_that_restarts_on_its_proven_host_replaces_its_old_instance_at_once() {
    let mut table = Table::new();
    let first = table.register(&udp("10.0.0.7"), &register("k1"));
    table.pass(1);
    // The new process has another port and knows no lease id.
    let second = table.register(&at_port(&udp("10.0.0.7"), 99), &register("k2"));
    assert_eq!(table.ids("A"), [second.instance]);
    assert_ne!(second.lease, first.lease);
    let third = table.register(&tcp("10.0.0.7"), &register("k3"));
    assert_eq!(table.ids("A"), [third.instance]);
    let stranger = json!({"op": "register", "names": ["a"], "port": 1,
        "addresses": ["10.0.0.7"], "replaces": first.lease});
    assert_eq!(table.code(&tcp("10.0.0.8"), &stranger), Some(ErrorCode::AddressNotAllowed));
}

#[test]
fn a_lease_id_replaces_its_lease_and_no_other() {
    let grants = vec!["10.0.0.0/24=10.9.0.0/16".parse().unwrap()];
    let table =
        Table::with(TableConfig::default(), Access { addresses: grants, ..Access::default() });
    let outside = |key: &str, replaces: Option<&Granted>| {
        json!({"op": "register", "names": ["a"], "port": 1, "key": key,
            "addresses": ["10.9.0.1"], "replaces": replaces.map(|it| it.lease)})
    };
    let (one, two) = (tcp("10.0.0.7"), tcp("10.0.0.8"));
    let first = table.register(&one, &outside("k1", None));
    let other = table.register(&two, &json!({"op": "register", "names": ["b"], "port": 5}));
    let taken = Some(ErrorCode::AddressTaken);
    assert_eq!(table.code(&two, &outside("k2", None)), taken);
    assert_eq!(table.code(&two, &outside("k2", Some(&other))), taken);
    let second = table.register(&two, &outside("k2", Some(&first)));
    assert_eq!(table.ids("A"), [second.instance]);
}

#[test]
fn a_late_copy_of_a_registration_neither_replaces_the_next_nor_returns_after_the_end() {
    let mut table = Table::new();
    let server = udp("10.0.0.7");
    let (old, reply) = table.exchange(&server, &register("k1"));
    assert!(reply.lease.is_some());
    table.pass(1);
    let new = table.register(&at_port(&server, 2), &register("k2"));
    table.pass(1);
    let late = Reply::parse(&table.send(&server, &old).unwrap()).unwrap();
    assert_eq!(late.error.unwrap().code, ErrorCode::CookieRequired);
    assert_eq!(table.ids("A"), [new.instance]);

    table.ask(&at_port(&server, 2), &json!({"op": "deregister", "lease": new.lease}));
    let late = Reply::parse(&table.send(&server, &old).unwrap()).unwrap();
    assert_eq!(late.error.unwrap().code, ErrorCode::CookieRequired);
    assert!(table.ids("A").is_empty());
    // The sender itself, if it still runs, repeats it with a newer cookie.
    table.register(&server, &register("k1"));
    assert_eq!(table.ids("A").len(), 1);
}

#[test]
fn a_repeated_registration_is_the_same_whichever_copy_comes_last() {
    let mut table = Table::new();
    let server = udp("10.0.0.7");
    let (message, reply) = table.exchange(&server, &register("k1"));
    table.pass(1);
    let again = Reply::parse(&table.send(&server, &message).unwrap()).unwrap();
    assert_eq!(again.lease.unwrap().lease, reply.lease.unwrap().lease);
    assert_eq!(table.ids("A").len(), 1);
}

#[test]
fn a_registrant_announces_its_own_addresses_and_those_that_it_has_proven() {
    let table = Table::new();
    let announce = |addresses: &[&str], proofs: &[&str]| {
        json!({"op": "register", "names": ["a"], "port": 1, "addresses": addresses,
            "proofs": proofs})
    };
    let refused = Some(ErrorCode::AddressNotAllowed);
    let server = tcp("10.0.0.7");
    assert_eq!(table.code(&server, &announce(&["10.0.0.7", "10.0.0.7:9"], &[])), None);
    for other in
        ["10.9.200.200:22", "10.0.0.8", "10.0.0.1", "127.0.0.1", "::1", "169.254.1.1", "fe80::1"]
    {
        assert_eq!(table.code(&server, &announce(&["10.0.0.7", other], &[])), refused, "{other}");
        assert_eq!(table.code(&server, &announce(&[other], &[])), refused, "{other}");
    }
    let reply = table.ask(&server, &announce(&["10.9.200.200:22"], &[]));
    let message = reply.error.unwrap().message;
    assert!(message.contains("--addresses-from 10.0.0.7=10.9.200.200"), "{message}");

    let ping = |asker: &Asker| table.ask(asker, &json!({"op": "ping"})).cookie.unwrap();
    let proof = ping(&at_port(&tcp("10.5.0.7"), 777));
    assert_eq!(table.code(&server, &announce(&["10.0.0.7", "10.5.0.7"], &[&proof])), None);
    assert_eq!(table.code(&server, &announce(&["10.5.0.7:9"], &[&proof])), None);
    assert_eq!(table.code(&server, &announce(&["10.5.0.8"], &[&proof])), refused);
    let datagram = format!("{:99}", r#"{"v":1,"op":"ping"}"#);
    let pong = table.send(&udp("fd00::7"), datagram.as_bytes()).unwrap();
    let over_udp = Reply::parse(&pong).unwrap().cookie.unwrap();
    let both = announce(&["10.5.0.7", "fd00::7", "10.0.0.7"], &[&proof, &over_udp]);
    assert_eq!(table.code(&server, &both), None);
    let own = ping(&server);
    assert_eq!(table.code(&server, &announce(&["127.0.0.1"], &[&own, "", "x"])), refused);
}

#[test]
fn this_machine_announces_its_own_addresses_and_rules_allow_others() {
    let rules = vec!["172.17.0.0/16=10.0.0.1".parse().unwrap()];
    let config = TableConfig { address_rules: rules, ..TableConfig::default() };
    let grants = vec!["10.0.5.0/24=192.0.2.7".parse().unwrap()];
    let table = Table::with(config, Access { addresses: grants, ..Access::default() });
    let mut port = 0;
    let mut code = |from: &Asker, address: &str| {
        port += 1;
        let request = json!({"op": "register", "names": ["a"], "port": port,
            "addresses": [address]});
        table.code(from, &request)
    };
    let refused = Some(ErrorCode::AddressNotAllowed);
    let here = tcp("127.0.0.1");
    for own in ["127.0.0.1", "::1", "127.0.0.9", "10.0.0.1", "10.1.0.1"] {
        assert_eq!(code(&here, own), None, "{own}");
    }
    assert_eq!(code(&here, "10.9.200.200"), refused);
    assert_eq!(code(&here, "172.17.0.2"), None, "a container behind this machine");
    assert_eq!(code(&tcp("172.17.0.2"), "10.0.0.1"), None, "a container at its host's address");
    assert_eq!(code(&tcp("172.18.0.2"), "10.0.0.1"), refused);
    assert_eq!(code(&tcp("10.0.5.9"), "192.0.2.7"), None);
    assert_eq!(code(&tcp("10.0.5.9"), "192.0.2.8"), refused);
    assert_eq!(code(&tcp("10.0.6.9"), "192.0.2.7"), refused);
}

#[test]
fn a_native_registration_of_another_host_suppresses_no_legacy_server() {
    let grants = vec!["10.0.0.66=10.0.0.7".parse().unwrap()];
    let table =
        Table::with(TableConfig::default(), Access { addresses: grants, ..Access::default() });
    let stranger = tcp("10.0.0.66");
    let claim = json!({"op": "register", "names": ["a"], "port": 1, "addresses": ["10.0.0.7:1"]});
    let lease = table.register(&stranger, &claim).lease;
    table.ask(&stranger, &json!({"op": "drain", "lease": lease}));
    let victim = udp("10.0.0.7");
    for _renewal in 0..2 {
        assert!(table.legacy(&victim, "a", 1));
        let found = table.once(&tcp("10.0.0.9"), &json!({"op": "resolve", "name": "a"}));
        let found = found.services.unwrap_or_default();
        let found: Vec<_> = found.iter().flat_map(|it| &it.instances).collect();
        assert!(found.len() == 1 && found.iter().all(|it| it.legacy), "{found:?}");
    }
    assert_eq!(table.all("A").len(), 2);
}

#[test]
fn an_exclusive_name_refuses_every_other_registration_while_its_lease_lives() {
    let mut table = Table::new();
    let exclusive = json!({"op": "register", "names": ["a", "b"], "port": 1, "exclusive": true,
        "ttl_ms": 30_000, "key": "k"});
    let owner = tcp("10.0.0.7");
    let first = table.register(&owner, &exclusive);
    let others: [(&str, u16); 3] = [("10.0.0.8", 1), ("10.0.0.7", 2), ("127.0.0.1", 1)];
    for (host, port) in others {
        for transport in [Transport::Tcp, Transport::Udp4] {
            let asker = Asker { transport, ..tcp(host) };
            assert!(!table.legacy(&asker, "b", port), "{host}:{port} joins in RPyC's protocol");
            let native = json!({"op": "register", "names": ["c", "a"], "port": port});
            assert_eq!(table.code(&asker, &native), Some(ErrorCode::NameTaken));
        }
    }
    assert_eq!((table.ids("A"), table.ids("B")), (vec![first.instance], vec![first.instance]));
    assert!(table.ids("C").is_empty(), "a refused registration changes nothing");
    assert!(table.legacy(&owner, "a", 1), "the server itself is not another");
    assert_eq!(table.register(&owner, &exclusive).lease, first.lease);

    // Another registration takes one of its names only after its lease has ended.
    let more = json!({"op": "register", "names": ["d"], "port": 5, "key": "m"});
    table.register(&tcp("10.0.0.8"), &more);
    let joining = json!({"op": "register", "names": ["d", "a"], "port": 5, "key": "m"});
    assert_eq!(table.code(&tcp("10.0.0.8"), &joining), Some(ErrorCode::NameTaken));
    table.pass(31);
    assert!(table.ids("A").is_empty());
    assert!(table.legacy(&udp("10.0.0.9"), "a", 3));
    assert_eq!(table.code(&tcp("10.0.0.8"), &joining), None);
    assert_eq!(table.code(&owner, &exclusive), Some(ErrorCode::NameTaken));
}

#[test]
fn a_registration_becomes_exclusive_only_if_it_is_alone() {
    let table = Table::new();
    let request = |is_exclusive: bool| json!({"op": "register", "names": ["a"], "port": 1, "key": "k", "exclusive": is_exclusive});
    let (one, two) = (tcp("10.0.0.7"), tcp("10.0.0.8"));
    table.register(&one, &request(false));
    let second = table.register(&two, &json!({"op": "register", "names": ["a"], "port": 2}));
    assert_eq!(table.code(&one, &request(true)), Some(ErrorCode::NameTaken));
    table.ask(&two, &json!({"op": "deregister", "lease": second.lease}));
    table.register(&one, &request(true));
    assert!(!table.legacy(&two, "a", 2));
    table.register(&one, &request(false));
    assert!(table.legacy(&two, "a", 2));
}

#[test]
fn a_weight_has_a_bound() {
    let table = Table::new();
    let server = tcp("10.0.0.7");
    let heavy = json!({"op": "register", "names": ["a"], "port": 1, "weight": 65_535});
    let lease = table.register(&server, &heavy).lease;
    let weight = || table.all("A").first().and_then(|it| it.details.weight);
    assert_eq!(weight(), Some(100));
    for (asked, granted) in [(7, 7), (0, 0), (101, 100)] {
        table.ask(&server, &json!({"op": "update", "lease": lease, "weight": asked}));
        assert_eq!(weight(), Some(granted));
    }
}

#[test]
fn an_operator_s_drain_holds_for_the_endpoint_until_it_is_undrained() {
    let mut table = Table::new();
    let (server, operator) = (tcp("10.0.0.7"), operator());
    let states = |table: &Table| -> Vec<_> { table.all("A").iter().map(|it| it.state).collect() };
    table.register(&server, &register("k1"));
    assert!(table.legacy(&tcp("10.0.0.8"), "a", 1));
    assert_eq!(table.ask(&operator, &json!({"op": "drain", "name": "a"})).changed, Some(2));
    assert_eq!(table.ask(&operator, &json!({"op": "drain", "name": "a"})).changed, Some(0));
    let why = table.all("A").first().and_then(|it| it.why.clone()).unwrap();
    assert_eq!(why, "drained by an operator, until an operator undrains it");

    let restarted = table.register(&server, &register("k2"));
    table.pass(250);
    assert!(table.all("A").is_empty());
    let back = table.register(&server, &register("k3"));
    assert_ne!(back.instance, restarted.instance);
    assert!(table.legacy(&tcp("10.0.0.8"), "a", 1));
    assert_eq!(states(&table), [State::Draining, State::Draining]);
    // Its registrant cannot lift it.
    table.ask(&server, &json!({"op": "undrain", "lease": back.lease}));
    assert_eq!(states(&table), [State::Draining, State::Draining]);
    let status = table.ask(&operator, &json!({"op": "status"})).status.unwrap();
    assert_eq!(status.drained, ["10.0.0.7:1", "10.0.0.8:1"]);
    let other_port = json!({"op": "register", "names": ["a"], "port": 2});
    table.register(&server, &other_port);
    assert_eq!(states(&table).last(), Some(&State::Passing), "another endpoint");

    let undrain = json!({"op": "undrain", "name": "a", "host": "10.0.0.7"});
    assert_eq!(table.ask(&operator, &undrain).changed, Some(1));
    assert_eq!(states(&table), [State::Passing, State::Draining, State::Passing]);
    // An endpoint may be undrained while no server is there.
    table.pass(250);
    let undrain = json!({"op": "undrain", "host": "10.0.0.8", "port": 1});
    assert_eq!(table.ask(&operator, &undrain).changed, Some(1));
    assert_eq!(table.code(&operator, &undrain), Some(ErrorCode::UnknownTarget));
    assert!(table.legacy(&tcp("10.0.0.8"), "a", 1));
    assert_eq!(states(&table), [State::Passing]);
}

#[test]
fn a_server_s_own_drain_ends_with_its_lease() {
    let table = Table::new();
    let server = tcp("10.0.0.7");
    let lease = table.register(&server, &register("k1")).lease;
    assert_eq!(table.ask(&server, &json!({"op": "drain", "lease": lease})).changed, Some(1));
    let drained = table.all("A").first().and_then(|it| it.why.clone()).unwrap();
    assert_eq!(drained, "drained by itself, until its lease ends");
    table.register(&server, &register("k2"));
    assert_eq!(table.all("A").first().map(|it| it.state), Some(State::Passing));
    let operator = operator();
    let lease = table.register(&server, &register("k2")).lease;
    table.ask(&server, &json!({"op": "drain", "lease": lease}));
    assert_eq!(table.ask(&operator, &json!({"op": "undrain", "name": "a"})).changed, Some(1));
    assert_eq!(table.all("A").first().map(|it| it.state), Some(State::Passing));
}
