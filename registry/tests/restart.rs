//! The table through restarts, with the content of the file store and explicit time.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::{Granted, Instance, Reply, State};
use rpyc_registry::{
    Access, Arrival, Asker, Counters, Dispatcher, FileStore, Host, MAX_GRACES, Opened, Outcome,
    Progress, Registry, TableConfig, Transport,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

/// Longer than any step of these tests takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const TTL: Duration = Duration::from_secs(240);

/// One run of a registry.
struct Run {
    now: Instant,
    next_sweep: Instant,
    dispatcher: Dispatcher,
    progress: watch::Receiver<Progress>,
}

impl Run {
    async fn begin(directory: &Path, wall_clock: u64) -> Self {
        let claim = FileStore::claim(directory).unwrap();
        let opened = timeout(PATIENCE, claim.open()).await.unwrap();
        let Opened { store, origin } = opened.unwrap();
        let now = Instant::now();
        let progress = store.progress();
        let config = TableConfig { ttl: TTL, wall_clock, ..TableConfig::default() };
        let mut random = u128::from(origin.revision);
        let entropy = Box::new(move || {
            random += 1;
            random
        });
        let mut registry = Registry::new(now, config, store, origin, entropy);
        let next_sweep = registry.expire(now);
        let counters = Arc::new(Counters::new(now));
        let dispatcher = Dispatcher::new(now, registry, Access::default(), counters);
        Self { now, next_sweep, dispatcher, progress }
    }

    async fn end(mut self) {
        drop(self.dispatcher);
        let end = async { while self.progress.changed().await.is_ok() {} };
        timeout(PATIENCE, end).await.unwrap();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next_sweep <= end {
            self.next_sweep = self.dispatcher.expire(self.next_sweep);
        }
        self.now = end;
    }

    fn ask(&self, mut request: Value) -> Reply {
        request["v"] = json!(1);
        let asker = Asker {
            host: Host::new([127, 0, 0, 1].into(), 0),
            is_here: true,
            reached: Some([127, 0, 0, 1].into()),
            link: 1,
            transport: Transport::Unix,
            arrival: Arrival::UNKNOWN,
        };
        let mut buffer = Vec::new();
        let bytes = request.to_string();
        match self.dispatcher.handle(self.now, &asker, bytes.as_bytes(), &mut buffer) {
            Outcome::Reply(bytes) | Outcome::Deferred(_, bytes) => Reply::parse(bytes).unwrap(),
            other => unreachable!("{request} is answered by {other:?}"),
        }
    }

    fn register(&self, name: &str, port: u16) -> Granted {
        self.ask(json!({"op": "register", "names": [name], "port": port})).lease.unwrap()
    }

    fn all(&self) -> Vec<Instance> {
        let reply = self.ask(json!({"op": "list"}));
        reply.services.into_iter().flatten().flat_map(|it| it.instances).collect()
    }

    fn states(&self) -> Vec<(u16, State)> {
        self.all().iter().map(|it| (it.port.to_tcp().unwrap(), it.state)).collect()
    }

    fn found(&self, name: &str) -> Vec<u16> {
        let reply = self.ask(json!({"op": "resolve", "name": name}));
        let found = reply.services.into_iter().flatten().flat_map(|it| it.instances);
        found.map(|instance| instance.port.to_tcp().unwrap()).collect()
    }
}

#[tokio::test]
async fn after_a_restart_all_are_found_as_suspects_until_they_renew() {
    let directory = TempDir::new().unwrap();
    let run = Run::begin(directory.path(), 1000).await;
    let lease = run.register("a", 1).lease;
    run.register("a", 2);
    run.register("a", 3);
    run.ask(json!({"op": "drain", "port": 3, "name": "a"}));
    let told = run.ask(json!({"op": "ping"})).revision.unwrap();
    run.end().await;

    let mut run = Run::begin(directory.path(), 1500).await;
    let revision = run.ask(json!({"op": "ping"})).revision.unwrap();
    assert!(told.is_before(revision), "{told} {revision}");
    assert_eq!(run.found("a"), [1, 2], "and the drained one is still drained");
    assert_eq!(run.states(), [(1, State::Suspect), (2, State::Suspect), (3, State::Draining)]);
    assert!(run.all().iter().all(|it| it.age_ms == 500_000), "they are as old as they were");

    // The old lease is still valid.
    let renewed = run.ask(json!({"op": "renew", "lease": lease})).lease.unwrap();
    assert_eq!(renewed.lease, lease);
    assert_eq!(run.states()[0], (1, State::Passing));
    run.pass(TTL - Duration::from_millis(1));
    assert_eq!(run.found("a"), [1, 2]);
    run.ask(json!({"op": "renew", "lease": lease}));
    run.pass(Duration::from_millis(1) + rpyc_registry::SWEEP_INTERVAL);
    assert_eq!(run.found("a"), [1], "one TTL of grace, not more");
    run.end().await;
    let run = Run::begin(directory.path(), 2000).await;
    assert_eq!(run.found("a"), [1], "expired leases stay expired");
    let new = run.register("b", 9).instance;
    assert!(run.all().iter().filter(|it| it.id == new).count() == 1, "no number is used again");
}

#[tokio::test]
async fn who_is_not_heard_from_has_three_graces_and_no_more() {
    let directory = TempDir::new().unwrap();
    let run = Run::begin(directory.path(), 0).await;
    let lease = run.register("heard", 1).lease;
    run.register("silent", 2);
    run.end().await;
    for _ in 0..MAX_GRACES {
        let run = Run::begin(directory.path(), 0).await;
        assert_eq!((run.found("heard"), run.found("silent")), (vec![1], vec![2]));
        run.ask(json!({"op": "renew", "lease": lease}));
        // Draining does not count as a renewal.
        for op in ["drain", "undrain"] {
            assert_eq!(run.ask(json!({"op": op, "name": "silent"})).changed, Some(1));
        }
        run.end().await;
    }
    let run = Run::begin(directory.path(), 0).await;
    assert_eq!((run.found("heard"), run.found("silent")), (vec![1], vec![]));
    run.end().await;
    let run = Run::begin(directory.path(), 0).await;
    assert_eq!(run.all().len(), 1, "dropped for good");
    run.end().await;
}
