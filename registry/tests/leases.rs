//! Leases of both kinds through pauses, restarts, draining and mass expiry, checked against the
//! promises of the documentation.
//!
//! The model does not say which overdue leases are kept as suspects. It checks rules that hold for
//! any choice of the registry: no server that renewed in time is lost, no lease outlives its bound,
//! and revisions only rise.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{Reply, Revision, State, StoreId};
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_registry::{
    Access, Asker, Counters, Dispatcher, Outcome, ProtectionPolicy, Registry, SWEEP_INTERVAL,
    TableConfig, Transport,
};
use serde_json::{Value, json};

use super::asker::neighbour as asker;
use super::disk::Disk;

/// The TTL of legacy leases.
const TTL: Duration = Duration::from_secs(10);
/// The least number of instances for protection.
const SAMPLE: usize = 4;
const NAMES: [&str; 3] = ["A", "B", "C"];

/// A server: the last byte of its address, and its port. Even addresses speak the legacy protocol.
type Place = (u8, u16);

fn is_native(place: Place) -> bool {
    place.0 % 2 == 1
}

#[derive(Clone, Debug)]
enum Transition {
    /// Registers, or renews in the legacy way.
    Register {
        place: Place,
        name: usize,
        ttl: Duration,
    },
    /// Renews in the native way.
    Renew {
        place: Place,
    },
    End {
        place: Place,
    },
    Drain {
        place: Place,
        is_draining: bool,
    },
    /// Time passes, and sweeps run when they are due.
    Run(Duration),
    /// The registry stands still for a while.
    Pause(Duration),
    /// The registry is killed and restarted after a while.
    Restart(Duration),
}

#[derive(Clone, Debug)]
struct Scenario;

impl ReferenceStateMachine for Scenario {
    type State = Self;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Transition> {
        let place = || (1u8..4, 1u16..4);
        let millis = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
        prop_oneof![
            8 => (place(), 0..NAMES.len(), millis(2_000..20_000))
                .prop_map(|(place, name, ttl)| Transition::Register { place, name, ttl }),
            8 => place().prop_map(|place| Transition::Renew { place }),
            1 => place().prop_map(|place| Transition::End { place }),
            1 => (place(), any::<bool>())
                .prop_map(|(place, is_draining)| Transition::Drain { place, is_draining }),
            6 => millis(0..8_000).prop_map(Transition::Run),
            1 => millis(0..60_000).prop_map(Transition::Pause),
            1 => millis(0..60_000).prop_map(Transition::Restart),
        ]
        .boxed()
    }

    fn apply(state: Self, _: &Transition) -> Self {
        state
    }
}

/// The state of one name as its server knows it.
#[derive(Clone, Debug)]
struct Lease {
    /// In lease time.
    deadline: Duration,
    ttl: Duration,
    /// It has not renewed since a restart.
    is_restored: bool,
}

#[derive(Clone, Debug, Default)]
struct Server {
    leases: BTreeMap<usize, Lease>,
    /// How it renews, if it is native.
    lease_id: Option<String>,
}

struct Table {
    start: Instant,
    /// Time since the start.
    now: Duration,
    /// The part of `now` that does not count because the registry did not run.
    credit: Duration,
    dispatcher: Dispatcher,
    next_sweep: Instant,
    /// The lease time of the last sweep.
    swept: Duration,
    disk: Disk,
    servers: BTreeMap<Place, Server>,
    /// What an operator has drained, whichever server is there.
    drained: BTreeSet<Place>,
    revision: Revision,
    /// The lease time since which there are too few instances for protection.
    small_since: Option<Duration>,
    random: u128,
}

/// The lease time at which every run starts, so that there is time before it.
const START: Duration = Duration::from_secs(1_000);

/// How long it takes to end the kept leases once protection has ended.
const SETTLING: Duration = SWEEP_INTERVAL.saturating_mul(10);

fn start_registry(now: Instant, disk: &Disk, seed: u128) -> Dispatcher {
    let origin = disk.origin();
    let protection = ProtectionPolicy { share: 0.4, sample: SAMPLE, evictions_per_sweep: 2 };
    let config = TableConfig { ttl: TTL, protection, ..TableConfig::default() };
    let mut random = seed;
    let entropy = Box::new(move || {
        random += 1;
        random
    });
    let registry = Registry::new(now, config, disk.store(), origin, entropy);
    let access = Access::default();
    Dispatcher::new(now, registry, access, Arc::new(Counters::new(now)))
}

impl Table {
    fn instant(&self) -> Instant {
        self.start + self.now
    }

    fn lease_time(&self) -> Duration {
        START + self.now - self.credit
    }

    fn ask(&self, from: &Asker, request: &Value) -> Reply {
        let mut buffer = Vec::new();
        let bytes = request.to_string();
        match self.dispatcher.handle(self.instant(), from, bytes.as_bytes(), &mut buffer) {
            Outcome::Reply(bytes) | Outcome::Deferred(_, bytes) => Reply::parse(bytes).unwrap(),
            other => unreachable!("{request} is answered by {other:?}"),
        }
    }

    fn register(&mut self, place: Place, name: usize, ttl: Duration) {
        let lease_time = self.lease_time();
        if is_native(place) {
            // A server keeps its names and its TTL while it runs.
            let server = self.servers.get(&place).cloned().unwrap_or_default();
            let ttl = server.leases.values().next().map_or(ttl, |lease| lease.ttl);
            let mut names: Vec<_> = server.leases.keys().map(|name| NAMES[*name]).collect();
            names.push(NAMES[name]);
            let request = json!({
                "v": 1, "op": "register", "names": names, "port": place.1,
                "ttl_ms": u64::try_from(ttl.as_millis()).unwrap(), "key": "a start",
            });
            let granted = self.ask(&asker(place.0), &request).lease.unwrap();
            let lease_id = serde_json::to_value(granted.lease).unwrap();
            let server = self.servers.entry(place).or_default();
            if server.lease_id.as_deref() != lease_id.as_str() {
                // The previous instance had ended, so its properties are gone.
                *server = Server {
                    lease_id: lease_id.as_str().map(str::to_owned),
                    leases: server.leases.clone(),
                };
            }
            let deadline = lease_time + ttl;
            server.leases.insert(name, Lease { deadline, ttl, is_restored: false });
            server.hear(lease_time);
        } else {
            let names = [ServiceName::new(NAMES[name]).unwrap()];
            let (names, port) = (Names::from(&names[..]), Port::tcp(place.1).unwrap());
            let mut request = Vec::new();
            Request::Register { names, port }.encode(&mut request).unwrap();
            let mut buffer = Vec::new();
            let outcome =
                self.dispatcher.handle(self.instant(), &asker(place.0), &request, &mut buffer);
            assert!(matches!(outcome, Outcome::Deferred(..)), "{outcome:?}");
            let server = self.servers.entry(place).or_default();
            let deadline = lease_time + TTL;
            server.leases.insert(name, Lease { deadline, ttl: TTL, is_restored: false });
        }
    }

    fn renew(&mut self, place: Place) {
        let lease_time = self.lease_time();
        let Some(server) = self.servers.get(&place) else { return };
        let Some(lease) = server.lease_id.clone() else { return };
        let request = json!({"v": 1, "op": "renew", "lease": lease});
        let reply = self.ask(&asker(place.0), &request);
        let server = self.servers.get_mut(&place).unwrap();
        if reply.lease.is_some() {
            server.hear(lease_time);
        } else {
            let is_overdue = server.leases.values().all(|lease| lease.deadline <= lease_time);
            assert!(is_overdue, "a live lease is unknown: {server:?} at {lease_time:?}");
            self.servers.remove(&place);
        }
    }

    fn end(&mut self, place: Place) {
        if self.servers.remove(&place).is_none() {
            return;
        }
        let host = format!("10.0.0.{}", place.0);
        let request = json!({"v": 1, "op": "deregister", "host": host, "port": place.1});
        self.ask(&operator(), &request);
    }

    fn drain(&mut self, place: Place, is_draining: bool) {
        if !self.servers.contains_key(&place) {
            return;
        }
        let (op, host) =
            (if is_draining { "drain" } else { "undrain" }, format!("10.0.0.{}", place.0));
        let request = json!({"v": 1, "op": op, "host": host, "port": place.1});
        if self.ask(&operator(), &request).changed.is_none() {
            self.servers.remove(&place);
        } else if is_draining {
            self.drained.insert(place);
        } else {
            self.drained.remove(&place);
        }
    }

    fn sweep(&mut self) {
        let late = self.instant().saturating_duration_since(self.next_sweep);
        if late > SWEEP_INTERVAL {
            self.credit += late;
        }
        self.swept = self.lease_time();
        loop {
            self.next_sweep = self.dispatcher.expire(self.instant());
            if self.next_sweep > self.instant() {
                return;
            }
        }
    }

    fn restart(&mut self) {
        self.random += 1 << 64;
        self.credit = Duration::ZERO;
        self.start += self.now;
        self.now = Duration::ZERO;
        self.small_since = None;
        self.dispatcher = start_registry(self.start, &self.disk, self.random);
        self.next_sweep = self.start + SWEEP_INTERVAL;
        let ran = self.swept - START;
        for lease in self.servers.values_mut().flat_map(|server| server.leases.values_mut()) {
            // The silence of the others is known, and goes on.
            let is_silent = lease.is_restored || lease.deadline <= self.swept;
            let before = START + lease.ttl + in_whole_millis(ran);
            let silence =
                if is_silent { before.saturating_sub(lease.deadline) } else { Duration::ZERO };
            lease.deadline = START + lease.ttl - in_whole_millis(silence);
            lease.is_restored = true;
        }
        self.swept = START;
    }

    fn check(&mut self) {
        let now = self.lease_time();
        let reply = self.ask(&operator(), &json!({"v": 1, "op": "list"}));
        let revision = reply.revision.unwrap();
        assert!(
            self.revision == revision || self.revision.is_before(revision),
            "{} after {}",
            revision,
            self.revision
        );
        self.revision = revision;
        let mut found = BTreeMap::new();
        for service in reply.services.unwrap() {
            let name = NAMES.iter().position(|name| *name == service.name).unwrap();
            for instance in service.instances {
                let last = instance.host.rsplit('.').next().unwrap().parse().unwrap();
                let key = (name, (last, instance.port.to_tcp().unwrap()));
                assert!(found.insert(key, instance).is_none(), "{key:?} twice");
            }
        }
        let mut instances: Vec<_> = found.values().map(|instance| instance.id).collect();
        instances.sort_unstable();
        instances.dedup();
        self.small_since = match self.small_since {
            _ if instances.len() >= SAMPLE => None,
            since => since.or(Some(now)),
        };
        let is_small = self.small_since.is_some_and(|since| now >= since + SETTLING);
        for (place, server) in &mut self.servers {
            let is_draining = self.drained.contains(place);
            server.leases.retain(|name, lease| {
                let told = found.remove(&(*name, *place));
                let state = told.as_ref().map(|instance| instance.state);
                let at = format!("{} of {place:?}, {lease:?}, at {now:?}", NAMES[*name]);
                if now < lease.deadline {
                    let expected = match (is_draining, lease.is_restored) {
                        (true, _) => State::Draining,
                        (false, true) => State::Suspect,
                        (false, false) => State::Passing,
                    };
                    assert_eq!(state, Some(expected), "{at}: alive");
                } else if now < lease.deadline + if is_small { SETTLING } else { lease.ttl } {
                    let is_held = matches!(state, None | Some(State::Suspect | State::Draining));
                    assert!(is_held, "{at}: overdue, and {state:?}");
                } else {
                    assert_eq!(state, None, "{at}: outlives its bound");
                }
                told.is_some()
            });
        }
        self.servers.retain(|_, server| !server.leases.is_empty());
        assert!(found.is_empty(), "no server registered {found:?}");
    }
}

/// The store counts in milliseconds.
fn in_whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap())
}

impl Server {
    /// All leases of a native server are renewed together.
    fn hear(&mut self, now: Duration) {
        for lease in self.leases.values_mut() {
            lease.deadline = lease.deadline.max(now + lease.ttl);
            lease.is_restored = false;
        }
    }
}

impl StateMachineTest for Table {
    type SystemUnderTest = Self;
    type Reference = Scenario;

    fn init_test(_: &Scenario) -> Self {
        let (start, disk) = (Instant::now(), Disk::default());
        Self {
            start,
            now: Duration::ZERO,
            credit: Duration::ZERO,
            dispatcher: start_registry(start, &disk, 0),
            next_sweep: start + SWEEP_INTERVAL,
            swept: START,
            disk,
            servers: BTreeMap::new(),
            drained: BTreeSet::new(),
            revision: Revision { store: StoreId::new(1), number: 0 },
            small_since: None,
            random: 0,
        }
    }

    fn apply(mut table: Self, _: &Scenario, transition: Transition) -> Self {
        match transition {
            Transition::Register { place, name, ttl } => table.register(place, name, ttl),
            Transition::Renew { place } => table.renew(place),
            Transition::End { place } => table.end(place),
            Transition::Drain { place, is_draining } => table.drain(place, is_draining),
            Transition::Run(duration) => {
                let end = table.now + duration;
                while table.next_sweep <= table.start + end {
                    table.now = table.now.max(table.next_sweep - table.start);
                    table.sweep();
                }
                table.now = end;
                table.sweep();
            }
            Transition::Pause(duration) => {
                table.now += duration;
                table.sweep();
            }
            Transition::Restart(duration) => {
                table.now += duration;
                table.restart();
            }
        }
        table.check();
        table
    }
}

fn operator() -> Asker {
    Asker { is_here: true, transport: Transport::Unix, ..asker(99) }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn the_table_keeps_what_it_promises(sequential 1..80 => Table);
}
