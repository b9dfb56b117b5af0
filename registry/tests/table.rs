//! The rules of the table, with explicit time: answers, expiry and rejections.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::{self, Operation};
use rpyc_protocol::registry::reply::{Endpoint, decode_endpoints, decode_names};
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_protocol::{FoldedName, ServiceName};
use rpyc_registry::{
    Access, Arrival, Asker, Counters, Directory, Dispatcher, Host, LegacyAnswers, Limits, Listing,
    MemoryStore, Origin, Outcome, Refusal, Registry, Renewal, SWEEP_INTERVAL, TableConfig,
    Transport,
};

use super::asker::by_udp as asker;

const TTL: Duration = Duration::from_secs(240);

fn registry(start: Instant, limits: Limits) -> Registry {
    let config = TableConfig { ttl: TTL, limits, ..TableConfig::default() };
    let origin = Origin::empty(native::StoreId::new(1));
    Registry::new(start, config, Box::new(MemoryStore::new()), origin, Box::new(|| 4))
}

fn dispatcher(start: Instant, listing: Listing) -> Dispatcher {
    let access = Access { listing, ..Access::default() };
    let counters = Arc::new(Counters::new(start));
    Dispatcher::new(start, registry(start, Limits::default()), access, counters)
}

struct Table {
    start: Instant,
    next_sweep: Instant,
    registry: Registry,
    directory: Arc<Directory>,
    answers: LegacyAnswers,
}

impl Table {
    fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    fn with_limits(limits: Limits) -> Self {
        let start = Instant::now();
        let registry = registry(start, limits);
        let next_sweep = start + SWEEP_INTERVAL;
        let answers = LegacyAnswers::default();
        Self { start, next_sweep, directory: registry.directory(), registry, answers }
    }

    fn register(&mut self, at: Duration, from: &Asker, names: &[&str], port: u16) {
        self.try_register(at, from, names, port).unwrap();
    }

    fn try_register(
        &mut self,
        at: Duration,
        from: &Asker,
        names: &[&str],
        port: u16,
    ) -> Result<(), Refusal> {
        let names: Vec<_> = names.iter().map(|name| ServiceName::new(name).unwrap()).collect();
        let port = Port::tcp(port).unwrap();
        self.registry.register(self.start + at, from, Names::from(&names[..]), &port).map(drop)
    }

    fn renew(&self, at: Duration, from: &Asker, names: &[&str], port: u16) -> bool {
        let names: Vec<_> = names.iter().map(|name| ServiceName::new(name).unwrap()).collect();
        let port = Port::tcp(port).unwrap();
        let renewed = self.directory.renew(self.start + at, from, &port, Names::from(&names[..]));
        matches!(renewed, Renewal::Done(_))
    }

    fn query(&self, asker: &Asker, name: &str) -> Vec<Endpoint> {
        let mut buffer = Vec::new();
        let name = FoldedName::new(name).unwrap();
        let reply = self.answers.query(&self.directory, &name, asker, &mut buffer).unwrap();
        decode_endpoints(reply).unwrap()
    }

    fn hosts(&self, asker: &Asker, name: &str) -> Vec<String> {
        self.query(asker, name).into_iter().map(|endpoint| endpoint.host).collect()
    }

    fn ports(&self, asker: &Asker, name: &str) -> Vec<u16> {
        self.query(asker, name).iter().map(|endpoint| endpoint.port.to_tcp().unwrap()).collect()
    }

    fn list(&self, asker: &Asker, host: Option<&str>) -> Vec<String> {
        let mut buffer = Vec::new();
        let reply = self.answers.list(&self.directory, host, asker, &mut buffer).unwrap();
        decode_names(reply).unwrap().unwrap()
    }

    /// Runs every sweep that is due until `to`.
    fn run(&mut self, to: Duration) {
        while self.next_sweep <= self.start + to {
            self.next_sweep = self.registry.expire(self.next_sweep);
        }
    }

    /// Sweeps once, even if late.
    fn wake(&mut self, at: Duration) {
        self.next_sweep = self.registry.expire(self.start + at);
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_is_registered_is_found_under_each_name_in_any_case() {
    let mut table = Table::new();
    let server = asker("10.0.0.7");
    table.register(secs(0), &server, &["Payroll", "straße"], 18861);
    for name in ["PAYROLL", "payroll", "STRASSE", "Straße"] {
        assert_eq!(table.hosts(&server, name), ["10.0.0.7"], "{name}");
        assert_eq!(table.ports(&server, name), [18861]);
    }
    assert_eq!(table.list(&server, None), ["PAYROLL", "STRASSE"], "in the order of registration");
    assert!(table.query(&server, "PAY").is_empty());
}

#[test]
fn an_instance_that_registers_again_gains_names_and_each_has_its_own_deadline() {
    let mut table = Table::new();
    let server = asker("10.0.0.7");
    table.register(secs(0), &server, &["a"], 1);
    table.run(secs(100));
    table.register(secs(100), &server, &["b"], 1);
    assert_eq!(table.registry.instances(), 1);
    assert_eq!(table.registry.leases(), 2);
    table.run(secs(240));
    assert_eq!(table.list(&server, None), ["B"]);
    table.run(secs(340));
    assert!(table.list(&server, None).is_empty());
    assert_eq!((table.registry.instances(), table.registry.leases()), (0, 0));
}

#[test]
fn a_lease_lives_until_its_ttl_and_no_longer() {
    let mut table = Table::new();
    let server = asker("10.0.0.7");
    table.run(secs(10));
    table.register(secs(10), &server, &["a"], 1);
    table.run(secs(250) - Duration::from_nanos(1));
    assert_eq!(table.ports(&server, "a"), [1]);
    table.run(secs(250));
    assert!(table.query(&server, "a").is_empty());
}

#[test]
fn a_sweep_is_due_when_the_next_lease_ends() {
    let mut table = Table::new();
    table.register(secs(0), &asker("10.0.0.7"), &["a"], 1);
    let almost = table.start + TTL - Duration::from_millis(30);
    table.run(TTL - Duration::from_millis(31));
    let mut due = table.registry.expire(almost);
    // Leases are looked at once, shortly before they are due.
    while due < table.start + TTL {
        assert_eq!(table.registry.leases(), 1);
        due = table.registry.expire(due);
    }
    assert_eq!(due, table.start + TTL);
}

#[test]
fn a_renewal_moves_the_deadline_and_is_told_from_news() {
    let mut table = Table::new();
    let server = asker("10.0.0.7");
    assert!(!table.renew(secs(0), &server, &["a"], 1), "nothing to renew");
    table.register(secs(0), &server, &["a", "b"], 1);
    assert!(table.renew(secs(100), &server, &["A", "b"], 1));
    assert!(!table.renew(secs(100), &server, &["a", "c"], 1), "c is new");
    assert!(!table.renew(secs(100), &server, &["a"], 2), "another port");
    assert!(!table.renew(secs(100), &asker("10.0.0.8"), &["a"], 1), "another host");
    assert!(table.renew(secs(100), &server, &[], 1), "no names, nothing to add");
    table.run(secs(339));
    assert_eq!(table.ports(&server, "a"), [1]);
    table.run(secs(340));
    assert!(table.query(&server, "a").is_empty());
    assert!(!table.renew(secs(341), &server, &["a"], 1), "an ended lease is not renewed");
}

#[test]
fn unregistering_ends_only_what_was_there() {
    let mut table = Table::new();
    let (one, other) = (asker("10.0.0.7"), asker("10.0.0.8"));
    table.register(secs(0), &one, &["a", "b"], 1);
    table.register(secs(0), &one, &["a"], 2);
    table.register(secs(0), &other, &["a"], 1);
    table.registry.unregister(table.start, &other, &Port::tcp(2).unwrap());
    assert_eq!(table.registry.leases(), 4, "no server registered that");
    table.registry.unregister(table.start, &one, &Port::tcp(1).unwrap());
    assert_eq!(table.list(&one, None), ["A"]);
    assert_eq!((table.registry.instances(), table.registry.leases()), (2, 2));
    // An unregistered lease leaves nothing behind to expire.
    table.run(secs(239));
    assert_eq!(table.registry.leases(), 2);
}

#[test]
fn time_that_the_registry_did_not_run_is_credited_to_every_lease() {
    let mut table = Table::new();
    let server = asker("10.0.0.7");
    table.register(secs(0), &server, &["early"], 1);
    table.run(secs(200));
    table.register(secs(200), &server, &["late"], 2);
    // The process stood still for five minutes: both leases would have ended in the meantime.
    table.wake(secs(500));
    assert_eq!(table.list(&server, None), ["EARLY", "LATE"]);
    table.run(secs(539));
    assert_eq!(table.list(&server, None), ["EARLY", "LATE"]);
    table.run(secs(541));
    assert_eq!(table.list(&server, None), ["LATE"]);
    table.run(secs(741));
    assert!(table.list(&server, None).is_empty());
}

#[test]
fn lateness_within_the_interval_is_not_credited() {
    let mut table = Table::new();
    let server = asker("10.0.0.7");
    table.register(secs(0), &server, &["a"], 1);
    let mut at = Duration::ZERO;
    // Every sweep is late, but never by more than an interval.
    while at < TTL + SWEEP_INTERVAL * 2 {
        let due = table.registry.expire(table.start + at) - table.start;
        at = due + SWEEP_INTERVAL;
    }
    table.registry.expire(table.start + at);
    assert!(table.query(&server, "a").is_empty());
}

#[test]
fn a_hundred_thousand_leases_that_end_at_once_all_end() {
    let mut table = Table::with_limits(Limits {
        instances_per_source: usize::MAX,
        registrations_per_source: usize::MAX,
        bytes_per_source: usize::MAX,
        legacy_bytes: usize::MAX,
        ..Limits::default()
    });
    for last in [7, 8] {
        let server = asker(&format!("10.0.0.{last}"));
        for port in 1..=50_000 {
            table.register(secs(0), &server, &["a"], port);
        }
    }
    assert_eq!(table.registry.leases(), 100_000);
    // So many expirations at once are held back for one more TTL.
    table.run(TTL);
    assert_eq!((table.registry.instances(), table.registry.leases()), (100_000, 100_000));
    table.run(2 * TTL);
    assert_eq!((table.registry.instances(), table.registry.leases()), (0, 0));
    assert!(table.list(&asker("10.0.0.7"), None).is_empty());
}

#[test]
fn loopback_is_never_told_to_another_machine() {
    let mut table = Table::new();
    table.register(secs(0), &asker("127.0.0.1"), &["a"], 1);
    assert_eq!(table.hosts(&asker("127.0.0.1"), "a"), ["127.0.0.1"]);
    assert_eq!(table.hosts(&asker("10.0.0.9"), "a"), ["10.0.0.1"], "the address that was asked");
    let here = Asker { is_here: true, ..asker("10.0.0.1") };
    assert_eq!(table.hosts(&here, "a"), ["127.0.0.1"], "an own address is this machine too");
    let unknown = Asker { reached: None, ..asker("10.0.0.9") };
    assert!(table.hosts(&unknown, "a").is_empty(), "better nothing than a wrong address");
}

#[test]
fn a_link_local_address_is_told_on_its_link_only() {
    let mut table = Table::new();
    let on_link = |link| Asker {
        host: Host::new("fe80::9".parse().unwrap(), link),
        link,
        transport: Transport::Udp6,
        arrival: Arrival::UNKNOWN,
        ..asker("10.0.0.9")
    };
    table.register(secs(0), &on_link(3), &["a"], 1);
    assert_eq!(table.hosts(&on_link(3), "a"), ["fe80::9"]);
    assert!(table.hosts(&on_link(4), "a").is_empty());
    let here = Asker { is_here: true, ..asker("::1") };
    assert_eq!(table.hosts(&here, "a"), ["fe80::9%3"], "here the zone is known");
    assert_eq!(table.list(&here, Some("fe80::9%3")), ["A"]);
}

#[test]
fn an_ipv4_address_on_an_ipv6_socket_is_ipv4() {
    let mut table = Table::new();
    let mapped = Asker { host: Host::new("::ffff:10.0.0.7".parse().unwrap(), 0), ..asker("::1") };
    table.register(secs(0), &mapped, &["a"], 1);
    assert_eq!(table.hosts(&mapped, "a"), ["10.0.0.7"]);
    assert!(table.renew(secs(1), &asker("10.0.0.7"), &["a"], 1));
}

#[test]
fn a_listing_of_a_host_matches_the_address_it_registered_from() {
    let mut table = Table::new();
    let (here, there) = (asker("127.0.0.1"), asker("10.0.0.7"));
    table.register(secs(0), &here, &["b", "a"], 1);
    table.register(secs(0), &there, &["c", "a"], 1);
    assert_eq!(table.list(&there, None), ["B", "A", "C"]);
    assert_eq!(table.list(&there, Some("127.0.0.1")), ["B", "A"]);
    assert_eq!(table.list(&there, Some("10.0.0.7")), ["A", "C"]);
    assert_eq!(table.list(&there, Some("::ffff:10.0.0.7")), ["A", "C"]);
    for nobody in ["10.0.0.1", "localhost", "x"] {
        assert!(table.list(&there, Some(nobody)).is_empty(), "{nobody}");
    }
}

#[test]
fn answers_go_round_and_stay_within_their_caps() {
    let mut table = Table::new();
    let there = asker("192.168.100.100");
    for port in 10_000..10_200 {
        table.register(secs(0), &there, &["many"], port);
    }
    for (transport, cap) in
        [(Transport::Udp4, 1472), (Transport::Udp6, 1452), (Transport::Tcp, 1500)]
    {
        let asker = Asker { transport, ..there };
        let mut firsts = BTreeSet::new();
        let mut told = BTreeSet::new();
        for answers in 1..=1000 {
            let mut buffer = Vec::new();
            let name = FoldedName::new("many").unwrap();
            let reply = table.answers.query(&table.directory, &name, &asker, &mut buffer).unwrap();
            assert!(reply.len() <= cap, "{} > {cap}", reply.len());
            assert!(reply.len() + 27 > cap, "{} leaves room under {cap}", reply.len());
            let endpoints = decode_endpoints(reply).unwrap();
            firsts.insert(endpoints[0].port.to_tcp().unwrap());
            told.extend(endpoints.into_iter().map(|endpoint| endpoint.port.to_tcp().unwrap()));
            assert!(
                told.len() == 200 || answers < 8,
                "{} instances in {answers} answers",
                told.len()
            );
        }
        assert_eq!(firsts.len(), 200, "each is first in its turn");
    }
}

/// Sends `answers` queries. Returns all ports of the answers, and those that came first in one.
fn ask_round(table: &Table, asker: &Asker, answers: usize) -> (BTreeSet<u16>, BTreeSet<u16>) {
    let (mut told, mut firsts) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..answers {
        let ports = table.ports(asker, "many");
        firsts.extend(ports.first());
        told.extend(ports);
    }
    (told, firsts)
}

#[test]
fn everybody_is_reached_and_first_in_turn_among_their_rank() {
    const TTL: Duration = secs(240);
    let there = asker("192.168.100.100");
    for transport in [Transport::Udp4, Transport::Udp6, Transport::Tcp] {
        let asker = Asker { transport, ..there };
        // The second number is how many renew; about 77 entries fit into an answer.
        for (instances, passing) in [(300, 0), (300, 1), (300, 50), (300, 200), (90, 70), (60, 20)]
        {
            let mut table = Table::new();
            let ports = 10_000..10_000 + instances;
            for port in ports.clone() {
                table.register(secs(0), &there, &["many"], port);
            }
            for port in ports.clone().take(passing) {
                assert!(table.renew(secs(200), &there, &["many"], port));
            }
            // The others are overdue, and most are kept because they are so many.
            table.run(TTL + secs(1));
            let kept = table.registry.instances();
            assert!(kept >= passing + 20, "{kept} of {instances}, {passing} passing");
            let (told, firsts) = ask_round(&table, &asker, 1000);
            assert_eq!(told.len(), kept, "{instances} instances, {passing} passing");
            let passing: BTreeSet<_> = ports.take(passing).collect();
            assert_eq!(firsts, if passing.is_empty() { told } else { passing.clone() });
            // Within an answer the passing instances come first.
            for _ in 0..10 {
                let ports = table.ports(&asker, "many");
                let is_passing: Vec<_> = ports.iter().map(|port| passing.contains(port)).collect();
                assert!(is_passing.is_sorted_by(|before, after| before >= after), "{ports:?}");
            }
        }
    }
}

#[test]
fn those_that_are_answered_last_take_turns_behind_the_others() {
    let there = asker("10.0.0.7");
    let mut table = Table::new();
    for port in 1..=100 {
        table.register(secs(0), &there, &["many"], port);
    }
    for port in 1..=3 {
        assert!(table.renew(secs(200), &there, &["many"], port));
    }
    table.run(secs(241));
    let next: BTreeSet<_> =
        (0..1000).filter_map(|_| table.ports(&there, "many").get(3).copied()).collect();
    assert_eq!(next.len(), table.registry.instances() - 3, "each is the first of them in its turn");
}

#[test]
fn the_first_place_goes_round_where_all_fit() {
    let mut table = Table::new();
    let there = asker("10.0.0.7");
    for port in 1..=3 {
        table.register(secs(0), &there, &["a"], port);
    }
    let answers: Vec<_> = (0..4).map(|_| table.ports(&there, "a")).collect();
    assert_eq!(answers, [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]);
}

#[test]
fn a_listing_that_does_not_fit_goes_on_where_the_last_one_stopped() {
    let mut table = Table::with_limits(Limits { names_per_instance: 3000, ..Limits::default() });
    let there = asker("10.0.0.7");
    let names: Vec<_> = (0..3000).map(|n| format!("SERVICE-{n:04}")).collect();
    table.register(secs(0), &there, &names.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    for (transport, cap) in
        [(Transport::Udp4, 15_000), (Transport::Udp6, 15_000), (Transport::Tcp, 1500)]
    {
        let asker = Asker { transport, ..there };
        let a_page = cap / 15;
        let mut told = BTreeSet::new();
        for _ in 0..=3000 / a_page + 1 {
            let page = table.list(&asker, None);
            assert!(page.len() >= a_page - 2, "{} names", page.len());
            told.extend(page);
        }
        assert_eq!(told.len(), 3000, "{transport:?}");
    }
}

#[test]
fn each_limit_holds_and_refuses_without_a_trace() {
    let limits = Limits {
        instances: 5,
        registrations: 8,
        names_per_instance: 3,
        instances_per_source: 2,
        name_bytes: 10,
        ..Limits::default()
    };
    let mut table = Table::with_limits(limits);
    let at = secs(0);
    let one = asker("10.0.0.7");
    assert!(matches!(
        table.try_register(at, &one, &["a", "b", "c", "d"], 1),
        Err(Refusal::TooManyNames { limit: 3 })
    ));
    assert!(matches!(
        table.try_register(at, &one, &["ok", "elevenbytes"], 1),
        Err(Refusal::NameTooLong { limit: 10 })
    ));
    assert_eq!(table.registry.leases(), 0, "nothing of a refused registration stays");
    table.register(at, &one, &["a", "b"], 1);
    assert!(matches!(
        table.try_register(at, &one, &["c", "d"], 1),
        Err(Refusal::TooManyNames { .. })
    ));
    table.register(at, &one, &["b", "c"], 1);
    table.register(at, &one, &["a"], 2);
    assert!(matches!(
        table.try_register(at, &one, &["a"], 3),
        Err(Refusal::TooManyInstancesOfSource { limit: 2, .. })
    ));
    table.register(at, &one, &["b"], 2);
    let here = asker("127.0.0.1");
    for port in 1..=3 {
        table.register(at, &here, &["a"], port);
    }
    assert!(matches!(
        table.try_register(at, &asker("10.0.0.8"), &["a"], 1),
        Err(Refusal::TooManyRegistrations { limit: 8 })
    ));
    table.registry.unregister(table.start, &one, &Port::tcp(1).unwrap());
    table.register(at, &asker("10.0.0.8"), &["a"], 1);
    assert!(matches!(
        table.try_register(at, &asker("10.0.0.9"), &["a"], 1),
        Err(Refusal::TooManyInstances { limit: 5 })
    ));
    assert!(table.renew(at, &one, &["a"], 2), "a full registry still renews");
}

#[test]
fn a_snapshot_tells_ages_and_times_left_page_by_page() {
    let start = Instant::now();
    let dispatcher = dispatcher(start, Listing::Everyone);
    let udp = asker("127.0.0.1");
    let tcp = Asker { transport: Transport::Tcp, ..udp };
    register(&dispatcher, start, &udp, &["a", "b"], 1);
    for port in 2..40 {
        register(&dispatcher, start + secs(10), &udp, &["b"], port);
    }
    register(&dispatcher, start + secs(30), &udp, &["a"], 1);
    let now = start + secs(100);
    let ask = |asker: &Asker, operation: Operation| {
        let mut request = native::Request::new(operation).to_bytes();
        request.resize(400, b' ');
        let mut buffer = Vec::new();
        let Outcome::Reply(bytes) = dispatcher.handle(now, asker, &request, &mut buffer) else {
            unreachable!("a question is answered")
        };
        if asker.transport == Transport::Udp4 {
            assert!(bytes.len() <= native::MAX_DATAGRAM);
        }
        native::Reply::parse(bytes).unwrap()
    };
    let all = ask(&tcp, Operation::list(None));
    assert_eq!((all.next, all.truncated), (None, false));
    let first = &all.services.as_ref().unwrap()[0];
    assert_eq!((first.name.as_str(), first.instances.len()), ("A", 1));
    let first = &first.instances[0];
    assert_eq!((first.age_ms, first.left_ms), (100_000, 170_000));
    assert_eq!((first.renewed_ms, first.ttl_ms), (Some(70_000), Some(240_000)));
    assert_eq!((first.state, first.legacy), (native::State::Passing, true));
    assert_eq!(all.services.as_ref().unwrap()[1].instances.len(), 39);

    let mut told = Vec::new();
    let mut question = Some(Operation::list(None));
    let mut pages = 0;
    while let Some(operation) = question {
        let page = ask(&udp, operation);
        for service in page.services.unwrap() {
            told.extend(service.instances.into_iter().map(|it| (service.name.clone(), it.port)));
        }
        assert_eq!(page.truncated, page.next.is_some());
        question = page.next.map(|place| Operation::list(None).going_on_after(place));
        pages += 1;
    }
    assert!(pages > 1);
    let expected: Vec<_> = all
        .services
        .unwrap()
        .into_iter()
        .flat_map(|it| it.instances.into_iter().map(move |one| (it.name.clone(), one.port)))
        .collect();
    assert_eq!(told, expected, "everything once, in order");

    assert_eq!(
        ask(&tcp, Operation::resolve("b")).services.as_ref().unwrap()[0].instances.len(),
        39
    );
    let page = ask(&udp, Operation::resolve("b"));
    assert_eq!((page.truncated, page.count), (true, Some(39)));
    assert!(ask(&tcp, Operation::list(Some("10.0.0.7"))).services.unwrap().is_empty());
}

fn register(dispatcher: &Dispatcher, at: Instant, from: &Asker, names: &[&str], port: u16) {
    let names: Vec<_> = names.iter().map(|name| ServiceName::new(name).unwrap()).collect();
    let (names, port) = (Names::from(&names[..]), Port::tcp(port).unwrap());
    let mut request = Vec::new();
    Request::Register { names, port }.encode(&mut request).unwrap();
    let mut buffer = Vec::new();
    let outcome = dispatcher.handle(at, from, &request, &mut buffer);
    assert!(matches!(outcome, Outcome::Deferred(..)));
}

#[test]
fn queries_and_renewals_are_served_without_allocation() {
    let start = Instant::now();
    let dispatcher = dispatcher(start, Listing::Everyone);
    let server = asker("10.0.0.7");
    let bytes = |request: Request<'_>| {
        let mut bytes = Vec::new();
        request.encode(&mut bytes).unwrap();
        bytes
    };
    let names = [ServiceName::new("a").unwrap(), ServiceName::new("b").unwrap()];
    let port = Port::tcp(18861).unwrap();
    let register = bytes(Request::Register { names: Names::from(&names[..]), port });
    let query = bytes(Request::Query { name: "a" });
    let mut buffer = Vec::new();
    dispatcher.handle(start, &server, &register, &mut buffer);
    // The answers share one buffer.
    dispatcher.handle(start, &server, &query, &mut buffer);
    for message in [&query, &register] {
        let counted = allocation_counter::measure(|| {
            let outcome = dispatcher.handle(start, &server, message, &mut buffer);
            assert!(matches!(outcome, Outcome::Reply(_) | Outcome::Deferred(..)));
        });
        assert_eq!(counted.count_total, 0, "{counted:?}");
    }
}

#[test]
fn no_answer_of_a_registry_is_answered_by_a_registry() {
    let start = Instant::now();
    let dispatcher = dispatcher(start, Listing::Nobody);
    let server = asker("10.0.0.7");
    let requests: [&[u8]; 10] = [
        b"\x12\x08\x0dRPYC\x08\x0e\x08REGISTER\x11\x10\x08\x0aA\x51",
        b"\x12\x08\x0dRPYC\x08\x0e\x05QUERY\x10\x08\x0aA",
        b"\x12\x08\x0dRPYC\x08\x0dLIST\x10\x10\x00",
        br#"{"v":1,"op":"list"}"#,
        br#"{"v":9,"op":"list"}"#,
        br#"{"v":1,"op":"resolve","name":"a"}"#,
        br#"{"v":1,"op":"register","names":["a"],"port":2,"id":7}"#,
        br#"{"v":1,"op":"ping"}"#,
        br#"{"v":1,"op":"drain","instance":1}"#,
        br#"{"v":1,"op":"of a later version"}"#,
    ];
    for request in requests {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let answer = match dispatcher.handle(start, &server, request, &mut first) {
            Outcome::Reply(bytes) | Outcome::Deferred(_, bytes) => bytes,
            other => unreachable!("{other:?}"),
        };
        // As if its source had been forged to be another registry.
        let echo = dispatcher.handle(start, &server, answer, &mut second);
        assert!(matches!(echo, Outcome::Refused(_)), "{answer:?} is answered by {echo:?}");
    }
    let mut buffer = Vec::new();
    let nonsense = dispatcher.handle(start, &server, b"{nonsense}", &mut buffer);
    assert!(matches!(nonsense, Outcome::Refused(Refusal::Native(_))));
}

#[test]
fn a_sweep_that_is_late_because_of_load_credits_nothing() {
    let mut table = Table::new();
    let server = asker("10.0.0.7");
    table.register(secs(0), &server, &["a"], 1);
    table.run(secs(10));
    // Other threads show that the process runs.
    let busy = 5 * SWEEP_INTERVAL;
    for beat in 1..=20 {
        let now = table.start + secs(10) + busy * beat / 20;
        assert_eq!(table.directory.is_alive(now, SWEEP_INTERVAL / 4), None);
    }
    table.registry.expire(table.start + secs(10) + busy);
    table.next_sweep = table.start + secs(10) + busy;
    table.run(TTL);
    assert!(table.query(&server, "a").is_empty(), "it ends at its TTL");
}

#[test]
fn each_of_many_short_stops_is_credited_once() {
    let mut table = Table::new();
    let server = asker("10.0.0.7");
    table.register(secs(0), &server, &["a"], 1);
    // The next sign that the process runs is due after that time.
    let due = SWEEP_INTERVAL / 4;
    let stop = Duration::from_millis(300);
    let (mut at, mut credited) = (secs(0), Duration::ZERO);
    for _ in 0..100 {
        at += stop;
        for now in [at, at, at - stop] {
            let now = table.start + now;
            credited += table.directory.is_alive(now, Duration::ZERO).unwrap_or_default();
        }
        table.registry.expire(table.start + at);
        table.directory.is_alive(table.start + at, due);
    }
    assert!((99 * (stop - due)..=100 * stop).contains(&credited), "{credited:?}");
    table.next_sweep = table.start + at;
    table.run(TTL + credited - secs(1));
    assert_eq!(table.ports(&server, "a"), [1]);
    table.run(TTL + credited + secs(1));
    assert!(table.query(&server, "a").is_empty());
}

#[test]
fn a_renewal_that_waited_through_a_stop_counts_from_its_arrival() {
    let mut table = Table::new();
    let server = asker("10.0.0.7");
    table.register(secs(0), &server, &["a"], 1);
    table.run(secs(10));
    let (arrived, resumed) = (secs(11), secs(110));
    table.directory.is_alive(table.start + resumed, Duration::ZERO).unwrap();
    let waited = Asker { arrival: Arrival::at(table.start + arrived), ..server };
    assert!(!table.renew(resumed, &waited, &["a"], 1), "the registry sees to it");
    table.register(resumed, &waited, &["a"], 1);
    table.registry.expire(table.start + resumed);
    table.next_sweep = table.start + resumed;
    table.run(arrived + TTL - secs(1));
    assert_eq!(table.ports(&server, "a"), [1]);
    table.run(arrived + TTL + secs(1));
    assert!(table.query(&server, "a").is_empty(), "the stop is not added to its TTL");
}

#[test]
fn losses_are_counted_for_the_ttl_of_their_leases() {
    // Protection needs 50 instances; one of a hundred dies every second and a half.
    let (ttl, count) = (secs(2), 100);
    let start = Instant::now();
    let config = TableConfig { ttl: secs(240), ..TableConfig::default() };
    let origin = Origin::empty(native::StoreId::new(1));
    let mut next = 0;
    let entropy = Box::new(move || {
        next += 1;
        next
    });
    let registry = Registry::new(start, config, Box::new(MemoryStore::new()), origin, entropy);
    let counters = Arc::new(Counters::new(start));
    let dispatcher = Dispatcher::new(start, registry, Access::default(), counters);
    let here = super::asker::at("127.0.0.1");
    let ask = |now: Instant, request: String| {
        let mut buffer = Vec::new();
        match dispatcher.handle(now, &here, request.as_bytes(), &mut buffer) {
            Outcome::Reply(bytes) | Outcome::Deferred(_, bytes) => {
                native::Reply::parse(bytes).unwrap()
            }
            other => unreachable!("{other:?}"),
        }
    };
    let register = |port: u32| {
        let ttl_ms = ttl.as_millis();
        let request =
            format!(r#"{{"v":1,"op":"register","names":["a"],"port":{port},"ttl_ms":{ttl_ms}}}"#);
        ask(start, request).lease.unwrap().lease
    };
    let leases: Vec<_> = (1..=count).map(register).collect();
    for step in 0..600_u32 {
        let now = start + Duration::from_millis(100) * step;
        let dead = usize::try_from(step / 15).unwrap();
        for lease in &leases[dead.min(leases.len())..] {
            let request = serde_json::json!({"v": 1, "op": "renew", "lease": lease});
            ask(now, request.to_string());
        }
        dispatcher.expire(now);
    }
    assert!(dispatcher.instances() <= 62, "{} of {count} are left", dispatcher.instances());
}
