//! The file store alone: its content after every kind of end.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::{Details, LeaseId, StoreId};
use rpyc_registry::{
    Change, FileStore, Host, NativeRecord, Opened, Origin, Progress, Record, Silence, Store,
    StoreError, Ticket,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

/// Longer than any step of these tests takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const FILE: &str = "registry.redb";
const MIRROR: &str = "registry.mirror";

fn legacy(id: u64) -> Record {
    let last = u8::try_from(id % 250 + 1).unwrap();
    Record {
        id,
        names: vec![ServiceName::new("payroll").unwrap(), ServiceName::new("straße").unwrap()],
        host: Host::new([10, 0, 0, last].into(), 0),
        port: Port::path("/run/payroll.sock").unwrap(),
        registered_at: 1_700_000_000 + id,
        is_draining: false,
        silent: Vec::new(),
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
        for file in [FILE, MIRROR] {
            fs::copy(directory.join(file), copy.path().join(file)).unwrap();
        }
        copy
    }
}

/// The state that a restart after an orderly end finds.
async fn kept(directory: &Path) -> Found {
    let (run, origin) = Run::begin(directory).await;
    run.end().await;
    origin
}

/// The record as a run finds it that begins so many milliseconds after the last renewals.
fn aged(record: Record, ms: i64) -> Record {
    let silence = |name: &ServiceName| Silence { name: name.clone(), since_ms: -ms };
    let silent = record.names.iter().map(silence).collect();
    Record { silent, ..record }
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
    let expected = [aged(legacy(1), 0), aged(legacy(2), 0), aged(native(3), 0)];
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
    assert_eq!(again.records[0], Record { is_draining: true, ..aged(legacy(2), 0) });
    assert_eq!(again.records[997], aged(native(999), 0));
}

#[tokio::test]
async fn the_silence_of_a_lease_adds_up_over_runs_however_they_end() {
    let directory = TempDir::new().unwrap();
    let (mut run, _) = Run::begin(directory.path()).await;
    let names = legacy(1).names;
    run.put(legacy(1));
    run.put(legacy(2));
    run.store.ran(Duration::from_millis(700));
    run.end().await;
    let mut silence = 0;
    for length in [100, 4_000, 900] {
        let (mut run, origin) = Run::begin(directory.path()).await;
        let records: Vec<_> = origin.records;
        assert_eq!(records[0], aged(legacy(1), silence));
        let old = Silence { name: names[0].clone(), since_ms: -silence };
        let expected = [old.clone(), Silence { name: names[1].clone(), since_ms: 0 }];
        assert_eq!(records[1].silent, expected);
        // A change other than a renewal keeps the silence.
        run.put(records[0].clone());
        // Of the second server, one name renews.
        run.store.record(Change::Heard { id: 2, silent: vec![old] });
        run.store.ran(Duration::from_millis(length));
        silence += i64::try_from(length).unwrap();
        run.end().await;
    }
    // A kill loses the time since it was last recorded.
    let (mut run, _) = Run::begin(directory.path()).await;
    run.store.ran(Duration::from_millis(3_000));
    let ticket = run.put(legacy(3));
    run.committed(ticket).await;
    run.store.ran(Duration::from_millis(3_001));
    let found = Found::from(open(Run::crashed(directory.path()).path()).await.unwrap().origin);
    assert_eq!(found.records[0], aged(legacy(1), silence + 3_000));
    assert_eq!(found.records[2], aged(legacy(3), 0));
    run.end().await;
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
    assert!(crashed.last_instance > 9, "no number of an instance is used again");
    run.remove(legacy(9));
    // It comes and goes in one transaction, and its number may have been sent.
    run.put(legacy(400));
    run.remove(legacy(400));
    let told = crashed.revision + 5;
    run.store.reserve(told);
    run.end().await;
    let origin = kept(directory.path()).await;
    assert_eq!((origin.revision, origin.last_instance), (told, 400), "an end leaves no gap");
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
            assert!(origin.last_instance > 399, "and the numbers of its instances are new");
            moved += 1;
        } else {
            // The byte was in an unused page, or its other copy was good.
            let expected: Vec<_> = (1..400).map(|id| aged(native(id), 0)).collect();
            assert_eq!(origin.records, expected, "damage {n}");
            assert!(aside.is_empty(), "damage {n}");
        }
    }
    assert!(moved > 25, "only {moved} of {} found", damages.len());
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

/// Files as a kill leaves them after many transactions, with changes and removals; the state that
/// they hold; and the number of registrations that only the second copy has.
async fn killed(directory: &Path) -> (TempDir, Found, usize) {
    let (mut run, _) = Run::begin(directory).await;
    for id in 1..250 {
        run.put(native(id));
        if id % 7 == 0 {
            let ticket = run.remove(native(id - 3));
            run.committed(ticket).await;
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let alone = loop {
        // When nothing changes, the file itself becomes durable.
        let copy = Run::crashed(directory);
        fs::remove_file(copy.path().join(MIRROR)).unwrap();
        let records = kept(copy.path()).await.records.len();
        if records > 200 {
            break records;
        }
        assert!(Instant::now() < deadline, "the file is not written");
    };
    for id in 250..=300 {
        let ticket = run.put(legacy(id));
        run.committed(ticket).await;
    }
    let crashed = Run::crashed(directory);
    run.end().await;
    let copy = Run::crashed(crashed.path());
    let found = kept(copy.path()).await;
    let late = found.records.len() - alone;
    (crashed, found, late)
}

/// Unpredictable enough, and the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn flip(&mut self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let at = self.below(bytes.len());
        bytes[at] ^= 1 << self.below(8);
        fs::write(path, bytes).unwrap();
    }
}

/// Checks that registrations are lost only with a sign, and returns how many.
#[track_caller]
fn lost(found: &Found, expected: &Found, what: &str, most: usize) -> usize {
    let is_lost = |record: &&Record| !found.records.contains(record);
    let lost = expected.records.iter().filter(is_lost).count();
    // What was removed comes back if the removal is lost; otherwise nothing is invented.
    let returned = found.records.len() + lost - expected.records.len();
    assert!(returned <= most, "{what}: {returned} came back");
    if found.store == expected.store {
        assert_eq!((lost, returned), (0, 0), "{what}");
        assert!(found.revision >= expected.revision, "{what}");
    }
    assert!(found.last_instance >= expected.last_instance, "{what}");
    lost
}

#[tokio::test]
async fn a_flipped_bit_in_a_file_that_a_kill_left_is_never_silent() {
    let directory = TempDir::new().unwrap();
    let (crashed, expected, late) = killed(directory.path()).await;
    assert!(late > 0, "there are changes that only the second copy has");
    let mut random = Random(1);
    let mut losses = 0;
    for n in 0..150 {
        let copy = Run::crashed(crashed.path());
        let file = if n % 2 == 0 { MIRROR } else { FILE };
        let flips = 1 + n % 3;
        for _ in 0..flips {
            random.flip(&copy.path().join(file));
        }
        let found = kept(copy.path()).await;
        let what = format!("flip {n} in {file}");
        let most = if file == MIRROR { flips } else { 0 };
        let lost = lost(&found, &expected, &what, most);
        assert!(file == MIRROR && lost <= flips || lost == 0, "{what}: {lost} are lost");
        losses += lost;
        let again = kept(copy.path()).await;
        assert_eq!((again.records, again.store), (found.records, found.store), "{what}: a restart");
    }
    assert!(losses > 0, "the test damages changes that only the second copy has");
}

#[tokio::test]
async fn a_flipped_bit_in_the_header_of_the_file_loses_nothing() {
    /// The bytes of the header: what the file is, and the two latest transactions.
    const HEADER: usize = 320;
    let directory = TempDir::new().unwrap();
    let (crashed, expected, _) = killed(directory.path()).await;
    for at in (0..HEADER).step_by(3) {
        let copy = Run::crashed(crashed.path());
        let file = copy.path().join(FILE);
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&file, bytes).unwrap();
        let found = kept(copy.path()).await;
        assert_eq!(
            (found.records, found.store),
            (expected.records.clone(), expected.store),
            "{at}"
        );
    }
}

#[tokio::test]
async fn damage_to_both_files_costs_what_it_hits_and_is_no_secret() {
    let directory = TempDir::new().unwrap();
    let (crashed, expected, _) = killed(directory.path()).await;
    let mut random = Random(2);
    let mut losses = 0;
    for n in 0..60 {
        let copy = Run::crashed(crashed.path());
        for file in [FILE, MIRROR] {
            for _ in 0..3 {
                random.flip(&copy.path().join(file));
            }
        }
        let found = kept(copy.path()).await;
        let lost = lost(&found, &expected, &format!("damage {n}"), 6);
        assert!(lost <= 3, "damage {n}: {lost} are lost");
        losses += lost;
    }
    assert!(losses > 0, "the test damages records");
}

#[tokio::test]
async fn a_file_that_lags_behind_its_second_copy_catches_up() {
    let directory = TempDir::new().unwrap();
    let (mut run, _) = Run::begin(directory.path()).await;
    let ticket = run.put(legacy(1));
    run.committed(ticket).await;
    let before = Run::crashed(directory.path());
    for id in 2..50 {
        let ticket = run.put(legacy(id));
        run.committed(ticket).await;
    }
    let ticket = run.remove(legacy(1));
    run.committed(ticket).await;
    let after = Run::crashed(directory.path());
    run.end().await;
    let expected = kept(Run::crashed(after.path()).path()).await;
    assert_eq!(expected.records.len(), 48);
    // A kill between the two writes, or damage that makes the file go back.
    for _ in 0..2 {
        let copy = Run::crashed(after.path());
        fs::copy(before.path().join(FILE), copy.path().join(FILE)).unwrap();
        let found = kept(copy.path()).await;
        assert_eq!(lost(&found, &expected, "a file that lags", 0), 0);
        assert_eq!(found.store, expected.store);
        // The second copy is written as a whole, and no longer has all changes one by one.
        kept(after.path()).await;
        fs::remove_file(after.path().join(MIRROR)).unwrap();
        kept(after.path()).await;
    }
    // After an orderly end, the file alone is whole, whatever the second copy is.
    let copy = Run::crashed(after.path());
    fs::copy(before.path().join(MIRROR), copy.path().join(MIRROR)).unwrap();
    assert_eq!(lost(&kept(copy.path()).await, &expected, "a second copy that lags", 0), 0);
    fs::remove_file(copy.path().join(FILE)).unwrap();
    assert_eq!(lost(&kept(copy.path()).await, &expected, "it was written again", 0), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_deleted_while_the_registry_runs_is_written_again() {
    let delete = |paths: &[&Path]| {
        for path in paths {
            fs::remove_file(path).unwrap();
        }
    };
    type Loss<'a> = (&'a str, &'a dyn Fn(&Path));
    let losses: [Loss<'_>; 7] = [
        ("the file", &|path| delete(&[&path.join(FILE)])),
        ("its second copy", &|path| delete(&[&path.join(MIRROR)])),
        ("both", &|path| delete(&[&path.join(FILE), &path.join(MIRROR)])),
        ("the directory", &|path| fs::remove_dir_all(path).unwrap()),
        ("the file, for another", &|path| {
            fs::write(path.join("other"), "another").unwrap();
            fs::rename(path.join("other"), path.join(FILE)).unwrap();
        }),
        ("the content of the file", &|path| fs::write(path.join(FILE), "").unwrap()),
        ("the content of the second copy", &|path| fs::write(path.join(MIRROR), "").unwrap()),
    ];
    for (what, lose) in losses {
        let parent = TempDir::new().unwrap();
        let directory = parent.path().join("state");
        let (mut run, _) = Run::begin(&directory).await;
        for id in 1..50 {
            run.put(native(id));
        }
        let ticket = run.put(native(50));
        run.committed(ticket).await;
        lose(&directory);
        let ticket = run.put(native(51));
        run.committed(ticket).await;
        let crashed = Run::crashed(&directory);
        let found = Found::from(open(crashed.path()).await.unwrap().origin);
        assert_eq!(found.records.len(), 51, "{what}");
        assert!(FileStore::claim(&directory).is_err(), "{what}: the directory stays claimed");
        // Also without a change.
        lose(&directory);
        let is_whole = || directory.join(FILE).exists() && directory.join(MIRROR).exists();
        let deadline = Instant::now() + PATIENCE;
        while !is_whole() {
            assert!(Instant::now() < deadline, "{what}: not written again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        run.end().await;
        assert_eq!(kept(&directory).await.records.len(), 51, "{what}, at the end");
    }
}

/// What a registry of format 1 left when it was killed: four instances, one of them native, one
/// draining, that had been restored once.
const FORMAT_1: &[u8] = include_bytes!("data/format-1.redb.gz");

#[tokio::test]
async fn a_file_of_the_first_format_is_read() {
    let directory = TempDir::new().unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(FORMAT_1).read_to_end(&mut bytes).unwrap();
    fs::write(directory.path().join(FILE), bytes).unwrap();
    for _ in 0..2 {
        let found = kept(directory.path()).await;
        assert_eq!(found.store, StoreId::new(0xb92e_5e29));
        assert!(found.revision > 9 && found.last_instance >= 4, "{}", found.revision);
        let shown: Vec<_> = found.records.iter().map(|it| (it.id, it.is_draining)).collect();
        assert_eq!(shown, [(1, false), (2, false), (3, true), (4, false)]);
        let first = &found.records[0];
        assert_eq!(
            first.names.iter().map(ServiceName::as_str).collect::<Vec<_>>(),
            ["PAYROLL", "PAY"]
        );
        assert!(first.silent.len() == 2 && first.silent.iter().all(|it| it.since_ms == 0));
        let native = first.native.as_ref().unwrap();
        assert_eq!((native.ttl_ms, native.details.zone.as_deref()), (600_000, Some("eu")));
        assert!(directory.path().join(MIRROR).exists());
    }
    assert!(aside(directory.path()).is_empty());
}
