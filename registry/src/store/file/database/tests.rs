//! Migrations and failures.

use redb::ReadableTable as _;
use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;

use super::*;
use crate::host::Host;
use crate::store::file::encoding::Renewed;
use crate::store::file::schema::MIGRATIONS;
use crate::store::{Record, Ticket};

fn group(id: u64) -> Group {
    let record = Box::new(Record {
        id,
        names: vec![ServiceName::new("a").unwrap()],
        host: Host::new([10, 0, 0, 1].into(), 0),
        port: Port::tcp(1).unwrap(),
        registered_at: 7,
        is_draining: false,
        silent: Vec::new(),
        native: None,
    });
    let entries = [(id, Entry::Put(record))].into();
    Group { ticket: Ticket::new(1), entries, ..Group::default() }
}

fn begin_run(path: &Path, migrations: &[Migration]) -> Result<Database, Fault> {
    let loaded = Database::load(path, migrations)?.unwrap();
    let numbers = loaded.numbers();
    Database::begin(loaded, &[], numbers)
}

/// Commits a record, to a mirror of its own as well.
fn commit(database: &mut Database, id: u64) -> Result<(), Fault> {
    let path = database.path.with_extension("mirror");
    let mut mirror = Mirror::rewrite(&path, database.state(), &[], 0, |_| Ok(())).unwrap();
    if !database.is_open() {
        database.reopen(None)?;
    }
    database.commit(&group(id), &mut mirror, true)
}

fn records(database: &mut Database) -> Vec<Record> {
    let mut records = Vec::new();
    let runs = database.runs();
    let take = |id, renewed: &[u8], bytes: &[u8]| {
        let renewed = encoding::decode_renewed(renewed).unwrap();
        records.push(encoding::decode(id, &renewed, &runs, bytes).unwrap());
        ControlFlow::Continue(())
    };
    database.read(0, take).unwrap();
    records
}

fn decode(id: u64, bytes: &[u8]) -> Record {
    encoding::decode(id, &Renewed::default(), &Runs::default(), bytes).unwrap()
}

/// The migration to the present format.
const NEWEST: Migration = MIGRATIONS[MIGRATIONS.len() - 1];

/// A test format 3 that stores registration times in milliseconds.
fn to_millis(transaction: &WriteTransaction) -> Result<(), Error> {
    let mut instances = transaction.open_table(INSTANCES)?;
    let mut changed = Vec::new();
    for entry in instances.iter()? {
        let (id, bytes) = entry?;
        let record = decode(id.value(), bytes.value());
        changed.push(Record { registered_at: record.registered_at * 1000, ..record });
    }
    for record in changed {
        instances.insert(record.id, &*encoding::encode(&record))?;
    }
    Ok(())
}

/// A test format 4 with another key.
fn with_a_word(transaction: &WriteTransaction) -> Result<(), Error> {
    schema::set(transaction, "word", 4)
}

fn fails(transaction: &WriteTransaction) -> Result<(), Error> {
    to_millis(transaction)?;
    Err(Error::Corrupted("the step fails".to_owned()))
}

#[test]
fn an_older_form_becomes_the_present_one_step_by_step_and_at_once() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("file");
    create(&path, &Contents::default()).unwrap();
    let mut database = begin_run(&path, MIGRATIONS).unwrap();
    commit(&mut database, 1).unwrap();
    drop(database);
    let registered_at = |migrations: &[Migration]| {
        let mut database = begin_run(&path, migrations)?;
        Ok::<_, Fault>(records(&mut database)[0].registered_at)
    };
    let failed = registered_at(&[NEWEST, fails]).unwrap_err();
    assert!(matches!(&failed, Fault::Damaged(why) if why == "the step fails"), "{failed:?}");
    assert_eq!(registered_at(MIGRATIONS).unwrap(), 7, "all or nothing");
    assert_eq!(registered_at(&[NEWEST, to_millis]).unwrap(), 7000);
    assert_eq!(registered_at(&[NEWEST, to_millis]).unwrap(), 7000, "once");
    assert_eq!(registered_at(&[NEWEST, to_millis, with_a_word]).unwrap(), 7000, "from there on");
    assert!(matches!(registered_at(&[NEWEST, to_millis]), Err(Fault::Newer(4))), "never back");
    assert!(matches!(registered_at(MIGRATIONS), Err(Fault::Newer(4))));
}

#[test]
fn what_fails_is_tried_again_with_a_file_opened_anew() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("file");
    create(&path, &Contents::default()).unwrap();
    let mut database = begin_run(&path, MIGRATIONS).unwrap();
    commit(&mut database, 1).unwrap();
    database.file = None;
    let hidden = directory.path().join("hidden");
    fs::rename(&path, &hidden).unwrap();
    let fault = commit(&mut database, 2).unwrap_err();
    let told = fault.explain(&path);
    assert!(told.contains(path.to_str().unwrap()) && told.contains("tries again"), "{told}");
    fs::rename(&hidden, &path).unwrap();
    commit(&mut database, 2).unwrap();
    drop(database);
    let mut database = begin_run(&path, MIGRATIONS).unwrap();
    let origin = database.origin();
    let ids: Vec<_> = records(&mut database).iter().map(|record| record.id).collect();
    assert_eq!((ids, origin.last_instance), (vec![1, 2], INSTANCE_BLOCK));
}

#[test]
fn reading_goes_on_from_where_it_stopped() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("file");
    create(&path, &Contents::default()).unwrap();
    let mut database = begin_run(&path, MIGRATIONS).unwrap();
    for id in 1..=5 {
        commit(&mut database, id).unwrap();
    }
    let mut first = Vec::new();
    let take = |id, _: &[u8], _: &[u8]| {
        first.push(id);
        if first.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    database.read(0, take).unwrap();
    assert_eq!(first, [1, 2]);
    database.file = None;
    let mut rest = Vec::new();
    let take = |id, _: &[u8], _: &[u8]| {
        rest.push(id);
        ControlFlow::Continue(())
    };
    database.read(2, take).unwrap();
    assert_eq!(rest, [3, 4, 5]);
}
