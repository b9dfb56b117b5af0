//! The requests of a host take effect in the order of arrival, whatever the order in which the
//! sockets of a registry are served.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rpyc_protocol::registry::native::StoreId;
use rpyc_protocol::registry::reply::decode_endpoints;
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_protocol::{FoldedName, ServiceName};
use rpyc_registry::{
    Access, Arrival, Asker, Counters, Dispatcher, LegacyAnswers, MemoryStore, Origin, Outcome,
    Registry, TableConfig, Transport,
};

use super::asker::neighbour_by_udp as asker;

const HOSTS: u8 = 4;
const PORTS: u16 = 2;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// A request of a host.
#[derive(Clone, Debug)]
enum Command {
    Register { name: usize, port: u16 },
    Unregister { port: u16 },
}

/// A registry without sockets.
struct World {
    start: Instant,
    dispatcher: Dispatcher,
}

impl World {
    fn new(start: Instant) -> Self {
        let (store, origin) = (Box::new(MemoryStore::new()), Origin::empty(StoreId::new(1)));
        let registry = Registry::new(start, TableConfig::default(), store, origin, Box::new(|| 4));
        let counters = Arc::new(Counters::new(start));
        Self { start, dispatcher: Dispatcher::new(start, registry, Access::default(), counters) }
    }

    /// Serves a request at `now` with the given arrival.
    fn serve(
        &self,
        now: Duration,
        host: u8,
        transport: Transport,
        arrival: Arrival,
        command: &Command,
    ) {
        let asker = Asker { transport, arrival, ..asker(host) };
        let mut request = Vec::new();
        let (names, port);
        match command {
            Command::Register { name, port: number } => {
                names = [ServiceName::new(NAMES[*name]).unwrap()];
                port = Port::tcp(*number).unwrap();
                Request::Register { names: Names::from(&names[..]), port }
            }
            Command::Unregister { port: number } => {
                Request::Unregister { port: Port::tcp(*number).unwrap() }
            }
        }
        .encode(&mut request)
        .unwrap();
        let mut buffer = Vec::new();
        let outcome = self.dispatcher.handle(self.start + now, &asker, &request, &mut buffer);
        assert!(matches!(outcome, Outcome::Deferred(..)), "{outcome:?}");
    }

    /// The instances found under each name.
    fn found(&self) -> Vec<BTreeSet<String>> {
        let found = |name: &&str| {
            let (mut buffer, name) = (Vec::new(), FoldedName::new(name).unwrap());
            let directory = self.dispatcher.directory();
            let answers = LegacyAnswers::default();
            let reply = answers.query(directory, &name, &asker(99), &mut buffer).unwrap();
            let endpoints = decode_endpoints(reply).unwrap();
            endpoints.into_iter().map(|endpoint| endpoint.to_string()).collect()
        };
        NAMES.iter().map(found).collect()
    }
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (0..NAMES.len(), 1..=PORTS).prop_map(|(name, port)| Command::Register { name, port }),
        (1..=PORTS).prop_map(|port| Command::Unregister { port }),
    ]
}

const fn micros(micros: usize) -> Duration {
    Duration::from_micros(micros as u64)
}

proptest! {
    /// Each socket serves its hosts in the order of arrival, whenever its thread gets a processor.
    #[test]
    fn how_the_sockets_are_served_among_themselves_changes_nothing(
        history in prop::collection::vec((0..HOSTS, command()), 0..60),
        sockets in 1..=3_u8,
        mut turns in prop::collection::vec(0..3_usize, 60),
    ) {
        let start = Instant::now();
        let (in_order, by_socket) = (World::new(start), World::new(start));
        let arrival = |at| Arrival::at(start + micros(at));
        for (at, (host, command)) in history.iter().enumerate() {
            in_order.serve(micros(at), *host, Transport::Udp4, arrival(at), command);
        }
        let mut queues: Vec<_> = (0..sockets)
            .map(|socket| {
                let mut queue: Vec<_> = history.iter().enumerate().collect();
                queue.retain(|(_, (host, _))| host % sockets == socket);
                queue.into_iter()
            })
            .collect();
        let (mut served, late) = (0, history.len());
        while served < history.len() {
            let which = turns.pop().unwrap_or(served) % queues.len();
            let next = queues[which].next();
            let next = next.or_else(|| queues.iter_mut().find_map(Iterator::next));
            let (at, (host, command)) = next.unwrap();
            by_socket.serve(micros(late + served), *host, Transport::Udp4, arrival(at), command);
            served += 1;
        }
        prop_assert_eq!(by_socket.found(), in_order.found());
    }

    /// Over two transports, of which one may lag far behind, the UNREGISTER of an earlier server
    /// does not end a later registration.
    #[test]
    fn a_late_unregistration_ends_nothing_that_arrived_after_it(
        (ended_at, registered_at) in (0..50_usize, 0..50_usize),
        ends_over_tcp in any::<bool>(),
        registers_over_tcp in any::<bool>(),
        is_known in any::<bool>(),
    ) {
        let start = Instant::now();
        let world = World::new(start);
        let by = |over_tcp, at| {
            let at = start + micros(10 + at);
            match over_tcp {
                true => (Transport::Tcp, Arrival::over_connection(at, at)),
                false => (Transport::Udp4, Arrival::at(at)),
            }
        };
        let registration = Command::Register { name: 1, port: 1 };
        if is_known {
            // The other registration is then a renewal.
            world.serve(micros(5), 1, Transport::Udp4, Arrival::at(start + micros(5)), &registration);
        }
        let (transport, arrival) = by(registers_over_tcp, registered_at);
        world.serve(micros(100), 1, transport, arrival, &registration);
        let (transport, arrival) = by(ends_over_tcp, ended_at);
        world.serve(micros(101), 1, transport, arrival, &Command::Unregister { port: 1 });
        let is_found = !world.found()[1].is_empty();
        prop_assert_eq!(is_found, ended_at < registered_at);
    }
}
