//! The file: opens, verifies, reads and writes it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Durability, Error, ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};
use rpyc_protocol::registry::native::StoreId;
use tracing::info;

use super::directory::Identity;
use super::encoding;
use super::fault::{Fault, guarded, no};
use super::frame::{Commit, Frame};
use super::mirror::{Contents, Edit, Mirror};
use super::pages::{begin_run, create, make, open, put_numbers, read, refuse_newer, sequence_of};
use super::pending::{Entry, Group, INSTANCE_BLOCK, Numbers, REVISION_BLOCK};
use super::runs::Runs;
use super::schema::{self, INSTANCES, Migration, RENEWED, RUNS};
use crate::store::{Origin, Records, Silence};

/// The least size of a file.
const LEAST_BYTES: u64 = 4096;

/// The file of one run.
pub(super) struct Database {
    path: PathBuf,
    /// `None` after a failure, until it can be opened again.
    file: Option<redb::Database>,
    /// The identity of the opened file, if the system reports one.
    identity: Option<Identity>,
    /// The random number of the store.
    store: u32,
    /// The number of the last transaction.
    sequence: u64,
    /// The number of the last transaction that is durable in the file, and not only in the mirror.
    durable: u64,
    /// How many records the file has.
    len: u64,
    /// The number of this run.
    epoch: u64,
    /// The earlier runs, and the start of this one.
    runs: Arc<Runs>,
    /// The end of this run so far.
    run_end: u64,
    revisions: Numbers,
    instances: Numbers,
}

/// A file that has been opened and verified, and in which no run has begun yet.
pub(super) struct Loaded {
    path: PathBuf,
    file: redb::Database,
    numbers: Commit,
}

impl Loaded {
    /// The numbers after the last transaction.
    pub(super) fn numbers(&self) -> Commit {
        self.numbers
    }
}
impl Database {
    /// Opens a file and migrates it to the newest format; `None` if there is none.
    pub(super) fn load(path: &Path, migrations: &[Migration]) -> Result<Option<Loaded>, Fault> {
        if !path.try_exists().map_err(Fault::Io)? {
            return Ok(None);
        }
        guarded(|| load(path, migrations)).map(Some)
    }

    /// Makes `edits`, with which the mirror is ahead, and begins a run after a transaction with
    /// these `numbers`. [`Database::read`] reads the records later.
    pub(super) fn begin(
        loaded: Loaded,
        edits: &[(u64, Edit)],
        numbers: Commit,
    ) -> Result<Self, Fault> {
        guarded(|| begin(loaded, edits, numbers))
    }

    /// Creates a file with these contents.
    pub(super) fn create(path: &Path, contents: &Contents) -> Result<(), Fault> {
        guarded(|| create(path, contents))
    }

    /// The state with which this run begins, without the records.
    pub(super) fn origin(&self) -> Origin {
        let (store, records) = (StoreId::new(self.store), Records::default());
        let (revision, last_instance) = (self.revisions.used, self.instances.used);
        Origin { store, revision, last_instance, records }
    }

    /// The revisions and the numbers of instances that this run may use without reserving more.
    pub(super) fn numbers(&self) -> (Numbers, Numbers) {
        (self.revisions, self.instances)
    }

    /// The earlier runs, and the start of this one.
    pub(super) fn runs(&self) -> Arc<Runs> {
        Arc::clone(&self.runs)
    }

    /// All runs and their ends, this one included.
    pub(super) fn run_ends(&self) -> Vec<(u64, u64)> {
        let mut ends = self.runs.ends().to_vec();
        if let Some(last) = ends.last_mut() {
            last.1 = self.run_end;
        }
        ends
    }

    /// How many records the file has.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The number of the last transaction.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The numbers after the last transaction.
    pub(super) fn state(&self) -> Commit {
        Commit {
            sequence: self.sequence,
            base: 0,
            store: self.store,
            epoch: self.epoch,
            run_end: self.run_end,
            revisions: self.revisions.reserved,
            instances: self.instances.reserved,
        }
    }

    /// Becomes another store, whose instances follow `instances`.
    pub(super) fn rename(&mut self, store: u32, instances: u64) {
        self.store = store;
        // The next checkpoint writes it.
        self.durable = 0;
        self.revisions = Numbers::default();
        self.instances = Numbers { used: instances, reserved: instances };
    }

    /// Whether the file is still under its name.
    pub(super) fn is_in_place(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|now| {
            now.len() >= LEAST_BYTES && self.identity.is_none_or(|it| it == Identity::of(&now))
        })
    }

    /// Whether the file is open, so that its content can be read although it has lost its name.
    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Opens the file under its name, and makes the transactions that only the mirror has.
    ///
    /// # Errors
    /// [`Fault::Damaged`] also if the mirror cannot help.
    pub(super) fn reopen(&mut self, mirror: Option<&Mirror>) -> Result<(), Fault> {
        self.file = None;
        self.identity = fs::metadata(&self.path).ok().map(|it| Identity::of(&it));
        let file = guarded(|| {
            let file = open(&self.path)?;
            let found = sequence_of(&file)?;
            if found >= self.sequence {
                // The transaction that failed may have become durable nevertheless.
                return Ok(file);
            }
            let mirror = mirror.filter(|it| it.base() <= found);
            let mirror =
                mirror.ok_or_else(|| Fault::Damaged(format!("it ends at transaction {found}")))?;
            let (edits, damage) = mirror.after(found).map_err(Fault::Io)?;
            if !damage.is_none() {
                return Err(Fault::Damaged("its second copy is damaged too".to_owned()));
            }
            let transaction = file.begin_write()?;
            make(&transaction, &edits)?;
            put_numbers(&transaction, &self.state())?;
            transaction.commit()?;
            Ok(file)
        })?;
        self.file = Some(file);
        self.durable = self.sequence;
        Ok(())
    }

    /// Makes the latest transactions durable in the file as well.
    pub(super) fn checkpoint(&mut self) -> Result<(), Fault> {
        let Some(file) = self.file.as_ref().filter(|_| self.durable < self.sequence) else {
            return Ok(());
        };
        let done = guarded(|| {
            let transaction = file.begin_write()?;
            put_numbers(&transaction, &self.state())?;
            Ok(transaction.commit()?)
        });
        match done {
            Ok(()) => self.durable = self.sequence,
            Err(_) => self.file = None,
        }
        done
    }

    /// Reads the records with numbers above `after`, in order. For each, it passes to `take` the
    /// number, the bytes of its renewals and those of the record, until `take` breaks. After a
    /// failure, call it again from the last number.
    pub(super) fn read(
        &mut self,
        after: u64,
        take: impl FnMut(u64, &[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        if self.file.is_none() {
            self.reopen(None)?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        let done = guarded(|| read(file, after, take));
        if done.is_err() {
            self.file = None;
        }
        done
    }

    /// Makes a group durable in the mirror, and then writes it to the file; durably, if this is a
    /// `checkpoint`. It may be repeated, whether or not an earlier attempt succeeded.
    pub(super) fn commit(
        &mut self,
        group: &Group,
        mirror: &mut Mirror,
        checkpoint: bool,
    ) -> Result<(), Fault> {
        let ran = u64::try_from(group.ran.as_millis()).unwrap_or(u64::MAX);
        let commit = Commit {
            sequence: self.sequence + 1,
            base: mirror.base(),
            run_end: self.runs.total().saturating_add(ran),
            revisions: group.revisions.unwrap_or(self.revisions.reserved),
            instances: group.instances.unwrap_or(self.instances.reserved),
            ..self.state()
        };
        if mirror.sequence() < commit.sequence {
            let frames = self.frames(group).map_err(Fault::Io)?;
            mirror.append(frames, group.entries.len(), commit).map_err(Fault::Io)?;
        }
        match guarded(|| self.write(group, &commit, checkpoint)) {
            Ok(len) => self.len = len,
            Err(fault) => {
                // After a failure the file must be reopened, which also verifies it.
                self.file = None;
                return Err(fault);
            }
        }
        self.sequence = commit.sequence;
        self.run_end = commit.run_end;
        (self.revisions.reserved, self.instances.reserved) = (commit.revisions, commit.instances);
        if checkpoint {
            self.durable = self.sequence;
        }
        Ok(())
    }

    /// Writes a group; returns how many records the file has then.
    fn write(&self, group: &Group, commit: &Commit, checkpoint: bool) -> Result<u64, Fault> {
        let Some(file) = &self.file else { return Err(Fault::Io(io::ErrorKind::NotFound.into())) };
        let mut transaction = file.begin_write()?;
        let durability = if checkpoint { Durability::Immediate } else { Durability::None };
        transaction
            .set_durability(durability)
            .map_err(|error| Fault::Io(io::Error::other(error)))?;
        let len = self.write_entries(&transaction, group)?;
        put_numbers(&transaction, commit)?;
        transaction.commit()?;
        Ok(len)
    }

    /// Appends the begin of this run to its mirror.
    pub(super) fn mirror_begin(&self, mirror: &mut Mirror) -> io::Result<()> {
        let mut frames = Vec::new();
        Frame::Runs(self.run_ends()).write(&mut frames)?;
        mirror.append(frames, 0, Commit { base: mirror.base(), ..self.state() })
    }

    fn write_entries(&self, transaction: &WriteTransaction, group: &Group) -> Result<u64, Error> {
        let mut instances = transaction.open_table(INSTANCES)?;
        let mut renewed = transaction.open_table(RENEWED)?;
        for (id, entry) in &group.entries {
            match entry {
                Entry::Put(record) => {
                    instances.insert(id, &*encoding::encode(record))?;
                    renewed.insert(id, &*self.renewed(&record.silent))?;
                }
                Entry::Heard(silent) => drop(renewed.insert(id, &*self.renewed(silent))?),
                Entry::Removed => {
                    instances.remove(id)?;
                    renewed.remove(id)?;
                }
            }
        }
        Ok(instances.len()?)
    }

    /// The frames of a group, without its end.
    fn frames(&self, group: &Group) -> io::Result<Vec<u8>> {
        let mut frames = Vec::new();
        let out = &mut frames;
        for (&id, entry) in &group.entries {
            match entry {
                Entry::Put(record) => {
                    let renewed = &self.renewed(&record.silent);
                    Frame::Put { id, renewed, record: &encoding::encode(record) }.write(out)?
                }
                Entry::Heard(silent) => {
                    Frame::Renewed { id, renewed: &self.renewed(silent) }.write(out)?
                }
                Entry::Removed => Frame::Removed { id }.write(out)?,
            };
        }
        Ok(frames)
    }

    /// Encodes that all leases of an instance renewed in this run, except silent ones.
    fn renewed(&self, silent: &[Silence]) -> Vec<u8> {
        let start = self.runs.total();
        let since = |silence: &Silence| start.saturating_add_signed(silence.since_ms);
        let silent: Vec<_> = silent.iter().map(|it| (it.name.as_str(), since(it))).collect();
        encoding::encode_renewed(self.epoch, &silent)
    }
}
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Opens a file, verifies it and migrates it.
fn load(path: &Path, migrations: &[Migration]) -> Result<Loaded, Fault> {
    refuse_newer(path, migrations)?;
    let file = open(path)?;
    let transaction = file.begin_write()?;
    let found = schema::get(&transaction, schema::SCHEMA)?.ok_or_else(|| no(schema::SCHEMA))?;
    let known = schema::newest(migrations);
    if found > known {
        return Err(Fault::Newer(found));
    }
    if found < known {
        schema::migrate(&transaction, found, migrations)?;
        info!(file = %path.display(), from = found, to = known, "migrated to a newer format");
    }
    let number = |word| schema::get(&transaction, word)?.ok_or_else(|| no(word));
    let numbers = Commit {
        sequence: schema::get(&transaction, schema::SEQUENCE)?.unwrap_or(0),
        base: 0,
        store: u32::try_from(number(schema::STORE)?).map_err(|_too_large| no(schema::STORE))?,
        epoch: number(schema::EPOCH)?,
        run_end: transaction.open_table(RUNS)?.last()?.map_or(0, |(_, end)| end.value()),
        revisions: number(schema::RESERVED)?,
        instances: number(schema::LAST_INSTANCE)?,
    };
    if found < known {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(Loaded { path: path.to_owned(), file, numbers })
}

fn begin(loaded: Loaded, edits: &[(u64, Edit)], numbers: Commit) -> Result<Database, Fault> {
    let Loaded { path, file, .. } = loaded;
    let transaction = file.begin_write()?;
    make(&transaction, edits)?;
    let Commit { store, epoch, run_end, .. } = numbers;
    transaction.open_table(RUNS)?.insert(epoch, run_end)?;
    let (epoch, sequence) = (epoch.saturating_add(1), numbers.sequence + 1);
    // The next run starts above every number that this run can use.
    let block = |used: u64, block| Numbers { used, reserved: used.saturating_add(block) };
    let revisions = block(numbers.revisions, REVISION_BLOCK);
    let instances = block(numbers.instances, INSTANCE_BLOCK);
    let runs = Arc::new(begin_run(&transaction, epoch)?);
    let len = transaction.open_table(INSTANCES)?.len()?;
    let run_end = runs.total();
    let identity = fs::metadata(&path).ok().map(|it| Identity::of(&it));
    let database = Database {
        path,
        file: None,
        identity,
        store,
        sequence,
        durable: sequence,
        len,
        epoch,
        runs,
        run_end,
        revisions,
        instances,
    };
    put_numbers(&transaction, &database.state())?;
    transaction.commit()?;
    Ok(Database { file: Some(file), ..database })
}
