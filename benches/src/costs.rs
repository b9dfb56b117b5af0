//! The dearest requests of each kind, to a table that was filled to make them dear.

use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::StoreId;
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_registry::{
    Access, Arrival, Asker, Counters, Dispatcher, Host, Limits, Listing, MemoryStore, Origin,
    Outcome, Registry, TableConfig, Transport,
};

/// Instances of the crowded name, and names of the crowded list.
pub const CROWD: u16 = 10_000;

/// A request, and the most instructions that serving it may take.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The kind of request, without spaces.
    pub name: &'static str,
    /// The most instructions.
    pub limit: u64,
    request: &'static str,
    is_over_tcp: bool,
}

const fn cost(name: &'static str, limit: u64, request: &'static str) -> Cost {
    Cost { name, limit, request, is_over_tcp: true }
}

/// The dearest requests of each kind. In `request`, `QUERY` and `LIST` stand for RPyC's requests,
/// and `LEASE` for a lease.
pub const COSTS: &[Cost] = &[
    Cost { is_over_tcp: false, ..cost("query-out-of-reach", 600_000, "QUERY") },
    Cost { is_over_tcp: false, ..cost("list", 4_000_000, "LIST") },
    cost("resolve-without-match", 8_000_000, r#"{"v":1,"op":"resolve","name":"many","zone":"x"}"#),
    cost("resolve", 8_000_000, r#"{"v":1,"op":"resolve","name":"many"}"#),
    cost("list-without-match", 8_000_000, r#"{"v":1,"op":"list","glob":"*x*x*x*x*y"}"#),
    cost("list-native", 8_000_000, r#"{"v":1,"op":"list"}"#),
    cost("describe-lease", 400_000, r#"{"v":1,"op":"describe","lease":"LEASE"}"#),
    cost("describe-number", 400_000, r#"{"v":1,"op":"describe","instance":9999}"#),
    cost("status", 400_000, r#"{"v":1,"op":"status"}"#),
    cost(
        "register-refused",
        400_000,
        r#"{"v":1,"op":"register","names":["many"],"port":9,"exclusive":true}"#,
    ),
    cost("renew", 400_000, r#"{"v":1,"op":"renew","lease":"LEASE"}"#),
];

/// A crowded table: [`CROWD`] instances of `MANY`, as many of `AWAY` that only another link can
/// reach, and as many names.
#[derive(Debug)]
pub struct Crowded {
    dispatcher: Dispatcher,
    now: Instant,
    lease: String,
}

impl Crowded {
    /// Fills a table.
    ///
    /// # Panics
    /// If a registration is rejected.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::now();
        let origin = Origin::empty(StoreId::new(1));
        let limits = Limits { requests_per_second: 0, ..Limits::default() };
        let config = TableConfig { limits, ..TableConfig::default() };
        let registry = Registry::new(now, config, Box::new(MemoryStore::new()), origin, entropy());
        let access = Access { listing: Listing::Everyone, ..Access::default() };
        let dispatcher = Dispatcher::new(now, registry, access, Arc::new(Counters::new(now)));
        let mut table = Self { dispatcher, now, lease: String::new() };
        for number in 1..=CROWD {
            let [high, low] = number.to_be_bytes();
            let near = asker([10, 7, high, low].into(), 0, true);
            table.register(&near, "MANY", 1);
            table.register(&near, &format!("NAME{number}"), 1);
            let away = format!("fe80::{number:x}").parse().expect("it is an address");
            table.register(&asker(away, 3, true), "AWAY", 1);
        }
        let here = asker([127, 0, 0, 1].into(), 0, true);
        let here = Asker { is_here: true, ..here };
        let register = br#"{"v":1,"op":"register","names":["native"],"port":7}"#;
        let reply = table.ask(&here, register);
        let reply = rpyc_protocol::registry::native::Reply::parse(&reply).expect("it is a reply");
        let lease = reply.lease.expect("it is granted").lease;
        table.lease = serde_json::to_string(&lease).expect("it is a text").replace('"', "");
        table
    }

    fn register(&self, from: &Asker, name: &str, port: u16) {
        let names = [ServiceName::new(name).expect("it is a name")];
        let port = Port::tcp(port).expect("it is a port");
        let mut request = Vec::new();
        let register = Request::Register { names: Names::from(&names[..]), port };
        register.encode(&mut request).expect("it is short");
        let mut buffer = Vec::new();
        let outcome = self.dispatcher.handle(self.now, from, &request, &mut buffer);
        assert!(matches!(outcome, Outcome::Deferred(..)), "{outcome:?}");
    }

    /// The bytes of a request.
    ///
    /// # Panics
    /// Never: the requests are short.
    #[must_use]
    pub fn request(&self, cost: &Cost) -> Vec<u8> {
        let mut bytes = Vec::new();
        let legacy = match cost.request {
            "QUERY" => Some(Request::Query { name: "AWAY" }),
            "LIST" => Some(Request::List { host: None }),
            _ => None,
        };
        match legacy {
            Some(request) => request.encode(&mut bytes).expect("it is short"),
            None => bytes.extend(cost.request.replace("LEASE", &self.lease).bytes()),
        }
        bytes
    }

    /// Serves a request; returns the bytes of the answer.
    ///
    /// # Panics
    /// If it is not answered.
    #[must_use]
    pub fn serve(&self, cost: &Cost, request: &[u8]) -> usize {
        self.ask(&asker([10, 0, 0, 9].into(), 2, cost.is_over_tcp), request).len()
    }

    fn ask(&self, asker: &Asker, request: &[u8]) -> Vec<u8> {
        match self.dispatcher.handle(self.now, asker, request, &mut Vec::new()) {
            Outcome::Reply(bytes) | Outcome::Deferred(_, bytes) => bytes.to_vec(),
            other => unreachable!("{other:?}"),
        }
    }
}

impl Default for Crowded {
    fn default() -> Self {
        Self::new()
    }
}

fn entropy() -> rpyc_registry::Entropy {
    let mut next = 0;
    Box::new(move || {
        next += 1;
        next
    })
}

fn asker(ip: std::net::IpAddr, link: u32, is_over_tcp: bool) -> Asker {
    Asker {
        host: Host::new(ip, link),
        port: 1,
        is_here: false,
        reached: None,
        link,
        transport: if is_over_tcp { Transport::Tcp } else { Transport::Udp4 },
        arrival: Arrival::UNKNOWN,
    }
}
