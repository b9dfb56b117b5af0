//! The table against the simplest correct model: a map with deadlines.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use rpyc_protocol::registry::native::StoreId;
use rpyc_protocol::registry::reply::{decode_endpoints, decode_names};
use rpyc_protocol::registry::{Names, Port};
use rpyc_protocol::{FoldedName, ServiceName};
use rpyc_registry::{
    Directory, LegacyAnswers, Limits, MemoryStore, Origin, Registry, Renewal, SWEEP_INTERVAL,
    TableConfig,
};

use super::asker::neighbour_by_udp as asker;

const TTL: Duration = Duration::from_secs(10);
const NAMES: [&str; 4] = ["A", "B", "C", "D"];
const NAMES_PER_INSTANCE: usize = 3;
const INSTANCES: usize = 5;

type Place = (u8, u16);

#[derive(Clone, Debug)]
enum Transition {
    /// Registers or renews.
    Register {
        place: Place,
        names: BTreeSet<usize>,
    },
    Unregister {
        place: Place,
    },
    /// Time passes, and sweeps run when they are due.
    Run(Duration),
    /// The registry stands still for a while.
    Pause(Duration),
}

/// The model.
#[derive(Clone, Debug, Default)]
struct Model {
    now: Duration,
    /// The part of `now` that does not count because the registry did not run.
    credit: Duration,
    leases: BTreeMap<(usize, Place), Duration>,
}

impl Model {
    fn lease_time(&self) -> Duration {
        self.now - self.credit
    }

    fn places(&self) -> BTreeSet<Place> {
        self.leases.keys().map(|(_, place)| *place).collect()
    }

    fn register(&mut self, place: Place, names: &BTreeSet<usize>) {
        let held = || self.leases.keys().filter(|(_, at)| *at == place).map(|(name, _)| *name);
        let is_full = self.places().len() >= INSTANCES;
        let is_refused = held().chain(names.iter().copied()).collect::<BTreeSet<_>>().len()
            > NAMES_PER_INSTANCE
            || (held().count() == 0 && is_full && !names.is_empty());
        if !is_refused {
            let deadline = self.lease_time() + TTL;
            self.leases.extend(names.iter().map(|name| ((*name, place), deadline)));
        }
    }

    fn expire(&mut self) {
        let now = self.lease_time();
        self.leases.retain(|_, deadline| *deadline > now);
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Transition> {
        let place = (1u8..4, 1u16..4);
        let millis = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
        prop_oneof![
            6 => (place.clone(), prop::collection::btree_set(0..NAMES.len(), 0..=NAMES.len()))
                .prop_map(|(place, names)| Transition::Register { place, names }),
            2 => place.prop_map(|place| Transition::Unregister { place }),
            4 => millis(0..6000).prop_map(Transition::Run),
            1 => millis(0..60_000).prop_map(Transition::Pause),
        ]
        .boxed()
    }

    fn apply(mut state: Self, transition: &Transition) -> Self {
        match transition {
            Transition::Register { place, names } => state.register(*place, names),
            Transition::Unregister { place } => state.leases.retain(|(_, at), _| at != place),
            // The credit depends on when the next sweep was due, which the table reports.
            Transition::Run(_) | Transition::Pause(_) => {}
        }
        state
    }
}

/// The table, and a second model that follows time, because pauses need it.
struct Table {
    start: Instant,
    registry: Registry,
    directory: Arc<Directory>,
    answers: LegacyAnswers,
    next_sweep: Instant,
    model: Model,
}

impl Table {
    fn now(&self) -> Instant {
        self.start + self.model.now
    }

    fn sweep(&mut self) {
        self.next_sweep = self.registry.expire(self.now());
    }

    fn check(&self) {
        let asker = asker(9);
        for (index, name) in NAMES.iter().enumerate() {
            let mut buffer = Vec::new();
            let folded = FoldedName::new(name).unwrap();
            let reply = self.answers.query(&self.directory, &folded, &asker, &mut buffer).unwrap();
            let endpoints = decode_endpoints(reply).unwrap();
            let found: BTreeSet<_> =
                endpoints.iter().map(|it| (it.host.clone(), it.port.to_tcp().unwrap())).collect();
            assert_eq!(found.len(), endpoints.len(), "an endpoint twice");
            let expected = self.model.leases.keys().filter(|(at, _)| *at == index);
            let expected: BTreeSet<_> =
                expected.map(|(_, (host, port))| (format!("10.0.0.{host}"), *port)).collect();
            assert_eq!(found, expected, "{name} at {:?}", self.model.now);
        }
        let mut buffer = Vec::new();
        let listed = self.answers.list(&self.directory, None, &asker, &mut buffer).unwrap();
        let listed: BTreeSet<_> = decode_names(listed).unwrap().unwrap().into_iter().collect();
        let expected = self.model.leases.keys().map(|(name, _)| NAMES[*name].to_owned());
        assert_eq!(listed, expected.collect());
        assert_eq!(self.registry.leases(), self.model.leases.len());
        assert_eq!(self.registry.instances(), self.model.places().len());
    }
}

impl StateMachineTest for Table {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        let start = Instant::now();
        let limits = Limits {
            names_per_instance: NAMES_PER_INSTANCE,
            instances: INSTANCES,
            ..Limits::default()
        };
        let config = TableConfig { ttl: TTL, limits, ..TableConfig::default() };
        let origin = Origin::empty(StoreId::new(1));
        let store = Box::new(MemoryStore::new());
        let registry = Registry::new(start, config, store, origin, Box::new(|| 4));
        let directory = registry.directory();
        let next_sweep = start + SWEEP_INTERVAL;
        Self {
            start,
            registry,
            directory,
            answers: LegacyAnswers::default(),
            next_sweep,
            model: Model::default(),
        }
    }

    fn apply(mut table: Self, _: &Model, transition: Transition) -> Self {
        match transition {
            Transition::Register { place, names } => {
                let (host, port) = (asker(place.0), Port::tcp(place.1).unwrap());
                let texts: Vec<_> =
                    names.iter().map(|name| ServiceName::new(NAMES[*name]).unwrap()).collect();
                let texts = || Names::from(&texts[..]);
                let now = table.now();
                // As the dispatcher does: renew if the directory can, otherwise ask the registry.
                if table.directory.renew(now, &host, &port, texts()) == Renewal::ForTheRegistry {
                    let _ = table.registry.register(now, &host, texts(), &port);
                }
                table.model.register(place, &names);
            }
            Transition::Unregister { place } => {
                table.registry.unregister(
                    table.now(),
                    &asker(place.0),
                    &Port::tcp(place.1).unwrap(),
                );
                table.model.leases.retain(|(_, at), _| *at != place);
            }
            Transition::Run(duration) => {
                let end = table.model.now + duration;
                while table.next_sweep <= table.start + end {
                    table.model.now = table.model.now.max(table.next_sweep - table.start);
                    table.sweep();
                    table.model.expire();
                }
                table.model.now = end;
            }
            Transition::Pause(duration) => {
                table.model.now += duration;
                let late = table.now().saturating_duration_since(table.next_sweep);
                if late > SWEEP_INTERVAL {
                    table.model.credit += late;
                }
                table.sweep();
                table.model.expire();
            }
        }
        table
    }

    fn check_invariants(table: &Self, _: &Model) {
        table.check();
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn the_table_does_what_the_model_does(sequential 1..60 => Table);
}
