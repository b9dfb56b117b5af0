//! Native requests against the dispatcher, with explicit time: leases, owners, states, changes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use jsonschema::Validator;
use rpyc_protocol::registry::native::{
    ErrorCode, EventKind, Granted, MAX_DATAGRAM, Reply, Request, State, StoreId,
};
use rpyc_registry::{
    Access, Asker, Counters, Dispatcher, JOURNAL_LEN, MemoryStore, Origin, Outcome, ProbeConfig,
    Registry, SWEEP_INTERVAL, TableConfig,
};
use serde_json::{Value, json};

use super::asker::{any_address, at as tcp, by_udp as udp, operator};

const TTL: Duration = Duration::from_secs(240);

struct Table {
    start: Instant,
    now: Instant,
    next_sweep: Instant,
    dispatcher: Dispatcher,
}

impl Table {
    fn new() -> Self {
        Self::with(Access::default())
    }

    fn with(access: Access) -> Self {
        let start = Instant::now();
        let mut random = 0;
        let entropy = Box::new(move || {
            random += 1;
            random
        });
        let config = TableConfig { ttl: TTL, ..TableConfig::default() };
        let (store, origin) = (Box::new(MemoryStore::new()), Origin::empty(StoreId::new(1)));
        let registry = Registry::new(start, config, store, origin, entropy);
        let counters = Arc::new(Counters::new(start));
        let dispatcher = Dispatcher::new(start, registry, access, counters);
        Self { start, now: start, next_sweep: start + SWEEP_INTERVAL, dispatcher }
    }

    /// Runs every sweep that is due until `at` after the start.
    fn run_to(&mut self, at: Duration) {
        let end = self.start + at;
        while self.next_sweep <= end {
            self.next_sweep = self.dispatcher.expire(self.next_sweep);
        }
        self.now = end;
    }

    fn ask(&self, asker: &Asker, mut request: Value) -> Reply {
        request["v"] = json!(1);
        check(Schema::Request, &request);
        let mut buffer = Vec::new();
        let bytes = request.to_string();
        match self.dispatcher.handle(self.now, asker, bytes.as_bytes(), &mut buffer) {
            Outcome::Reply(bytes) | Outcome::Deferred(_, bytes) => {
                check(Schema::Reply, &serde_json::from_slice(bytes).unwrap());
                Reply::parse(bytes).unwrap()
            }
            other => unreachable!("{request} is answered by {other:?}"),
        }
    }

    fn register(&self, asker: &Asker, request: Value) -> Granted {
        let mut all = json!({"op": "register"});
        all.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let reply = self.ask(asker, all);
        reply.lease.unwrap_or_else(|| unreachable!("{:?}", reply.error))
    }

    fn code(&self, asker: &Asker, request: Value) -> Option<ErrorCode> {
        self.ask(asker, request).error.map(|error| error.code)
    }

    /// The ports that a name resolves to, in order.
    fn ports(&self, request: Value) -> Vec<u16> {
        let mut all = json!({"op": "resolve", "name": "a"});
        all.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        ports(&self.ask(&tcp("10.0.0.9"), all))
    }

    /// How many instances are in each state, as `status` reports.
    fn states(&self) -> BTreeMap<State, usize> {
        let mut states = BTreeMap::new();
        let reply = self.ask(&tcp("127.0.0.1"), json!({"op": "list"}));
        for instance in reply.services.iter().flatten().flat_map(|it| &it.instances) {
            *states.entry(instance.state).or_default() += 1;
        }
        states
    }
}

#[derive(Clone, Copy)]
enum Schema {
    Request,
    Reply,
}

/// Validates a message against the published schema.
fn check(schema: Schema, message: &Value) {
    static SCHEMAS: LazyLock<[Validator; 2]> = LazyLock::new(|| {
        let of = |definition: &str| {
            let mut schema: Value =
                serde_json::from_str(include_str!("../../docs/protocol.schema.json")).unwrap();
            schema["anyOf"] = json!([{ "$ref": format!("#/$defs/{definition}") }]);
            jsonschema::validator_for(&schema).unwrap()
        };
        [of("request"), of("reply")]
    });
    let errors: Vec<_> =
        SCHEMAS[schema as usize].iter_errors(message).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{message}: {errors:#?}");
}

#[test]
fn every_message_of_the_documentation_is_one() {
    let page = include_str!("../../docs/protocol.md");
    let (mut requests, mut replies) = (0, 0);
    for block in page.split("```json\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for message in serde_json::Deserializer::from_str(block).into_iter::<Value>() {
            let message = message.unwrap();
            let bytes = message.to_string();
            if message.get("op").is_some() {
                check(Schema::Request, &message);
                Request::parse(bytes.as_bytes()).unwrap();
                requests += 1;
            } else {
                check(Schema::Reply, &message);
                Reply::parse(bytes.as_bytes()).unwrap();
                replies += 1;
            }
        }
    }
    assert!(requests > 10 && replies > 3, "{requests} requests, {replies} replies");
}

#[test]
fn every_error_code_is_documented() {
    let page = include_str!("../../docs/protocol.md");
    let schema: Value =
        serde_json::from_str(include_str!("../../docs/protocol.schema.json")).unwrap();
    let codes = schema["$defs"]["code"]["enum"].as_array().unwrap();
    for code in codes {
        let text = code.as_str().unwrap();
        assert!(page.contains(&format!("`{text}`")), "{text}");
        let parsed: ErrorCode = serde_json::from_value(code.clone()).unwrap();
        assert_ne!(parsed, ErrorCode::Unknown, "{text}");
    }
}

fn ports(reply: &Reply) -> Vec<u16> {
    let instances = reply.services.iter().flatten().flat_map(|service| &service.instances);
    instances.map(|instance| instance.port.to_tcp().unwrap()).collect()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_lease_is_granted_renewed_changed_and_ended_by_its_owner_alone() {
    let mut table = Table::new();
    let server = tcp("10.0.0.7");
    let granted = table.register(
        &server,
        json!({"names": ["a", "A", "b"], "port": 1, "ttl_ms": 30_000, "tags": ["x"], "zone": "z"}),
    );
    assert_eq!((granted.ttl_ms, granted.observed.as_str()), (30_000, "10.0.0.7"));
    assert!((6_750..=8_250).contains(&granted.renew_ms), "{}", granted.renew_ms);
    assert_eq!(table.ports(json!({})), [1]);

    table.run_to(secs(20));
    let renew = json!({"op": "renew", "lease": granted.lease});
    assert_eq!(table.ask(&tcp("10.0.0.8"), renew.clone()).lease.unwrap().ttl_ms, 30_000);
    table.run_to(secs(49));
    assert_eq!(table.ports(json!({})), [1], "renewed");
    table.run_to(secs(50));
    assert!(table.ports(json!({})).is_empty(), "at its own TTL, not at the table's");
    assert_eq!(table.code(&server, renew), Some(ErrorCode::UnknownLease));

    let granted = table.register(&server, json!({"names": ["a"], "port": 1}));
    // Neither a stranger is an operator nor anyone who reaches the registry from its machine.
    for other in [tcp("10.0.0.8"), tcp("127.0.0.1"), tcp("127.0.0.6"), tcp("::1")] {
        for request in [
            json!({"op": "deregister", "instance": granted.instance}),
            json!({"op": "drain", "name": "a"}),
            json!({"op": "undrain", "host": "10.0.0.7"}),
            json!({"op": "release"}),
        ] {
            assert_eq!(table.code(&other, request), Some(ErrorCode::Forbidden));
        }
    }
    let guess = format!("{:032x}", granted.lease.get() + 100);
    assert_eq!(
        table.code(&server, json!({"op": "deregister", "lease": guess})),
        Some(ErrorCode::UnknownLease)
    );
    let reply = table.ask(&server, json!({"op": "deregister", "lease": granted.lease}));
    assert_eq!(reply.changed, Some(1));
    assert!(table.ports(json!({})).is_empty());
}

#[test]
fn the_same_registration_twice_is_one_and_a_new_start_replaces_the_old() {
    let table = Table::new();
    let server = tcp("10.0.0.7");
    let first = table.register(&server, json!({"names": ["a"], "port": 1, "key": "k1"}));
    let again =
        table.register(&server, json!({"names": ["a", "b"], "port": 1, "key": "k1", "zone": "z"}));
    assert_eq!((again.instance, again.lease), (first.instance, first.lease));
    assert_eq!(table.ports(json!({"zone": "z"})), [1], "what it says last counts");
    assert_eq!(table.ports(json!({"name": "b"})), [1]);
    let restarted = table.register(&server, json!({"names": ["a"], "port": 1, "key": "k2"}));
    assert_ne!(restarted.instance, first.instance);
    assert_eq!(table.ports(json!({})), [1]);
    assert!(table.ports(json!({"name": "b"})).is_empty());
    let renew = json!({"op": "renew", "lease": first.lease});
    assert_eq!(table.code(&server, renew), Some(ErrorCode::UnknownLease));

    let elsewhere = json!({
        "op": "register", "names": ["a"], "port": 1, "addresses": ["10.0.0.7"]
    });
    let refused = Some(ErrorCode::AddressNotAllowed);
    assert_eq!(table.code(&tcp("10.0.0.8"), elsewhere.clone()), refused);
    let table = Table::with(Access { addresses: any_address(), ..Access::default() });
    table.register(&server, json!({"names": ["a"], "port": 1}));
    let refused = Some(ErrorCode::AddressTaken);
    assert_eq!(table.code(&tcp("10.0.0.8"), elsewhere), refused, "allowed, but not its own");
}

#[test]
fn an_exclusive_name_is_held_alone() {
    let mut table = Table::new();
    let (one, two) = (tcp("10.0.0.7"), tcp("10.0.0.8"));
    let exclusive = json!({"op": "register", "names": ["a"], "port": 1, "exclusive": true});
    assert_eq!(table.code(&one, exclusive.clone()), None);
    assert_eq!(table.code(&two, exclusive.clone()), Some(ErrorCode::NameTaken));
    assert_eq!(table.code(&one, exclusive.clone()), None, "its own restart does not conflict");
    table.run_to(TTL);
    assert_eq!(table.code(&two, exclusive), None);
}

#[test]
fn a_legacy_packet_neither_ends_nor_doubles_a_native_registration() {
    let table = Table::new();
    let server = udp("10.0.0.7");
    let mut buffer = Vec::new();
    let mut legacy = |message: &[u8]| {
        let outcome = table.dispatcher.handle(table.now, &server, message, &mut buffer);
        assert!(matches!(outcome, Outcome::Deferred(..)), "{outcome:?}");
    };
    const REGISTER: &[u8] = b"\x12\x08\x0dRPYC\x08\x0e\x08REGISTER\x11\x10\x08\x0aA\x51";
    const UNREGISTER: &[u8] = b"\x12\x08\x0dRPYC\x08\x0e\x0aUNREGISTER\x10\x51";
    legacy(REGISTER);
    assert_eq!(table.ports(json!({})), [1]);
    table.register(&tcp("10.0.0.7"), json!({"names": ["a"], "port": 1}));
    assert_eq!(table.ports(json!({})), [1], "the native one takes over");
    legacy(REGISTER);
    assert_eq!(table.ports(json!({})), [1]);
    legacy(UNREGISTER);
    assert_eq!(table.ports(json!({})), [1], "it has an owner");
}

#[test]
fn filters_choose_by_tags_metadata_zone_and_state() {
    let table = Table::new();
    let register = |port: u16, more: Value| {
        let mut all = json!({"names": ["a"], "port": port});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        table.register(&tcp("10.0.0.7"), all)
    };
    register(1, json!({"tags": ["x", "y"], "meta": {"os": "linux", "cpu": "arm"}, "zone": "z"}));
    register(2, json!({"tags": ["y"], "meta": {"os": "linux"}}));
    let third = register(3, json!({}));
    for (filter, expected) in [
        (json!({"tags_all": ["x", "y"]}), vec![1]),
        (json!({"tags_any": ["x", "y", "w"]}), vec![1, 2]),
        (json!({"meta": {"os": "linux"}}), vec![1, 2]),
        (json!({"meta": {"os": "linux", "cpu": "arm"}}), vec![1]),
        (json!({"zone": "z"}), vec![1]),
        (json!({"limit": 2}), vec![1, 2]),
        (json!({"states": ["draining"]}), vec![]),
        (json!({}), vec![1, 2, 3]),
    ] {
        assert_eq!(table.ports(filter.clone()), expected, "{filter}");
    }
    let drained = table.ask(&tcp("10.0.0.7"), json!({"op": "drain", "lease": third.lease}));
    assert_eq!(drained.changed, Some(1));
    assert_eq!(table.ports(json!({})), [1, 2]);
    assert_eq!(table.ports(json!({"states": ["draining"]})), [3]);
    let undrain = json!({"op": "undrain", "name": "a", "port": 3});
    assert_eq!(table.ask(&operator(), undrain).changed, Some(1));
    assert_eq!(table.ports(json!({})), [1, 2, 3]);

    table.register(&tcp("10.0.0.8"), json!({"names": ["payroll.eu", "payroll.us"], "port": 4}));
    let list = |more: Value| {
        let mut all = json!({"op": "list"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = table.ask(&tcp("127.0.0.1"), all);
        reply.services.unwrap().into_iter().map(|service| service.name).collect::<Vec<_>>()
    };
    assert_eq!(list(json!({"prefix": "pay"})), ["PAYROLL.EU", "PAYROLL.US"]);
    assert_eq!(list(json!({"glob": "*.u?"})), ["PAYROLL.US"]);
    assert_eq!(list(json!({"prefix": "pay", "glob": "*eu"})), ["PAYROLL.EU"]);
    assert_eq!(list(json!({"host": "10.0.0.8"})).len(), 2);
    assert_eq!(
        table.code(&tcp("10.0.0.8"), json!({"op": "list"})),
        Some(ErrorCode::ListingForbidden)
    );
}

#[test]
fn mass_expiry_makes_suspects_and_ends_by_itself() {
    let mut table = Table::new();
    for port in 1..=60 {
        table.register(&tcp("10.0.0.7"), json!({"names": ["a"], "port": port}));
    }
    let alive = table.register(&tcp("10.0.0.8"), json!({"names": ["a"], "port": 1000}));
    let renew = json!({"op": "renew", "lease": alive.lease});
    table.run_to(TTL - secs(1));
    assert!(table.ask(&tcp("10.0.0.8"), renew.clone()).lease.is_some());
    table.run_to(TTL);
    assert_eq!(table.states(), [(State::Passing, 1), (State::Suspect, 60)].into());
    assert_eq!(table.ports(json!({"limit": 1})), [1000], "passing instances come first");
    assert_eq!(table.ports(json!({})).len(), 61, "suspects are included");
    let status = table.ask(&tcp("127.0.0.1"), json!({"op": "status"})).status.unwrap();
    assert!(status.protected.contains(&"A".to_owned()), "{status:?}");

    // One of them was still alive.
    let back = table.register(&tcp("10.0.0.7"), json!({"names": ["a"], "port": 7}));
    assert_eq!(table.states(), [(State::Passing, 2), (State::Suspect, 59)].into());
    table.run_to(2 * TTL - secs(2));
    assert!(table.ask(&tcp("10.0.0.8"), renew).lease.is_some());
    assert!(
        table.ask(&tcp("10.0.0.7"), json!({"op": "renew", "lease": back.lease})).lease.is_some()
    );
    table.run_to(2 * TTL - Duration::from_millis(1));
    assert_eq!(table.states(), [(State::Passing, 2), (State::Suspect, 59)].into());
    table.run_to(2 * TTL);
    assert_eq!(table.states(), [(State::Passing, 2)].into(), "one TTL later at the latest");
}

#[test]
fn an_operator_ends_protection() {
    let mut table = Table::new();
    for port in 1..=60 {
        table.register(&tcp("10.0.0.7"), json!({"names": ["a"], "port": port}));
    }
    table.run_to(TTL);
    assert_eq!(table.ports(json!({})).len(), 60);
    let released = table.ask(&operator(), json!({"op": "release", "name": "b"}));
    assert_eq!(released.changed, Some(0));
    let released = table.ask(&operator(), json!({"op": "release", "name": "a"}));
    assert_eq!(released.changed, Some(60));
    assert!(table.ports(json!({})).is_empty());
}

#[test]
fn a_few_of_many_go_on_time() {
    let mut table = Table::new();
    let mut leases = Vec::new();
    for port in 1..=60 {
        leases.push(table.register(&tcp("10.0.0.7"), json!({"names": ["a"], "port": port})).lease);
    }
    table.register(&tcp("10.0.0.7"), json!({"names": ["b"], "port": 999}));
    table.run_to(TTL - secs(1));
    for lease in &leases[5..] {
        let renew = json!({"op": "renew", "lease": lease});
        assert!(table.ask(&tcp("10.0.0.7"), renew).lease.is_some());
    }
    table.run_to(TTL);
    assert_eq!(table.states(), [(State::Passing, 55)].into());
}

#[test]
fn answers_over_udp_are_no_longer_than_three_times_the_request_without_a_cookie() {
    let table = Table::new();
    for port in 1..=40 {
        table.register(&tcp("10.0.0.7"), json!({"names": ["a"], "port": port}));
    }
    let asker = udp("10.0.0.9");
    let answer = |request: &str| {
        let mut buffer = Vec::new();
        match table.dispatcher.handle(table.now, &asker, request.as_bytes(), &mut buffer) {
            Outcome::Reply(bytes) => bytes.to_vec(),
            other => unreachable!("{request} is answered by {other:?}"),
        }
    };
    let request = r#"{"v":1,"op":"resolve","name":"a"}"#;
    let first = answer(request);
    assert!(first.len() <= 3 * request.len(), "{} bytes", first.len());
    let first = Reply::parse(&first).unwrap();
    assert!(first.truncated);
    let cookie = first.cookie.unwrap();
    let request = format!(r#"{{"v":1,"op":"resolve","name":"a","cookie":"{cookie}"}}"#);
    let second = answer(&request);
    assert!(second.len() > 3 * request.len() && second.len() <= MAX_DATAGRAM);
    let padded = format!("{:<400}", r#"{"v":1,"op":"resolve","name":"a"}"#);
    assert!(answer(&padded).len() > 900);
    for short in [r#"{"v":1,"op":"ping"}"#, r#"{"v":1,"op":"list"}"#, r#"{"v":7,"op":"ping"}"#] {
        let bytes = answer(short);
        assert!(bytes.len() <= 3 * short.len());
        assert!(
            Reply::parse(&bytes).unwrap().revision.is_some()
                || Reply::parse(&bytes).unwrap().truncated
        );
    }
}

#[test]
fn a_watcher_learns_what_is_there_and_then_what_changes() {
    let mut table = Table::new();
    let server = tcp("10.0.0.7");
    table.register(&server, json!({"names": ["a"], "port": 1}));
    let mut buffer = Vec::new();
    let request = br#"{"v":1,"op":"watch","glob":"a","id":5}"#;
    let outcome = table.dispatcher.handle(table.now, &tcp("10.0.0.9"), request, &mut buffer);
    let Outcome::Watch(mut watch) = outcome else { unreachable!("{outcome:?}") };
    let mut lines = |now: Instant| {
        let mut out = Vec::new();
        while watch.lines(now, &mut out) {}
        let text = String::from_utf8(out).unwrap();
        let replies = text.lines().map(|line| Reply::parse(line.as_bytes()).unwrap());
        replies.collect::<Vec<_>>()
    };
    let kinds = |replies: &[Reply]| {
        let of = |reply: &Reply| reply.event.as_ref().unwrap().kind;
        replies.iter().map(of).collect::<Vec<_>>()
    };
    let told = lines(table.now);
    assert_eq!(kinds(&told), [EventKind::Added, EventKind::Current]);
    assert_eq!(told[0].id, Some(5));
    let revision = told[1].revision.unwrap();

    let second = table.register(&server, json!({"names": ["a", "b"], "port": 2}));
    table.ask(&server, json!({"op": "update", "lease": second.lease, "tags": ["x"]}));
    let told = lines(table.now);
    assert_eq!(kinds(&told), [EventKind::Added], "quick successive changes are one event");
    assert!(told[0].event.as_ref().unwrap().instance.as_ref().unwrap().details.tags.contains("x"));
    table.ask(&server, json!({"op": "update", "lease": second.lease, "tags": []}));
    assert_eq!(kinds(&lines(table.now)), [EventKind::Updated]);
    table.ask(&server, json!({"op": "drain", "lease": second.lease}));
    let told = lines(table.now);
    assert_eq!(told[0].event.as_ref().unwrap().instance.as_ref().unwrap().state, State::Draining);
    table.run_to(TTL);
    assert_eq!(kinds(&lines(table.now)), [EventKind::Removed, EventKind::Removed]);
    assert!(lines(table.now).is_empty());

    let resume = |since: &str| {
        let request = json!({"v": 1, "op": "watch", "glob": "a", "since": since}).to_string();
        let mut buffer = Vec::new();
        let asker = tcp("10.0.0.9");
        let outcome = table.dispatcher.handle(table.now, &asker, request.as_bytes(), &mut buffer);
        let Outcome::Watch(mut watch) = outcome else { unreachable!("{outcome:?}") };
        let mut out = Vec::new();
        while watch.lines(table.now, &mut out) {}
        let text = String::from_utf8(out).unwrap();
        let lines = text.lines();
        lines
            .map(|line| {
                check(Schema::Reply, &serde_json::from_str(line).unwrap());
                Reply::parse(line.as_bytes()).unwrap()
            })
            .collect::<Vec<_>>()
    };
    let told = resume(&revision.to_string());
    assert_eq!(kinds(&told), [EventKind::Removed, EventKind::Removed], "from where it stopped");
    for lost in ["00000002:1", "00000001:99999"] {
        assert_eq!(kinds(&resume(lost)), [EventKind::Reset, EventKind::Current], "{lost}");
    }
}

#[test]
fn a_registration_that_a_probe_rule_speaks_of_waits_for_its_addresses_to_be_tried() {
    let rules = vec!["tcp,service=a".parse().unwrap()];
    let probes = Arc::new(ProbeConfig { rules, ..ProbeConfig::default() });
    let table = Table::with(Access { addresses: any_address(), ..Access::default() });
    let table = Table { dispatcher: table.dispatcher.with_probes(probes), ..table };
    let server = tcp("10.0.0.7");
    let register = |name: &str| {
        let addresses = ["10.0.0.8:22", "10.0.0.7:1", "10.0.0.7:2"];
        json!({"v": 1, "id": 5, "op": "register", "names": [name], "port": 1, "addresses": addresses})
    };
    assert!(table.ask(&server, register("b")).lease.is_some(), "no rule speaks of it");

    let mut buffer = Vec::new();
    let message = register("a").to_string();
    let outcome = table.dispatcher.handle(table.now, &server, message.as_bytes(), &mut buffer);
    let Outcome::Deferred(deferred, _) = outcome else { unreachable!("{outcome:?}") };
    let tried: Vec<_> = deferred.addresses().iter().map(ToString::to_string).collect();
    assert_eq!(tried, ["10.0.0.7:1", "10.0.0.7:2"], "not the other machine's");
    assert_eq!(table.ports(json!({})), [22], "it is found meanwhile");
    let answer = deferred.with_remark("why".to_owned()).unwrap();
    check(Schema::Reply, &serde_json::from_slice(&answer).unwrap());
    let reply = Reply::parse(&answer).unwrap();
    assert_eq!(reply.id, Some(5));
    assert_eq!(reply.lease.unwrap().unreachable.as_deref(), Some("why"));

    let status = table.ask(&tcp("127.0.0.1"), json!({"op": "status"})).status.unwrap();
    assert_eq!(status.probes.map(|probes| probes.done), Some(0));
    let status = Table::new().ask(&tcp("127.0.0.1"), json!({"op": "status"})).status.unwrap();
    assert_eq!(status.probes, None, "nothing is probed");
}

#[test]
fn a_watcher_that_is_too_far_behind_begins_anew() {
    let table = Table::new();
    // This machine has no rate limit.
    let server = tcp("127.0.0.1");
    let lease = table.register(&server, json!({"names": ["a"], "port": 1})).lease;
    let mut buffer = Vec::new();
    let request = br#"{"v":1,"op":"watch"}"#;
    let outcome = table.dispatcher.handle(table.now, &tcp("127.0.0.1"), request, &mut buffer);
    let Outcome::Watch(mut watch) = outcome else { unreachable!("{outcome:?}") };
    let mut out = Vec::new();
    while watch.lines(table.now, &mut out) {}
    for change in 0..=JOURNAL_LEN {
        let update = json!({"v": 1, "op": "update", "lease": lease, "weight": change % 7});
        let update = update.to_string();
        let outcome = table.dispatcher.handle(table.now, &server, update.as_bytes(), &mut buffer);
        assert!(matches!(outcome, Outcome::Deferred(..)));
    }
    out.clear();
    while watch.lines(table.now, &mut out) {}
    let lines = String::from_utf8(out).unwrap();
    let kind = |line: &str| Reply::parse(line.as_bytes()).unwrap().event.unwrap().kind;
    let kinds: Vec<_> = lines.lines().map(kind).collect();
    assert_eq!(kinds, [EventKind::Reset, EventKind::Added, EventKind::Current]);
}
