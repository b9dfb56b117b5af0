//! Any datagrams, from any host, at any time: every answer is within its cap and every lease can
//! end.
#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use rpyc_protocol::registry::native::StoreId;
use rpyc_registry::{
    Access, Arrival, Asker, Counters, Dispatcher, Host, Limits, Listing, MemoryStore, Origin,
    Outcome, ProtectionPolicy, Registry, TableConfig, Transport,
};

const TTL: Duration = Duration::from_secs(240);

// Each message: its length, its sender and transport, and the time since the previous one.
fuzz_target!(|bytes: &[u8]| {
    let start = Instant::now();
    let limits = Limits {
        names_per_instance: 4,
        instances: 16,
        requests_per_second: 0,
        ..Limits::default()
    };
    let config = TableConfig {
        ttl: TTL,
        max_ttl: TTL,
        limits: limits.clone(),
        protection: ProtectionPolicy { share: 1.0, ..ProtectionPolicy::default() },
        ..TableConfig::default()
    };
    let (store, origin) = (Box::new(MemoryStore::new()), Origin::empty(StoreId::new(1)));
    let mut random = 0;
    let entropy = Box::new(move || {
        random += 1;
        random
    });
    let registry = Registry::new(start, config, store, origin, entropy);
    let access = Access { listing: Listing::Everyone, ..Access::default() };
    let dispatcher = Dispatcher::new(start, registry, access, Arc::new(Counters::new(start)));
    let (mut now, mut next_sweep) = (start, start);
    let mut buffer = Vec::new();
    let mut rest = bytes;
    while let [len, who, later, tail @ ..] = rest {
        let (message, after) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = after;
        now += Duration::from_secs(u64::from(*later % 64));
        while next_sweep <= now {
            next_sweep = dispatcher.expire(next_sweep).max(next_sweep + Duration::from_nanos(1));
        }
        let (transport, cap) = match who % 3 {
            0 => (Transport::Udp4, 15_000),
            1 => (Transport::Udp6, 15_000),
            _ => (Transport::Tcp, 32 << 10),
        };
        let asker = Asker {
            port: 1,
            host: Host::new([127 * (who >> 7), 0, 0, who % 5].into(), 0),
            is_here: who >> 7 == 1,
            reached: Some([10, 0, 0, 1].into()),
            link: 2,
            transport,
            arrival: Arrival::UNKNOWN,
        };
        match dispatcher.handle(now, &asker, message, &mut buffer) {
            Outcome::Reply(reply) | Outcome::Deferred(_, reply) => {
                assert!(!reply.is_empty() && reply.len() <= cap);
            }
            Outcome::Watch(mut watch) => {
                let mut lines = Vec::new();
                while watch.lines(now, &mut lines) {}
                assert!(lines.ends_with(b"}\n"));
            }
            Outcome::Refused(refusal) => assert!(!refusal.to_string().is_empty()),
        }
        assert!(dispatcher.instances() <= limits.instances);
    }
    let end = now + TTL;
    while next_sweep <= end {
        next_sweep = dispatcher.expire(next_sweep).max(next_sweep + Duration::from_nanos(1));
    }
    assert_eq!(dispatcher.instances(), 0);
});
