//! What one sender can cost the others: memory, places, bytes and work.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::{Cursor, Reply, StoreId};
use rpyc_protocol::registry::reply::decode_endpoints;
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_protocol::{FoldedName, ServiceName};
use rpyc_registry::{
    Access, Asker, Counters, Dispatcher, LegacyAnswers, Limits, Listing, MemoryStore, Origin,
    Outcome, Refusal, Registry, TableConfig, Transport, Watch,
};
use serde_json::{Value, json};

use super::asker::{at, by_udp};

struct Table {
    now: Instant,
    dispatcher: Dispatcher,
}

impl Table {
    fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let config = TableConfig { limits, ..TableConfig::default() };
        let origin = Origin::empty(StoreId::new(1));
        let mut lease = 0;
        let entropy = Box::new(move || {
            lease += 1;
            lease
        });
        let registry = Registry::new(now, config, Box::new(MemoryStore::new()), origin, entropy);
        let access = Access { listing: Listing::Everyone, ..Access::default() };
        Self {
            now,
            dispatcher: Dispatcher::new(now, registry, access, Arc::new(Counters::new(now))),
        }
    }

    fn register(&self, from: &Asker, name: &str, port: u16) -> Result<(), Refusal> {
        let names = [ServiceName::new(name).unwrap()];
        let (names, port) = (Names::from(&names[..]), Port::tcp(port).unwrap());
        let mut request = Vec::new();
        Request::Register { names, port }.encode(&mut request).unwrap();
        match self.dispatcher.handle(self.now, from, &request, &mut Vec::new()) {
            Outcome::Deferred(..) => Ok(()),
            Outcome::Refused(refusal) => Err(refusal),
            other => unreachable!("{other:?}"),
        }
    }

    fn query(&self, asker: &Asker, name: &str) -> Result<Vec<u16>, Refusal> {
        let mut request = Vec::new();
        Request::Query { name: &FoldedName::new(name).unwrap() }.encode(&mut request).unwrap();
        match self.dispatcher.handle(self.now, asker, &request, &mut Vec::new()) {
            Outcome::Reply(bytes) => {
                let found = decode_endpoints(bytes).unwrap();
                Ok(found.iter().map(|endpoint| endpoint.port.to_tcp().unwrap()).collect())
            }
            Outcome::Refused(refusal) => Err(refusal),
            other => unreachable!("{other:?}"),
        }
    }

    fn ask(&self, asker: &Asker, request: &Value) -> Result<Reply, Refusal> {
        let mut whole = json!({"v": 1});
        whole.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let whole = whole.to_string();
        match self.dispatcher.handle(self.now, asker, whole.as_bytes(), &mut Vec::new()) {
            Outcome::Reply(bytes) | Outcome::Deferred(_, bytes) => Ok(Reply::parse(bytes).unwrap()),
            Outcome::Refused(refusal) => Err(refusal),
            other @ Outcome::Watch(_) => unreachable!("{other:?}"),
        }
    }

    fn watch(&self, since: &str) -> Box<Watch> {
        let request = json!({"v": 1, "op": "watch", "glob": "*", "since": since}).to_string();
        let asker = at("10.0.0.9");
        match self.dispatcher.handle(self.now, &asker, request.as_bytes(), &mut Vec::new()) {
            Outcome::Watch(watch) => watch,
            other => unreachable!("{other:?}"),
        }
    }
}

fn ipv6(network: u16, host: u32) -> Asker {
    let ip = format!("2001:db8:0:{network:x}::{:x}:{:x}", host >> 16, host & 0xffff);
    Asker { transport: Transport::Udp6, ..at(&ip) }
}

#[test]
fn an_ipv6_network_counts_as_one_sender() {
    let table = Table::new(Limits { instances_per_source: 10, ..Limits::default() });
    for host in 1..=10 {
        table.register(&ipv6(1, host), "a", 1).unwrap();
    }
    let refused = table.register(&ipv6(1, 11), "a", 1);
    assert!(matches!(refused, Err(Refusal::TooManyInstancesOfSource { limit: 10, .. })));
    table.register(&ipv6(2, 1), "a", 1).unwrap();
}

#[test]
fn names_and_bytes_of_a_sender_count_as_well_as_instances() {
    let limits = Limits { registrations_per_source: 20, ..Limits::default() };
    let table = Table::new(limits);
    let one = at("10.0.0.7");
    for number in 0..20 {
        table.register(&one, &format!("name{number}"), 1 + number / 10).unwrap();
    }
    let refused = table.register(&one, "further", 1);
    assert!(matches!(refused, Err(Refusal::TooManyRegistrationsOfSource { limit: 20, .. })));
    table.register(&at("10.0.0.8"), "further", 1).unwrap();

    let table = Table::new(Limits { bytes_per_source: 40_000, ..Limits::default() });
    let meta: serde_json::Map<_, _> =
        (0..7).map(|key| (format!("key{key}"), json!("x".repeat(256)))).collect();
    let register = |port: u16| {
        let request = json!({"op": "register", "names": ["a"], "port": port, "meta": meta});
        table.ask(&one, &request).unwrap().error.map(|error| error.message)
    };
    let refused = (1..100).find_map(register).unwrap();
    assert!(refused.contains("10.0.0.7 take 40000 bytes"), "{refused}");
    assert!(table.dispatcher.instances() > 10);
    table.register(&at("10.0.0.8"), "a", 1).unwrap();
}

#[test]
fn what_has_ended_counts_no_longer() {
    let limits = Limits { bytes_per_source: 5000, instances_per_source: 4, ..Limits::default() };
    let table = Table::new(limits);
    let one = at("10.0.0.7");
    for _ in 0..50 {
        for port in 1..=4 {
            table.register(&one, "a", port).unwrap();
            table.register(&one, "b", port).unwrap();
        }
        table.register(&one, "a", 5).unwrap_err();
        let request = json!({"op": "register", "names": ["a"], "port": 1, "key": "k"});
        let lease = table.ask(&one, &request).unwrap().lease.unwrap().lease;
        table.ask(&one, &json!({"op": "update", "lease": lease, "tags": ["x", "y"]})).unwrap();
        table.ask(&one, &json!({"op": "deregister", "lease": lease})).unwrap();
        for port in 1..=4 {
            let mut request = Vec::new();
            Request::Unregister { port: Port::tcp(port).unwrap() }.encode(&mut request).unwrap();
            let _ = table.dispatcher.handle(table.now, &one, &request, &mut Vec::new());
        }
        assert_eq!(table.dispatcher.instances(), 0);
    }
}

#[test]
fn forged_senders_fill_neither_the_memory_nor_the_table() {
    let limits = Limits { instances: 160, legacy_bytes: 40_000, ..Limits::default() };
    let table = Table::new(limits);
    let mut registered = 0;
    let refused = (0..1000_u32).find_map(|number| {
        let from = by_udp(&format!("10.{}.{}.7", number / 250, number % 250));
        let result = table.register(&from, &format!("name{number}"), 1);
        registered += usize::from(result.is_ok());
        result.err()
    });
    assert_eq!(refused, Some(Refusal::TooManyLegacyBytes { limit: 40_000 }));
    assert!((50..120).contains(&registered), "{registered}");
    // Native registrations have room beside them, and this machine beside all others.
    let register = |from: &Asker, port: u16| {
        let request = json!({"op": "register", "names": ["a"], "port": port});
        table.ask(from, &request).unwrap().error.is_none()
    };
    assert!(register(&at("10.0.0.9"), 1));
    while register(&at("10.0.0.9"), u16::try_from(table.dispatcher.instances()).unwrap() + 1) {}
    assert_eq!(table.dispatcher.instances(), 150);
    for port in 1..=10 {
        table.register(&at("127.0.0.1"), "here", port).unwrap();
    }
    table.register(&at("127.0.0.1"), "here", 11).unwrap_err();
}

#[test]
fn instances_out_of_reach_neither_hide_the_others_nor_cost_much() {
    const OTHERS: u32 = 20_000;
    let table = Table::new(Limits::default());
    let honest = at("10.0.0.7");
    table.register(&honest, "payroll", 1).unwrap();
    // On another link than the asker.
    let far = |number: u32| {
        let host = rpyc_registry::Host::new(format!("fe80::{number:x}").parse().unwrap(), 3);
        Asker { host, link: 3, ..at("fe80::1") }
    };
    for number in 1..=OTHERS {
        table.register(&far(number), "payroll", 2).unwrap();
    }
    for _ in 0..10 {
        assert_eq!(table.query(&at("10.0.0.9"), "payroll").unwrap(), [1]);
    }
}

#[test]
fn a_page_looks_at_a_bounded_number_and_goes_on() {
    let table = Table::new(Limits { requests_per_second: 0, ..Limits::default() });
    let count: u16 = 9000;
    for port in 1..=count {
        table.register(&at("10.0.0.7"), "many", port).unwrap();
    }
    let asker = at("127.0.0.1");
    let pages = |request: Value| {
        let (mut after, mut pages, mut found) = (None::<Cursor>, 0, 0);
        loop {
            let mut request = request.clone();
            if let Some(after) = after {
                request["after"] = serde_json::to_value(after).unwrap();
            }
            let reply = table.ask(&asker, &request).unwrap();
            pages += 1;
            found += reply.services.iter().flatten().map(|it| it.instances.len()).sum::<usize>();
            after = reply.next;
            if after.is_none() {
                return (pages, found);
            }
        }
    };
    for op in [json!({"op": "resolve", "name": "many"}), json!({"op": "list"})] {
        let mut unmatched = op.clone();
        unmatched["zone"] = json!("nowhere");
        assert_eq!(pages(unmatched), (3, 0), "{op}");
        assert_eq!(pages(op).1, usize::from(count));
    }
    assert_eq!(pages(json!({"op": "list", "prefix": "nothing"})), (1, 0));
}

#[test]
fn work_is_charged_to_the_sender() {
    let table = Table::new(Limits { requests_per_second: 1000, ..Limits::default() });
    for port in 1..=5000 {
        table.register(&at("127.0.0.1"), "many", port).unwrap();
    }
    let request = json!({"op": "resolve", "name": "many", "zone": "nowhere"});
    let asked = (0..1000).take_while(|_| table.ask(&at("10.0.0.7"), &request).is_ok()).count();
    assert!((1..10).contains(&asked), "{asked}");
    table.ask(&at("10.0.0.8"), &request).unwrap();
    assert_eq!(table.query(&by_udp("10.0.0.7"), "other").unwrap(), [0_u16; 0], "another budget");
}

#[test]
fn a_batch_of_notifications_is_bounded_in_bytes() {
    let table = Table::new(Limits::default());
    let from = at("10.0.0.7");
    let begin = table.dispatcher.directory().revision().to_string();
    // Control characters take six bytes each in JSON.
    let meta: serde_json::Map<_, _> =
        (0..7).map(|key| (format!("key{key}"), json!("\u{1}".repeat(256)))).collect();
    let count = 500;
    for port in 1..=count {
        let request = json!({"op": "register", "names": ["a"], "port": port, "meta": meta});
        assert_eq!(table.ask(&from, &request).unwrap().error, None);
    }
    let mut watch = table.watch(&begin);
    let (mut lines, mut has_more) = (0, true);
    while has_more {
        let mut out = Vec::new();
        has_more = watch.lines(table.now, &mut out);
        assert!(out.len() <= 64 << 10, "{} bytes in one batch", out.len());
        lines += out.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(lines, count);
}

#[test]
fn a_long_answer_to_a_foreign_network_has_a_budget() {
    let limits = Limits { answer_bytes_per_network: 10_000, ..Limits::default() };
    let table = Table::new(limits);
    table.dispatcher.directory().set_own_addresses(vec!["10.0.0.1/24".parse().unwrap()]);
    for port in 1..=500 {
        table.register(&at("10.0.0.7"), "many", port).unwrap();
    }
    let served = |asker: Asker| (0..50).filter(|_| table.query(&asker, "many").is_ok()).count();
    assert_eq!(served(by_udp("192.0.2.1")), 6);
    assert_eq!(served(by_udp("192.0.2.2")), 0);
    assert_eq!(served(by_udp("10.0.0.99")), 50, "the registry's own network");
    assert_eq!(served(at("192.0.2.1")), 50, "TCP proves the source");
    let later = Table { now: table.now + Duration::from_secs(1), ..table };
    assert!(later.query(&by_udp("192.0.2.1"), "many").is_ok());
}

#[test]
fn answers_take_turns_among_thousands() {
    let table = Table::new(Limits::default());
    for port in 1..=1000 {
        table.register(&at("10.0.0.7"), "many", port).unwrap();
    }
    let (answers, name) = (LegacyAnswers::default(), FoldedName::new("many").unwrap());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut buffer = Vec::new();
        let asker = at("10.0.0.9");
        let bytes =
            answers.query(table.dispatcher.directory(), &name, &asker, &mut buffer).unwrap();
        seen.extend(decode_endpoints(bytes).unwrap().into_iter().map(|it| it.port.to_string()));
    }
    assert_eq!(seen.len(), 1000);
}
