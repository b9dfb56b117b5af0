//! The table through restarts, with the content of the file store and explicit time.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{ErrorCode, Granted, Instance, Reply, Revision, State};
use rpyc_protocol::registry::{Names, Port, Request};
use rpyc_registry::{
    Access, Arrival, Asker, Counters, Dispatcher, FileStore, Host, Opened, Outcome, Progress,
    Registry, TableConfig, Transport,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

/// Longer than any step of these tests takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const TTL: Duration = Duration::from_secs(240);

/// A program on the registry's machine.
fn here() -> Asker {
    Asker {
        port: 1,
        host: Host::new([127, 0, 0, 1].into(), 0),
        is_here: true,
        reached: Some([127, 0, 0, 1].into()),
        link: 1,
        transport: Transport::Unix,
        arrival: Arrival::UNKNOWN,
    }
}

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
        let mut buffer = Vec::new();
        let bytes = request.to_string();
        match self.dispatcher.handle(self.now, &here(), bytes.as_bytes(), &mut buffer) {
            Outcome::Reply(bytes) | Outcome::Deferred(_, bytes) => Reply::parse(bytes).unwrap(),
            other => unreachable!("{request} is answered by {other:?}"),
        }
    }

    fn register(&self, name: &str, port: u16) -> Granted {
        self.ask(json!({"op": "register", "names": [name], "port": port})).lease.unwrap()
    }

    /// Registers in RPyC's own protocol.
    fn announce(&self, names: &[&str], port: u16) {
        let names: Vec<_> = names.iter().map(|name| ServiceName::new(name).unwrap()).collect();
        let (names, port) = (Names::from(&names[..]), Port::tcp(port).unwrap());
        let mut request = Vec::new();
        Request::Register { names, port }.encode(&mut request).unwrap();
        let mut buffer = Vec::new();
        let outcome = self.dispatcher.handle(self.now, &here(), &request, &mut buffer);
        assert!(matches!(outcome, Outcome::Deferred(..) | Outcome::Reply(_)), "{outcome:?}");
    }

    fn revision(&self) -> Revision {
        self.ask(json!({"op": "ping"})).revision.unwrap()
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
async fn quick_restarts_forget_nobody_and_silence_adds_up_to_a_ttl() {
    let directory = TempDir::new().unwrap();
    let run = Run::begin(directory.path(), 0).await;
    let lease = run.register("heard", 1).lease;
    run.register("silent", 2);
    run.end().await;
    // A crash loop, much shorter than a TTL in all.
    for _ in 0..20 {
        let mut run = Run::begin(directory.path(), 0).await;
        run.pass(Duration::from_secs(1));
        assert_eq!((run.found("heard"), run.found("silent")), (vec![1], vec![2]));
        // Draining does not count as a renewal.
        for op in ["drain", "undrain"] {
            assert_eq!(run.ask(json!({"op": op, "name": "silent"})).changed, Some(1));
        }
        run.end().await;
    }
    let rest = TTL - Duration::from_secs(20);
    let mut run = Run::begin(directory.path(), 0).await;
    run.ask(json!({"op": "renew", "lease": lease}));
    run.pass(rest / 2);
    run.ask(json!({"op": "renew", "lease": lease}));
    run.end().await;
    let mut run = Run::begin(directory.path(), 0).await;
    assert_eq!((run.found("heard"), run.found("silent")), (vec![1], vec![2]));
    // Runs are counted in whole sweeps.
    run.pass(rest / 2 - Duration::from_secs(1));
    assert_eq!((run.found("heard"), run.found("silent")), (vec![1], vec![2]));
    // The store keeps the ends of old runs to a sixteenth of their age.
    run.pass(Duration::from_secs(7) + TTL / 16);
    assert_eq!((run.found("heard"), run.found("silent")), (vec![1], vec![]), "a TTL in all");
    run.end().await;
    let run = Run::begin(directory.path(), 0).await;
    assert_eq!(run.all().len(), 1, "dropped for good");
    run.end().await;
}

#[tokio::test]
async fn a_name_that_its_server_no_longer_registers_leaves_through_restarts() {
    let directory = TempDir::new().unwrap();
    let run = Run::begin(directory.path(), 0).await;
    run.announce(&["old", "new"], 1);
    run.end().await;
    let mut lives = 0;
    for _ in 0..13 {
        let mut run = Run::begin(directory.path(), 0).await;
        assert_eq!(run.found("new"), [1]);
        lives += usize::from(run.found("old") == [1]);
        run.announce(&["new"], 1);
        run.pass(TTL * 3 / 5);
        run.announce(&["new"], 1);
        run.end().await;
    }
    assert_eq!(lives, 2, "the first run, and the second until its TTL is over");
}

#[tokio::test]
async fn protection_does_not_begin_again_at_a_restart() {
    let directory = TempDir::new().unwrap();
    let mut run = Run::begin(directory.path(), 0).await;
    for port in 1..=60 {
        run.register("site", port);
    }
    run.pass(TTL + TTL / 2);
    assert_eq!(run.all().len(), 60, "kept as suspects");
    assert!(run.states().iter().all(|(_, state)| *state == State::Suspect));
    run.end().await;
    let mut run = Run::begin(directory.path(), 0).await;
    run.pass(TTL / 2 - Duration::from_secs(2));
    assert_eq!(run.all().len(), 60, "still within two TTLs");
    run.pass(Duration::from_secs(4));
    assert_eq!(run.all().len(), 0, "two TTLs in all");
    run.end().await;
}

#[tokio::test]
async fn no_two_states_have_one_revision_through_restarts() {
    let directory = TempDir::new().unwrap();
    let run = Run::begin(directory.path(), 0).await;
    run.register("a", 1);
    let mut revisions = vec![run.revision()];
    run.end().await;
    for _ in 0..4 {
        let mut run = Run::begin(directory.path(), 0).await;
        revisions.push(run.revision());
        run.pass(TTL * 2 / 5);
        if run.revision() != *revisions.last().unwrap() {
            revisions.push(run.revision());
        }
        run.end().await;
    }
    let run = Run::begin(directory.path(), 0).await;
    assert!(run.all().is_empty());
    assert_eq!(revisions.len(), 6, "one for each run, and one for the end of the lease");
    revisions.push(run.revision());
    run.end().await;
    assert!(revisions.windows(2).all(|pair| pair[0].is_before(pair[1])), "{revisions:?}");
}

#[tokio::test]
async fn a_number_of_an_instance_is_never_used_again() {
    let directory = TempDir::new().unwrap();
    let mut last = 0;
    for port in 1..=5 {
        let run = Run::begin(directory.path(), 0).await;
        for _ in 0..3 {
            // It comes and goes before the store writes.
            let id = run.register("a", port).instance;
            assert!(id > last, "{id} after {last}");
            last = id;
            run.ask(json!({"op": "deregister", "instance": id}));
        }
        run.end().await;
    }
}

#[tokio::test]
async fn a_restart_keeps_what_is_drained_and_what_is_exclusive() {
    let directory = TempDir::new().unwrap();
    let run = Run::begin(directory.path(), 1000).await;
    run.register("a", 1);
    let exclusive = json!({"op": "register", "names": ["b"], "port": 2, "exclusive": true});
    assert!(run.ask(exclusive).lease.is_some());
    let drain = json!({"op": "drain", "host": "127.0.0.1", "port": 1});
    assert_eq!(run.ask(drain).changed, Some(1));
    run.end().await;

    let run = Run::begin(directory.path(), 2000).await;
    assert_eq!(run.states(), [(1, State::Draining), (2, State::Suspect)]);
    run.register("a", 1);
    assert_eq!(run.states(), [(1, State::Draining), (2, State::Suspect)], "it has restarted");
    let rival = run.ask(json!({"op": "register", "names": ["b"], "port": 3}));
    assert_eq!(rival.error.unwrap().code, ErrorCode::NameTaken);
    run.end().await;

    // The drain outlives its server.
    let mut run = Run::begin(directory.path(), 3000).await;
    run.pass(Duration::from_secs(500));
    assert!(run.all().is_empty());
    run.end().await;
    let run = Run::begin(directory.path(), 4000).await;
    run.register("a", 1);
    assert_eq!(run.states(), [(1, State::Draining)]);
    let undrain = json!({"op": "undrain", "host": "127.0.0.1", "port": 1});
    assert_eq!(run.ask(undrain).changed, Some(1));
    run.end().await;
    let run = Run::begin(directory.path(), 5000).await;
    assert_eq!(run.states(), [(1, State::Suspect)]);
    run.end().await;
}
