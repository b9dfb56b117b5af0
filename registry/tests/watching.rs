//! Which change wakes which watcher; and that events encoded once for many equal those encoded for
//! each.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::{EventKind, Reply, StoreId};
use rpyc_registry::{
    Access, Asker, Counters, Dispatcher, JOURNAL_LEN, Listing, MemoryStore, Origin, Outcome,
    Registry, TableConfig, Watch,
};
use serde_json::json;

use super::asker::{any_address, at as asker};

struct Table {
    now: Instant,
    dispatcher: Dispatcher,
}

impl Table {
    fn new(now: Instant) -> Self {
        let rules = vec!["172.17.0.0/16=10.0.0.5".parse().unwrap()];
        let config = TableConfig { address_rules: rules, ..TableConfig::default() };
        let (store, origin) = (Box::new(MemoryStore::new()), Origin::empty(StoreId::new(1)));
        let mut random = 0;
        let entropy = Box::new(move || {
            random += 1;
            random
        });
        let registry = Registry::new(now, config, store, origin, entropy);
        registry.directory().set_own_addresses(
            ["10.0.0.5/24", "169.254.3.3/16"].map(|own| own.parse().unwrap()).into(),
        );
        let addresses = any_address();
        let access = Access { listing: Listing::Everyone, addresses, ..Access::default() };
        let counters = Arc::new(Counters::new(now));
        Self { now, dispatcher: Dispatcher::new(now, registry, access, counters) }
    }

    /// Registers `name` on `port` of this machine, or on `port` of `addresses`.
    fn register(&self, name: &str, port: u16, addresses: &[&str]) {
        let request = json!({"v": 1, "op": "register", "names": [name], "port": port,
            "addresses": addresses, "ttl_ms": 60_000});
        let mut buffer = Vec::new();
        let request = request.to_string();
        let outcome =
            self.dispatcher.handle(self.now, &asker("127.0.0.1"), request.as_bytes(), &mut buffer);
        let Outcome::Deferred(_, bytes) = outcome else { unreachable!("{outcome:?}") };
        assert_eq!(Reply::parse(bytes).unwrap().error, None);
    }

    fn watch(&self, asker: &Asker, glob: &str, id: Option<u64>) -> Box<Watch> {
        let mut request = json!({"v": 1, "op": "watch", "glob": glob});
        if let Some(id) = id {
            request.as_object_mut().unwrap().insert("id".into(), id.into());
        }
        let (request, mut buffer) = (request.to_string(), Vec::new());
        let outcome = self.dispatcher.handle(self.now, asker, request.as_bytes(), &mut buffer);
        let Outcome::Watch(mut watch) = outcome else { unreachable!("{outcome:?}") };
        self.lines(&mut watch);
        watch
    }

    fn lines(&self, watch: &mut Watch) -> String {
        let mut out = Vec::new();
        while watch.lines(self.now, &mut out) {}
        String::from_utf8(out).unwrap()
    }
}

fn kinds(lines: &str) -> Vec<EventKind> {
    lines.lines().map(|it| Reply::parse(it.as_bytes()).unwrap().event.unwrap().kind).collect()
}

type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Counts its wake-ups.
#[derive(Default)]
struct Alarm(AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Alarm {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn a_watcher_of_one_name_is_woken_by_that_name_alone() {
    let table = Table::new(Instant::now());
    let mut watch = table.watch(&asker("127.0.0.1"), "a", None);
    let everything = table.watch(&asker("127.0.0.1"), "*", None);
    let (alarm, alarm_of_all) = (Arc::new(Alarm::default()), Arc::new(Alarm::default()));
    {
        let (waker, waker_of_all) =
            (Waker::from(Arc::clone(&alarm)), Waker::from(Arc::clone(&alarm_of_all)));
        let mut changed = pin!(watch.changed());
        let mut all_changed = pin!(everything.changed());
        assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(all_changed.as_mut().poll(&mut Context::from_waker(&waker_of_all)).is_pending());
        for port in 1..100 {
            table.register("b", port, &[]);
        }
        assert_eq!(alarm.count(), 0);
        assert_eq!(alarm_of_all.count(), 1, "once for all of them");
        assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(all_changed.as_mut().poll(&mut Context::from_waker(&waker_of_all)).is_ready());
        table.register("a", 100, &[]);
        assert_eq!(alarm.count(), 1);
        assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
    assert_eq!(kinds(&table.lines(&mut watch)), [EventKind::Added]);
}

#[test]
fn one_change_wakes_all_who_wait_though_some_go_when_they_are_woken() {
    const WATCHERS: usize = 100;
    let table = Table::new(Instant::now());
    let watches: Vec<_> =
        (0..WATCHERS).map(|_| table.watch(&asker("10.0.0.7"), "a", None)).collect();
    let alarms: Vec<_> = watches.iter().map(|_| Arc::new(Alarm::default())).collect();
    let mut waiting: Vec<Option<Waiting<'_>>> =
        watches.iter().map(|watch| Some(Box::pin(watch.changed()) as Waiting<'_>)).collect();
    let poll = |number: usize, waiting: &mut Vec<Option<Waiting<'_>>>| {
        let waker = Waker::from(Arc::clone(alarms.get(number).unwrap()));
        let changed = waiting.get_mut(number).unwrap().as_mut().unwrap();
        changed.as_mut().poll(&mut Context::from_waker(&waker))
    };
    for number in 0..WATCHERS {
        assert!(poll(number, &mut waiting).is_pending());
    }
    table.register("a", 1, &[]);
    let mut told = Vec::new();
    loop {
        let woken = |number: &usize| {
            alarms.get(*number).unwrap().count() > 0 && waiting.get(*number).unwrap().is_some()
        };
        let woken: Vec<_> = (0..WATCHERS).filter(woken).collect();
        if woken.is_empty() {
            break;
        }
        assert!(woken.len() <= 8, "{} at once", woken.len());
        for number in woken {
            // Every third watcher is gone before its turn.
            if number % 3 != 0 {
                assert!(poll(number, &mut waiting).is_ready());
                told.push(number);
            }
            *waiting.get_mut(number).unwrap() = None;
        }
    }
    told.sort_unstable();
    assert_eq!(told, (0..WATCHERS).filter(|number| number % 3 != 0).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_watcher_misses_a_change_while_others_come_and_go() {
    const WATCHERS: usize = 64;
    const CHANGES: u16 = 400;
    let table = Arc::new(Table::new(Instant::now()));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..WATCHERS {
        let glob = if number % 4 == 0 { "*" } else { "a" };
        let mut watch = table.watch(&asker("10.0.0.7"), glob, None);
        let table = Arc::clone(&table);
        tasks.spawn(async move {
            let mut ports = std::collections::BTreeSet::new();
            while ports.len() < usize::from(CHANGES) {
                watch.changed().await;
                for line in table.lines(&mut watch).lines() {
                    let event = Reply::parse(line.as_bytes()).unwrap().event.unwrap();
                    assert_eq!(event.kind, EventKind::Added, "{line}");
                    let port = event.instance.unwrap().port.to_string();
                    assert!(ports.insert(port), "sent twice: {line}");
                }
            }
        });
    }
    let churn = {
        let table = Arc::clone(&table);
        tokio::spawn(async move {
            loop {
                let watch = table.watch(&asker("10.0.0.8"), "a", None);
                // Stops waiting at an arbitrary moment, woken or not.
                let _ = tokio::time::timeout(Duration::from_micros(50), watch.changed()).await;
            }
        })
    };
    let changing = tokio::task::spawn_blocking({
        let table = Arc::clone(&table);
        move || (1..=CHANGES).for_each(|port| table.register("a", port, &[]))
    });
    changing.await.unwrap();
    let all = async {
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("every watcher gets every event");
    churn.abort();
}

#[test]
fn what_is_written_once_is_what_each_would_be_told() {
    let now = Instant::now();
    let askers = [
        "127.0.0.1",
        "10.0.0.7",
        "10.0.0.8",
        "192.168.9.9",
        "172.17.0.9",
        "fe80::7",
        "169.254.1.1",
    ];
    let instances: [&[&str]; 6] = [
        &[],
        &["127.0.0.1"],
        &["172.17.0.4", "10.0.0.9"],
        &["169.254.3.3"],
        &["192.168.9.1", "10.0.0.9", "fd00::9"],
        &["203.0.113.9"],
    ];
    let change = |table: &Table| {
        for (port, addresses) in (1..).zip(instances) {
            table.register("a", port, addresses);
        }
    };
    let alone = |from: &str, id| {
        let table = Table::new(now);
        let mut watch = table.watch(&asker(from), "a", id);
        change(&table);
        table.lines(&mut watch)
    };
    let together = Table::new(now);
    let ids = [None, Some(7), Some(u64::MAX)];
    let mut watches: Vec<_> = askers
        .iter()
        .flat_map(|from| ids.map(|id| (*from, id)))
        .map(|(from, id)| (from, id, together.watch(&asker(from), "a", id)))
        .collect();
    change(&together);
    let mut different = std::collections::BTreeSet::new();
    for (from, id, watch) in &mut watches {
        let lines = together.lines(watch);
        assert_eq!(lines, alone(from, *id), "{from} {id:?}");
        for line in lines.lines() {
            assert_eq!(Reply::parse(line.as_bytes()).unwrap().id, *id);
        }
        if id.is_none() {
            different.insert(lines);
        }
    }
    assert!(different.len() >= 5, "askers get different events: {}", different.len());
}

#[test]
fn what_was_written_is_not_told_when_its_times_are_old() {
    let mut table = Table::new(Instant::now());
    let (mut soon, mut late) =
        (table.watch(&asker("10.0.0.7"), "a", None), table.watch(&asker("10.0.0.7"), "a", None));
    table.register("a", 1, &[]);
    let age = |lines: String| {
        Reply::parse(lines.trim().as_bytes()).unwrap().event.unwrap().instance.unwrap().age_ms
    };
    assert_eq!(age(table.lines(&mut soon)), 0);
    table.now += Duration::from_secs(5);
    assert_eq!(age(table.lines(&mut late)), 5_000);
}

#[test]
fn changes_of_other_names_do_not_put_a_watcher_behind() {
    let table = Table::new(Instant::now());
    table.register("a", 1, &[]);
    let mut watch = table.watch(&asker("127.0.0.1"), "a", None);
    let update_often = |changes: usize| {
        let port = 2;
        let register = json!({"v": 1, "op": "register", "names": ["b"], "port": port, "key": "k"});
        let (mut buffer, register) = (Vec::new(), register.to_string());
        let here = asker("127.0.0.1");
        let outcome = table.dispatcher.handle(table.now, &here, register.as_bytes(), &mut buffer);
        let Outcome::Deferred(_, bytes) = outcome else { unreachable!("{outcome:?}") };
        let lease = Reply::parse(bytes).unwrap().lease.unwrap().lease;
        for change in 0..changes {
            let update = json!({"v": 1, "op": "update", "lease": lease, "weight": change % 7 + 2});
            let update = update.to_string();
            table.dispatcher.handle(table.now, &here, update.as_bytes(), &mut buffer);
        }
    };
    update_often(JOURNAL_LEN + 10);
    assert_eq!(table.lines(&mut watch), "");
    table.register("a", 3, &[]);
    assert_eq!(kinds(&table.lines(&mut watch)), [EventKind::Added]);
    update_often(10);
    // The last position that it gets is one from which it could continue.
    let mut out = Vec::new();
    watch.nothing_new(&mut out);
    let told = Reply::parse(out.trim_ascii()).unwrap();
    assert_eq!(told.revision, Some(table.dispatcher.directory().revision()));
}
