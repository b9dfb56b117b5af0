//! Operations on the tables of a database file.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, Error, ReadableDatabase as _, ReadableTable as _, WriteTransaction};

use super::directory::private_file;
use super::fault::{Fault, guarded};
use super::frame::Commit;
use super::mirror::{Contents, Edit};
use super::runs::Runs;
use super::schema::{self, INSTANCES, META, Migration, RENEWED, RUNS};

/// The size of the cache for pages of the file. It is small because the newest records lie side by
/// side, older ones are seldom written, and the system caches the rest.
const CACHE_BYTES: usize = 16 << 20;

/// Makes the edits of a mirror.
pub(super) fn make(transaction: &WriteTransaction, edits: &[(u64, Edit)]) -> Result<(), Error> {
    let mut instances = transaction.open_table(INSTANCES)?;
    let mut renewals = transaction.open_table(RENEWED)?;
    for (id, edit) in edits {
        match edit {
            Edit::Put { renewed, record } => {
                instances.insert(id, &**record)?;
                renewals.insert(id, &**renewed)?;
            }
            Edit::Renewed(renewed) => drop(renewals.insert(id, &**renewed)?),
            Edit::Removed => {
                instances.remove(id)?;
                renewals.remove(id)?;
            }
        }
    }
    Ok(())
}

/// Writes the numbers of the store as a whole.
pub(super) fn put_numbers(transaction: &WriteTransaction, commit: &Commit) -> Result<(), Error> {
    for (word, number) in [
        (schema::STORE, commit.store.into()),
        (schema::EPOCH, commit.epoch),
        (schema::RESERVED, commit.revisions),
        (schema::LAST_INSTANCE, commit.instances),
        (schema::SEQUENCE, commit.sequence),
    ] {
        schema::set(transaction, word, number)?;
    }
    transaction.open_table(RUNS)?.insert(commit.epoch, commit.run_end)?;
    Ok(())
}

/// The number of the last transaction of a file.
pub(super) fn sequence_of(file: &redb::Database) -> Result<u64, Fault> {
    let found = file.begin_read()?.open_table(META)?.get(schema::SEQUENCE)?;
    Ok(found.map_or(0, |found| found.value()))
}

/// Creates a file with these contents.
pub(super) fn create(path: &Path, contents: &Contents) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Fault::Io(error)),
        _ => {}
    }
    let file = private_file().create_new(true).open(path).map_err(Fault::Io)?;
    let file = builder().create_with_backend(FileBackend::new(file)?)?;
    let transaction = file.begin_write()?;
    schema::set(&transaction, schema::SCHEMA, schema::newest(schema::MIGRATIONS))?;
    {
        let mut instances = transaction.open_table(INSTANCES)?;
        let mut renewals = transaction.open_table(RENEWED)?;
        for (id, (renewed, record)) in &contents.records {
            instances.insert(id, &**record)?;
            renewals.insert(id, &**renewed)?;
        }
        let mut runs = transaction.open_table(RUNS)?;
        for (run, end) in &contents.runs {
            runs.insert(run, end)?;
        }
    }
    put_numbers(&transaction, &contents.commit)?;
    transaction.commit()?;
    file.close()?;
    Ok(())
}

/// Opens a file and verifies all of it, so that damage is found now and not when the file is read
/// or after it has been written to.
pub(super) fn open(path: &Path) -> Result<redb::Database, Fault> {
    Ok(builder().set_check_integrity_on_open(true).open(path)?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Rejects a newer format without writing to the file. If the file cannot be opened read-only,
/// because it was not closed or is damaged, the full opening decides.
pub(super) fn refuse_newer(path: &Path, migrations: &[Migration]) -> Result<(), Fault> {
    let look = || -> Result<Option<u64>, Fault> {
        let file = builder().open_read_only(path)?;
        let found = file.begin_read()?.open_table(META)?.get(schema::SCHEMA)?;
        Ok(found.map(|found| found.value()))
    };
    match guarded(look) {
        Ok(Some(found)) if found > schema::newest(migrations) => Err(Fault::Newer(found)),
        _ => Ok(()),
    }
}

/// Adds a run to those of the file.
pub(super) fn begin_run(transaction: &WriteTransaction, epoch: u64) -> Result<Runs, Error> {
    let mut table = transaction.open_table(RUNS)?;
    let mut ends = Vec::new();
    for entry in table.iter()? {
        let (run, end) = entry?;
        ends.push((run.value(), end.value()));
    }
    let found = Runs::new(ends);
    let runs = found.begin(epoch);
    for (run, _) in found.ends() {
        if !runs.ends().iter().any(|(kept, _)| kept == run) {
            table.remove(run)?;
        }
    }
    table.insert(epoch, runs.total())?;
    Ok(runs)
}

pub(super) fn read(
    file: &redb::Database,
    after: u64,
    mut take: impl FnMut(u64, &[u8], &[u8]) -> ControlFlow<()>,
) -> Result<(), Fault> {
    let transaction = file.begin_read()?;
    let instances = transaction.open_table(INSTANCES)?;
    let renewed = transaction.open_table(RENEWED)?;
    let mut renewed = renewed.range(after.saturating_add(1)..)?.peekable();
    for entry in instances.range(after.saturating_add(1)..)? {
        let (id, record) = entry?;
        let id = id.value();
        // Both tables are in the same order.
        while renewed.next_if(|next| matches!(next, Ok((other, _)) if other.value() < id)).is_some()
        {
        }
        let is_same = |next: &Result<(redb::AccessGuard<'_, u64>, _), _>| match next {
            Ok((other, _)) => other.value() == id,
            Err(_) => true,
        };
        let renewal = renewed.next_if(is_same).transpose()?;
        let renewal = renewal.as_ref().map_or(&[][..], |(_, bytes)| bytes.value());
        if take(id, renewal, record.value()).is_break() {
            break;
        }
    }
    Ok(())
}
