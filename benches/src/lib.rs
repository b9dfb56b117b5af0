//! A registry's table with instances, queried through the dispatcher without the network.

pub mod costs;

use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::StoreId;
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_registry::{
    Access, Arrival, Asker, Counters, Dispatcher, Host, MemoryStore, Origin, Outcome, Registry,
    TableConfig, Transport,
};

/// Instances of each name.
pub const EACH: u32 = 5;

/// A dispatcher and requests that it answers.
#[derive(Debug)]
pub struct Table {
    dispatcher: Dispatcher,
    now: Instant,
    instances: u32,
    queries: Vec<Vec<u8>>,
    renewals: Vec<(Asker, Vec<u8>)>,
    answer: Vec<u8>,
}

impl Table {
    /// A table of `instances` instances, five of each name, with at most `requests` requests of
    /// each kind, evenly chosen.
    ///
    /// # Panics
    /// If an instance is rejected.
    #[must_use]
    pub fn new(instances: u32, requests: u32) -> Self {
        let now = Instant::now();
        let origin = Origin::empty(StoreId::new(1));
        let store = Box::new(MemoryStore::new());
        let registry = Registry::new(now, TableConfig::default(), store, origin, Box::new(|| 4));
        let counters = Arc::new(Counters::new(now));
        let dispatcher = Dispatcher::new(now, registry, Access::default(), counters);
        let answer = Vec::new();
        let mut table =
            Self { dispatcher, now, instances, queries: vec![], renewals: vec![], answer };
        for instance in 0..instances {
            table.register(instance);
        }
        let step = (instances / requests).max(1);
        for instance in (0..instances).step_by(step as usize) {
            let name = name(instance % names(instances));
            table.queries.push(bytes(&Request::Query { name: name.as_str() }));
            table.renewals.push((asker(instance), register(instances, instance)));
        }
        // Allocations of the first answer are not a cost of later ones.
        table.query_all();
        table.renew_all();
        table
    }

    /// Sends each query; returns how many there are.
    ///
    /// # Panics
    /// If one is not answered.
    pub fn query_all(&mut self) -> usize {
        let asker = asker(0);
        for query in &self.queries {
            let outcome = self.dispatcher.handle(self.now, &asker, query, &mut self.answer);
            assert!(matches!(outcome, Outcome::Reply(bytes) if bytes.len() > 1), "not answered");
        }
        self.queries.len()
    }

    /// Sends each renewal; returns how many there are.
    ///
    /// # Panics
    /// If one is not acknowledged.
    pub fn renew_all(&mut self) -> usize {
        for (asker, renewal) in &self.renewals {
            let outcome = self.dispatcher.handle(self.now, asker, renewal, &mut self.answer);
            assert!(matches!(outcome, Outcome::Deferred(..)), "not renewed");
        }
        self.renewals.len()
    }

    /// Registers an instance, which may be an additional one.
    ///
    /// # Panics
    /// If it is rejected.
    pub fn register(&mut self, instance: u32) {
        let request = register(self.instances, instance);
        let asker = asker(instance);
        let outcome = self.dispatcher.handle(self.now, &asker, &request, &mut self.answer);
        assert!(matches!(outcome, Outcome::Deferred(..)), "not registered");
    }

    /// Expires all leases, in as many sweeps as that takes; returns how many instances are left.
    #[must_use]
    pub fn expire_all(&self) -> usize {
        let mut now = self.now;
        let end = self.now + TableConfig::default().ttl * 4;
        while now < end && self.dispatcher.instances() > 0 {
            // The sweep asks to be called again at once if it has more to do.
            now = self.dispatcher.expire(now);
        }
        self.dispatcher.instances()
    }
}

/// The bytes of a query.
#[must_use]
pub fn query() -> Vec<u8> {
    bytes(&Request::Query { name: "SERVICE123" })
}

fn names(instances: u32) -> u32 {
    instances.div_ceil(EACH)
}

fn name(number: u32) -> ServiceName {
    ServiceName::new(&format!("SERVICE{number}")).expect("it is a name")
}

fn register(instances: u32, instance: u32) -> Vec<u8> {
    let names = [name(instance % names(instances))];
    let port = Port::tcp(18861).expect("it is a port");
    bytes(&Request::Register { names: Names::from(&names[..]), port })
}

fn bytes(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes).expect("it is short");
    bytes
}

/// The host of an instance. It is on this machine, so that no limit for other machines applies.
#[must_use]
pub fn asker(instance: u32) -> Asker {
    let [_, b, c, d] = instance.to_be_bytes();
    Asker {
        port: 1,
        host: Host::new([10, b, c, d].into(), 0),
        is_here: true,
        reached: None,
        link: 0,
        transport: Transport::Udp4,
        arrival: Arrival::at(Instant::now()),
    }
}
