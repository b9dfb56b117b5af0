//! Tests that equal changes make equal tables, whichever table decided them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{Details, LeaseId, StoreId};
use rpyc_protocol::registry::{Names, Port};
use tokio::sync::watch;

use super::apply::Applied;
use super::plan::Plan;
use super::{Endpoint, NewInstance, Registry, Standing, TableConfig};
use crate::host::Host;
use crate::store::{Change, MemoryStore, NativeRecord, Origin, Progress, Record, Store, Ticket};
use crate::table::instance::{Instance, Mark};
use crate::table::{Arrival, Asker, Transport};

const NAMES: [&str; 3] = ["A", "B", "C"];

/// The request of a server at a host and port.
#[derive(Clone, Debug)]
enum Command {
    Register { name: usize },
    RegisterNative { name: usize, key: bool, is_exclusive: bool, zone: bool },
    Unregister,
    Drain(bool),
}

/// A command, and the last numbers of the host and the port of the server.
type Request = (u8, u16, Command);

fn command() -> impl Strategy<Value = Request> {
    let command = prop_oneof![
        (0..NAMES.len()).prop_map(|name| Command::Register { name }),
        (0..NAMES.len(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(name, key, is_exclusive, zone)| {
                Command::RegisterNative { name, key, is_exclusive, zone }
            }
        ),
        Just(Command::Unregister),
        any::<bool>().prop_map(Command::Drain),
    ];
    (1..3_u8, 1..3_u16, command)
}

/// Remembers the changes that it orders.
#[derive(Debug)]
struct Recorder {
    memory: MemoryStore,
    changes: Arc<Mutex<Vec<Change>>>,
}

impl Store for Recorder {
    fn kind(&self) -> &'static str {
        "recorder"
    }

    fn record(&mut self, change: Change) -> Ticket {
        self.changes.lock().unwrap().push(change.clone());
        self.memory.record(change)
    }

    fn last_ticket(&self) -> Ticket {
        self.memory.last_ticket()
    }

    fn reserve(&mut self, _: u64) {}

    fn ran(&mut self, _: Duration) {}

    fn progress(&self) -> watch::Receiver<Progress> {
        self.memory.progress()
    }
}

fn registry(now: Instant) -> (Registry, Arc<Mutex<Vec<Change>>>) {
    let changes = Arc::default();
    let store = Recorder { memory: MemoryStore::new(), changes: Arc::clone(&changes) };
    let mut random = 0;
    let entropy = Box::new(move || {
        random += 1;
        random
    });
    let config = TableConfig { ttl: Duration::from_secs(10), ..TableConfig::default() };
    let origin = Origin::empty(StoreId::new(1));
    (Registry::new(now, config, Box::new(store), origin, entropy), changes)
}

fn asker(host: u8) -> Asker {
    Asker {
        port: 1,
        host: Host::new([10, 0, 0, host].into(), 0),
        is_here: false,
        reached: None,
        link: 0,
        transport: Transport::Tcp,
        arrival: Arrival::UNKNOWN,
    }
}

fn port(number: u16) -> Port {
    Port::tcp(number).unwrap()
}

fn new_instance(now: Instant, host: u8, number: u16, command: &Command) -> Option<NewInstance> {
    let Command::RegisterNative { name, key, is_exclusive, zone } = command else { return None };
    let zone = zone.then(|| "eu".to_owned());
    Some(NewInstance {
        names: vec![ServiceName::new(NAMES[*name]).unwrap()],
        endpoint: Endpoint { host: asker(host).host, port: port(number) },
        addresses: Vec::new(),
        ttl: None,
        key: key.then(|| "key".into()),
        is_exclusive: *is_exclusive,
        details: Details { zone, ..Details::default() },
        standing: Standing { is_holder: true, sent_after: now, replaces: None },
    })
}

/// The properties of each instance of a table, by its number.
fn said(table: &Registry) -> BTreeMap<u64, String> {
    let mut said = BTreeMap::new();
    table.directory.visit(|leases| {
        for lease in leases {
            let instance: &Instance = &lease.instance;
            let of_instance = table.leases_of(&lease.instance);
            let names: BTreeSet<_> = of_instance.iter().map(|it| it.service.as_str()).collect();
            let lease = instance.native.as_ref().map(|native| native.lease);
            let is_draining = instance.has(Mark::Draining);
            let marks = (instance.has(Mark::Held), instance.has(Mark::Exclusive));
            let zone = instance.details().zone.clone();
            let endpoint = (instance.host, &instance.port);
            let text = format!("{endpoint:?} {names:?} {lease:?} {zone:?} {is_draining} {marks:?}");
            said.insert(instance.id, text);
        }
    });
    assert_eq!(said.len(), table.instances());
    said
}

/// Makes the changes that another table has made, in their order.
fn follow(table: &mut Registry, now: Instant, log: &[(Ticket, Change)]) {
    for (ticket, change) in log {
        table.apply(now, *ticket, change, &mut Applied::default());
    }
}

proptest! {
    #[test]
    fn a_table_is_a_function_of_the_changes_that_it_has_applied(
        history in prop::collection::vec((command(), 0..4_u64), 0..60),
    ) {
        let start = Instant::now();
        let (mut deciding, changes) = registry(start);
        let mut now = start;
        for ((host, number, command), seconds) in &history {
            now += Duration::from_secs(*seconds);
            let asker = asker(*host);
            match command {
                Command::Register { name } => {
                    let names = [ServiceName::new(NAMES[*name]).unwrap()];
                    let names = Names::from(&names[..]);
                    // The name may be taken.
                    let _ = deciding.register(now, &asker, names, &port(*number));
                }
                Command::RegisterNative { .. } => {
                    let new = new_instance(now, *host, *number, command).unwrap();
                    // The name may be taken.
                    let _ = deciding.register_native(now, &asker, new);
                }
                Command::Unregister => {
                    deciding.unregister(now, &asker, &port(*number));
                }
                Command::Drain(is_draining) => {
                    let held = deciding.directory.held(&asker.host, &port(*number));
                    if let Some(lease) = held.first() {
                        let target = rpyc_protocol::registry::native::Target {
                            instance: Some(lease.instance.id),
                            ..Default::default()
                        };
                        deciding.drain(now, &target, *is_draining).unwrap();
                    }
                }
            }
            // Leases that are not renewed end in between.
            while deciding.expire(now) <= now {}
        }
        let log: Vec<_> = changes.lock().unwrap().drain(..).enumerate().collect();
        let (mut following, _) = registry(start);
        for (number, change) in log {
            let ticket = Ticket::new(number as u64 + 1);
            following.apply(now, ticket, &change, &mut Applied::default());
        }
        prop_assert_eq!(said(&following), said(&deciding));
        let count = |table: &Registry| (table.instances(), table.leases(), table.services());
        prop_assert_eq!(count(&following), count(&deciding));
    }

    /// Several tables decide at once, each from the changes that it has seen so far. One order of
    /// all plans applies those whose conditions still hold.
    #[test]
    fn plans_that_race_are_taken_as_if_one_table_had_decided_them(
        steps in prop::collection::vec((0..3_usize, 0..3_u8, command()), 0..80),
    ) {
        let now = Instant::now();
        let mut members: Vec<_> = (0..3).map(|_| (registry(now).0, 0)).collect();
        let (mut all, _) = registry(now);
        let mut log: Vec<(Ticket, Change)> = Vec::new();
        let mut waiting: Vec<Plan> = Vec::new();
        for (which, step, (host, number, command)) in steps {
            let (member, seen) = &mut members[which];
            match step {
                0 => {
                    follow(member, now, &log[*seen..]);
                    *seen = log.len();
                }
                1 if !waiting.is_empty() => {
                    let plan = waiting.remove(which % waiting.len());
                    let is_right = plan.conditions.iter().all(|condition| all.holds(condition));
                    for change in plan.changes.into_iter().filter(|_| is_right) {
                        let ticket = Ticket::new(log.len() as u64 + 1);
                        all.apply(now, ticket, &change, &mut Applied::default());
                        log.push((ticket, change));
                    }
                }
                _ => waiting.extend(decide(member, now, host, number, &command)),
            }
            all.check_consistent();
        }
        for (member, seen) in &mut members {
            follow(member, now, &log[*seen..]);
            prop_assert_eq!(said(member), said(&all));
        }
    }
}

/// The plan that a table decides.
fn decide(
    table: &Registry,
    now: Instant,
    host: u8,
    number: u16,
    command: &Command,
) -> Option<Plan> {
    let (asker, port) = (asker(host), port(number));
    let held = table.directory.held(&asker.host, &port);
    match command {
        Command::Register { name } => {
            let names = [ServiceName::new(NAMES[*name]).unwrap()];
            let names = Names::from(&names[..]);
            table.decide_registration(now, &asker, names, &port).ok().map(|decision| decision.plan)
        }
        Command::RegisterNative { .. } => {
            let new = new_instance(now, host, number, command)?;
            // A lease id that no other plan has.
            let lease = LeaseId::new(u128::from(table.next_instance) << 8 | u128::from(host));
            table.decide_native(now, &asker, lease, new, &held).ok()
        }
        Command::Unregister => {
            let legacy: Vec<_> =
                held.into_iter().filter(|lease| lease.instance.is_legacy()).collect();
            Some(table.plan_end(&legacy))
        }
        Command::Drain(is_draining) => {
            let instance = &held.first()?.instance;
            let record = Record { is_draining: *is_draining, ..table.record_of(instance) };
            let mut plan = Plan::default();
            plan.put(Some(instance), record);
            Some(plan)
        }
    }
}

impl Registry {
    /// At each endpoint there is at most one instance of each kind, and every instance has its own
    /// number.
    fn check_consistent(&self) {
        let mut places = BTreeMap::new();
        self.directory.visit(|leases| {
            for lease in leases {
                let Instance { id, host, port, .. } = &*lease.instance;
                let endpoint = (host.to_string(), format!("{port:?}"), lease.instance.is_legacy());
                let known = places.entry(endpoint).or_insert(*id);
                assert_eq!(known, id, "two instances at one endpoint");
            }
        });
    }
}

#[test]
fn a_record_becomes_an_instance_and_the_same_record_again() {
    let now = Instant::now();
    let (mut table, _) = registry(now);
    let native = NativeRecord {
        lease: LeaseId::new(7),
        registrant: asker(1).host,
        key: Some("key".into()),
        ttl_ms: 5_000,
        addresses: vec!["10.0.0.1:1".parse().unwrap()],
        is_exclusive: true,
        details: Details { zone: Some("eu".into()), ..Details::default() },
    };
    let record = Record {
        names: ["A", "B"].map(|name| ServiceName::new(name).unwrap()).into(),
        is_draining: true,
        native: Some(native),
        ..Record::legacy(9, asker(1).host, &port(1), 0)
    };
    let mut applied = Applied::default();
    let change = Change::Put(Box::new(record.clone()));
    table.apply(now, Ticket::new(1), &change, &mut applied);
    assert_eq!((applied.added.len(), applied.updated.len(), applied.removed.len()), (2, 0, 0));
    assert_eq!(table.record_of(&applied.added[0].instance), record);
    let mut again = Applied::default();
    table.apply(now, Ticket::new(2), &change, &mut again);
    assert!(again.added.is_empty() && again.updated.is_empty() && again.removed.is_empty());
    assert_eq!(applied.added[0].ticket(), Ticket::new(2));
}
