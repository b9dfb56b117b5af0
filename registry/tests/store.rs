//! The file store alone: its content after every kind of end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{Details, LeaseId, StoreId};
use rpyc_registry::{
    Change, FileStore, Host, NativeRecord, Opened, Origin, Progress, Record, Store, StoreError,
    Ticket,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

/// Longer than any step of these tests takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const FILE: &str = "registry.redb";

fn legacy(id: u64) -> Record {
    let last = u8::try_from(id % 250 + 1).unwrap();
    Record {
        id,
        names: vec![ServiceName::new("payroll").unwrap(), ServiceName::new("straße").unwrap()],
        host: Host::new([10, 0, 0, last].into(), 0),
        port: Port::path("/run/payroll.sock").unwrap(),
        registered_at: 1_700_000_000 + id,
        is_draining: false,
        restarts: 0,
        native: None,
    }
}

fn native(id: u64) -> Record {
    let details = Details {
        tags: ["blue".to_owned()].into(),
        meta: [("version".to_owned(), "1.2".to_owned())].into(),
        weight: Some(3),
        zone: Some("eu-1".to_owned()),
        protocol: None,
    };
    let native = NativeRecord {
        lease: LeaseId::new(u128::MAX - u128::from(id)),
        registrant: Host::new("fe80::7".parse().unwrap(), 3),
        key: Some("key".into()),
        ttl_ms: 30_000,
        addresses: vec!["[fe80::7%3]:18861".parse().unwrap(), "10.0.0.7:1".parse().unwrap()],
        is_exclusive: true,
        details,
    };
    Record { port: Port::tcp(18861).unwrap(), native: Some(native), ..legacy(id) }
}

async fn open(directory: &Path) -> Result<Opened, StoreError> {
    timeout(PATIENCE, FileStore::claim(directory)?.open()).await.unwrap()
}

/// The state at the start of a run, read completely.
struct Found {
    store: StoreId,
    revision: u64,
    last_instance: u64,
    records: Vec<Record>,
}

impl From<Origin> for Found {
    fn from(origin: Origin) -> Self {
        let Origin { store, revision, last_instance, records } = origin;
        Self { store, revision, last_instance, records: records.collect() }
    }
}

/// A run of a store that makes changes.
struct Run {
    store: Box<dyn Store>,
    progress: watch::Receiver<Progress>,
}

impl Run {
    async fn begin(directory: &Path) -> (Self, Found) {
        let Opened { store, origin } = open(directory).await.unwrap();
        let progress = store.progress();
        (Self { store, progress }, origin.into())
    }

    fn put(&mut self, record: Record) -> Ticket {
        self.store.record(Change::Put(Box::new(record)))
    }

    fn remove(&mut self, record: Record) -> Ticket {
        let Record { id, host, port, .. } = record;
        self.store.record(Change::Removed { id, host, port })
    }

    async fn committed(&mut self, ticket: Ticket) {
        let committed = self.progress.wait_for(|progress| progress.committed >= ticket);
        timeout(PATIENCE, committed).await.unwrap().unwrap();
    }

    /// An orderly end.
    async fn end(mut self) {
        drop(self.store);
        let end = async { while self.progress.changed().await.is_ok() {} };
        timeout(PATIENCE, end).await.unwrap();
    }

    /// The files that a crash at this moment would leave.
    fn crashed(directory: &Path) -> TempDir {
        let copy = TempDir::new().unwrap();
        fs::copy(directory.join(FILE), copy.path().join(FILE)).unwrap();
        copy
    }
}

/// The state that a restart after an orderly end finds.
async fn kept(directory: &Path) -> Found {
    let (run, origin) = Run::begin(directory).await;
    run.end().await;
    origin
}

fn aged(record: Record, restarts: u32) -> Record {
    Record { restarts, ..record }
}

/// The files that were moved aside.
fn aside(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut aside: Vec<_> =
        entries.filter(|path| path.to_str().unwrap().contains("damaged")).collect();
    aside.sort();
    aside
}

#[tokio::test]
async fn what_is_committed_survives_a_crash_and_all_survives_an_end() {
    let directory = TempDir::new().unwrap();
    let (mut run, origin) = Run::begin(directory.path()).await;
    assert!(origin.records.is_empty());
    run.put(legacy(1));
    run.put(legacy(2));
    let ticket = run.put(native(3));
    run.committed(ticket).await;
    let crashed = Run::crashed(directory.path());
    let found = Found::from(open(crashed.path()).await.unwrap().origin);
    let expected = [aged(legacy(1), 1), aged(legacy(2), 1), aged(native(3), 1)];
    assert_eq!(found.records, expected);

    // Without waiting: an orderly end commits all pending changes.
    run.remove(legacy(1));
    run.put(Record { is_draining: true, ..legacy(2) });
    for id in 4..1000 {
        run.put(native(id));
    }
    run.end().await;
    let again = kept(directory.path()).await;
    assert_eq!(again.store, found.store, "made once");
    assert_eq!(again.records.len(), 998);
    assert_eq!(again.records[0], Record { is_draining: true, ..aged(legacy(2), 1) });
    assert_eq!(again.records[997], aged(native(999), 1));
}

#[tokio::test]
async fn an_instance_is_as_many_restarts_old_as_it_was_not_heard_from_in() {
    let directory = TempDir::new().unwrap();
    let (mut run, _) = Run::begin(directory.path()).await;
    run.put(legacy(1));
    run.put(legacy(2));
    run.end().await;
    for restarts in 1..4 {
        let (mut run, origin) = Run::begin(directory.path()).await;
        assert_eq!(origin.records, [aged(legacy(1), restarts), aged(legacy(2), 1)]);
        // A change other than a renewal keeps the restart count.
        run.put(aged(legacy(1), restarts));
        run.store.record(Change::Heard(2));
        run.end().await;
    }
}

#[tokio::test]
async fn numbers_rise_whatever_happens() {
    let directory = TempDir::new().unwrap();
    let (mut run, origin) = Run::begin(directory.path()).await;
    assert_eq!((origin.revision, origin.last_instance), (0, 0));
    run.store.reserve(17);
    // No number may be used before its reservation is durable.
    let crashed = open(Run::crashed(directory.path()).path()).await.unwrap().origin;
    assert!(crashed.revision >= 17, "{}", crashed.revision);
    run.store.reserve(crashed.revision - 1);
    let ticket = run.put(legacy(9));
    run.committed(ticket).await;
    let crashed = open(Run::crashed(directory.path()).path()).await.unwrap().origin;
    assert!(crashed.revision > 1 << 32, "half a block before it is used, the next is durable");
    run.remove(legacy(9));
    let told = crashed.revision + 5;
    run.store.reserve(told);
    run.end().await;
    let origin = kept(directory.path()).await;
    assert_eq!((origin.revision, origin.last_instance), (told, 9), "an end leaves no gap");
    assert!(origin.records.is_empty());
}

#[tokio::test]
async fn a_directory_in_use_names_who_uses_it() {
    let directory = TempDir::new().unwrap();
    let (run, _) = Run::begin(directory.path()).await;
    let error = FileStore::claim(directory.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.contains(directory.path().to_str().unwrap()), "{error}");
    assert!(!error.contains("--"), "the command line says which switch helps: {error}");
    run.end().await;
    // A process that has ended does not hold the directory, whatever the file contains.
    fs::write(directory.path().join("lock"), "1\n").unwrap();
    FileStore::claim(directory.path()).unwrap();
    let not_a_directory = directory.path().join("lock/x");
    let error = FileStore::claim(&not_a_directory).unwrap_err().to_string();
    assert!(error.contains("cannot make the state directory"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn leases_are_for_their_owner_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("a/b");
    kept(&directory).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
}

#[tokio::test]
async fn damage_is_moved_aside_and_never_believed() {
    let directory = TempDir::new().unwrap();
    let (mut run, _) = Run::begin(directory.path()).await;
    for id in 1..400 {
        run.put(native(id));
    }
    run.end().await;
    let whole = fs::read(directory.path().join(FILE)).unwrap();
    let first = kept(directory.path()).await.store;

    let mut damages: Vec<Vec<u8>> = vec![
        vec![],
        b"not a database at all".to_vec(),
        whole[..whole.len() / 2].to_vec(),
        whole[..5000].to_vec(),
        vec![0; whole.len()],
        // A torn write: the second half of the file is from another time.
        [&whole[..whole.len() / 2], &vec![0; whole.len() - whole.len() / 2]].concat(),
    ];
    for at in (0..whole.len()).step_by(whole.len() / 97) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x5a;
        damages.push(flipped);
    }
    let mut moved = 0;
    for (n, damaged) in damages.iter().enumerate() {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join(FILE), damaged).unwrap();
        let origin = kept(directory.path()).await;
        let aside = aside(directory.path());
        if origin.records.is_empty() {
            assert_eq!(aside.len(), 1, "damage {n}");
            assert!(fs::read(&aside[0]).unwrap() == *damaged, "damage {n} has changed");
            assert_ne!(origin.store, first, "its numbers mean something else");
            moved += 1;
        } else {
            // The byte was in an unused page, or its other copy was good.
            let restarts = origin.records[0].restarts;
            let expected: Vec<_> = (1..400).map(|id| aged(native(id), restarts)).collect();
            assert_eq!(origin.records, expected, "damage {n}");
            assert!(aside.is_empty(), "damage {n}");
        }
    }
    assert!(moved > 50, "only {moved} of {} found", damages.len());
}

#[tokio::test]
async fn every_damaged_file_gets_a_name_of_its_own() {
    let directory = TempDir::new().unwrap();
    for n in 1..4 {
        fs::write(directory.path().join(FILE), format!("nonsense {n}")).unwrap();
        kept(directory.path()).await;
    }
    let aside = aside(directory.path());
    let texts: Vec<_> = aside.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert_eq!(texts, ["nonsense 1", "nonsense 2", "nonsense 3"]);
}

#[tokio::test]
async fn a_file_that_was_not_made_whole_is_made_again() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("registry.redb.new"), "half").unwrap();
    kept(directory.path()).await;
    assert!(aside(directory.path()).is_empty());
    assert!(!directory.path().join("registry.redb.new").exists());
}

#[tokio::test]
async fn a_file_of_a_newer_registry_is_left_alone() {
    const META: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    let directory = TempDir::new().unwrap();
    kept(directory.path()).await;
    let path = directory.path().join(FILE);
    let file = redb::Database::open(&path).unwrap();
    let transaction = file.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("schema", 99).unwrap();
    transaction.commit().unwrap();
    file.close().unwrap();
    let before = fs::read(&path).unwrap();
    let error = open(directory.path()).await.unwrap_err();
    let StoreError::Newer { found: 99, .. } = &error else { unreachable!("{error}") };
    assert!(error.to_string().contains("newer registry"), "{error}");
    assert!(fs::read(&path).unwrap() == before, "touched");
    assert!(aside(directory.path()).is_empty());
}
