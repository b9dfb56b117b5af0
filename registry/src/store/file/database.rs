//! The file: opens, verifies, reads and writes it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Builder, Error, ReadableDatabase as _, ReadableTable as _, WriteTransaction};
use rpyc_protocol::registry::native::StoreId;
use tracing::{error, info};

use super::directory::{StateDirectory, is_full, private_file};
use super::encoding;
use super::pending::{Entry, Group, INSTANCE_BLOCK, Numbers, REVISION_BLOCK};
use super::runs::Runs;
use super::schema::{self, INSTANCES, META, MIGRATIONS, Migration, RENEWED, RUNS};
use crate::store::{Origin, Records, Silence, StoreError};

/// The size of the cache for pages of the file. It is small because the newest records lie side by
/// side, older ones are seldom written, and the system caches the rest.
const CACHE_BYTES: usize = 16 << 20;

/// The file of one run.
pub(super) struct Database {
    path: PathBuf,
    /// `None` after a failure, until it can be opened again.
    file: Option<redb::Database>,
    /// The number of this run.
    epoch: u64,
    /// The earlier runs, and the start of this one.
    runs: Arc<Runs>,
    revisions: Numbers,
    instances: Numbers,
}

/// The file cannot be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Trying again would not help.
    Fatal(StoreError),
    /// The disk is full.
    NoRoom(StoreError),
}

/// An operation on the file failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Its content is invalid.
    Damaged(String),
    /// The system reports an error.
    Io(io::Error),
    /// Its format is newer than this version knows.
    Newer(u64),
}

impl Database {
    /// Opens the file of a directory, or creates one. Moves a damaged file aside.
    pub(super) fn open(directory: &StateDirectory) -> Result<(Self, Origin), OpenError> {
        let path = directory.file();
        let fatal = |what, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::from(StoreError::Io { what, path, source })
        };
        let mut is_there = path.try_exists().map_err(fatal("look for", &path))?;
        if is_there {
            match guarded(|| Self::begin_run(&path, MIGRATIONS)) {
                Err(Fault::Damaged(why)) => {
                    let aside = directory.move_aside().map_err(fatal("move aside", &path))?;
                    error!(
                        file = %path.display(), moved_to = %aside.display(), why,
                        "THE FILE OF REGISTRATIONS IS DAMAGED and has been moved aside; the \
                         registry starts empty and learns its servers again as they renew"
                    );
                    is_there = false;
                }
                begun => return begun.map_err(|fault| fault.at(&path)),
            }
        }
        debug_assert!(!is_there, "an undamaged file has been opened");
        let unfinished = directory.unfinished();
        guarded(|| create(&unfinished)).map_err(|fault| fault.at(&unfinished))?;
        directory.finish().map_err(fatal("give its name to", &path))?;
        info!(file = %path.display(), "created a new file for registrations");
        guarded(|| Self::begin_run(&path, MIGRATIONS)).map_err(|fault| fault.at(&path))
    }

    /// Opens a file, migrates it to the newest format and counts the start. [`Database::read`]
    /// reads the records later.
    fn begin_run(path: &Path, migrations: &[Migration]) -> Result<(Self, Origin), Fault> {
        refuse_newer(path, migrations)?;
        let file = open(path)?;
        let start = file.begin_write()?;
        let found = schema::get(&start, schema::SCHEMA)?.ok_or_else(|| no(schema::SCHEMA))?;
        let known = schema::newest(migrations);
        if found > known {
            return Err(Fault::Newer(found));
        } else if found < known {
            schema::migrate(&start, found, migrations)?;
            info!(file = %path.display(), from = found, to = known, "migrated to a newer format");
        }
        let number = |word| schema::get(&start, word)?.ok_or_else(|| no(word));
        let store =
            u32::try_from(number(schema::STORE)?).map_err(|_too_large| no(schema::STORE))?;
        let epoch = number(schema::EPOCH)?.saturating_add(1);
        // The next run starts above every number that this run can use.
        let block = |used: u64, block| Numbers { used, reserved: used.saturating_add(block) };
        let revisions = block(number(schema::RESERVED)?, REVISION_BLOCK);
        let instances = block(number(schema::LAST_INSTANCE)?, INSTANCE_BLOCK);
        schema::set(&start, schema::EPOCH, epoch)?;
        schema::set(&start, schema::RESERVED, revisions.reserved)?;
        schema::set(&start, schema::LAST_INSTANCE, instances.reserved)?;
        let runs = Arc::new(begin_run(&start, epoch)?);
        start.commit()?;
        let path = path.to_owned();
        let database = Self { path, file: Some(file), epoch, runs, revisions, instances };
        let (store, records) = (StoreId::new(store), Records::default());
        let (revision, last_instance) = (revisions.used, instances.used);
        Ok((database, Origin { store, revision, last_instance, records }))
    }

    /// Reads the records with numbers above `after`, in order. For each, it passes to `take` the
    /// number, the bytes of its renewals and those of the record, until `take` breaks. After a
    /// failure, call it again from the last number.
    pub(super) fn read(
        &mut self,
        after: u64,
        take: impl FnMut(u64, &[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let done = guarded(|| {
            let file = match self.file.take() {
                Some(file) => file,
                None => open(&self.path)?,
            };
            read(&file, after, take)?;
            self.file = Some(file);
            Ok(())
        });
        if done.is_err() {
            self.file = None;
        }
        done
    }

    /// The revisions that this run may use without another reservation.
    pub(super) fn revisions(&self) -> Numbers {
        self.revisions
    }

    /// The numbers of instances that this run may use without another reservation.
    pub(super) fn instances(&self) -> Numbers {
        self.instances
    }

    /// The earlier runs, and the start of this one.
    pub(super) fn runs(&self) -> Arc<Runs> {
        Arc::clone(&self.runs)
    }

    /// Makes a group durable. It may be repeated, whether or not an earlier attempt succeeded.
    pub(super) fn commit(&mut self, group: &Group) -> Result<(), Fault> {
        let committed = guarded(|| self.try_commit(group));
        if committed.is_err() {
            // After a failure the file must be reopened, which also verifies it.
            self.file = None;
        }
        committed
    }

    fn try_commit(&mut self, group: &Group) -> Result<(), Fault> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path)?,
        };
        let transaction = file.begin_write()?;
        self.write(&transaction, group)?;
        let revisions = group.revisions.map(|last| (schema::RESERVED, last));
        let instances = group.instances.map(|last| (schema::LAST_INSTANCE, last));
        for (word, last) in revisions.into_iter().chain(instances) {
            schema::set(&transaction, word, last)?;
        }
        let ran = u64::try_from(group.ran.as_millis()).unwrap_or(u64::MAX);
        let end = self.runs.total().saturating_add(ran);
        transaction.open_table(RUNS)?.insert(self.epoch, end)?;
        transaction.commit()?;
        self.file = Some(file);
        Ok(())
    }

    fn write(&self, transaction: &WriteTransaction, group: &Group) -> Result<(), Error> {
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
        Ok(())
    }

    /// Encodes that all leases of an instance renewed in this run, except silent ones.
    fn renewed(&self, silent: &[Silence]) -> Vec<u8> {
        let start = self.runs.total();
        let since = |silence: &Silence| start.saturating_add_signed(silence.since_ms);
        let silent: Vec<_> = silent.iter().map(|it| (it.name.as_str(), since(it))).collect();
        encoding::encode_renewed(self.epoch, &silent)
    }

    /// Describes a failure to read records, for operators.
    pub(super) fn explain_reading(&self, fault: &Fault) -> String {
        let path = self.path.display();
        match fault {
            Fault::Io(error) => format!("cannot read {path}: {error}; the registry tries again"),
            Fault::Damaged(_) | Fault::Newer(_) => self.explain(fault),
        }
    }

    /// Describes a failure to write a group, and the remedy, for operators.
    pub(super) fn explain(&self, fault: &Fault) -> String {
        let path = self.path.display();
        match fault {
            Fault::Io(error) if is_full(error) => {
                format!(
                    "cannot write to {path}: {error}; make room there; the registry tries again"
                )
            }
            Fault::Io(error) => {
                format!("cannot write to {path}: {error}; the registry tries again")
            }
            Fault::Damaged(why) => format!(
                "{path} is damaged ({why}); restart the registry, which moves it aside and starts \
                 empty"
            ),
            Fault::Newer(_) => format!("{path} has a newer format, so two registries write to it"),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Creates an empty file.
fn create(path: &Path) -> Result<(), Fault> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Fault::Io(error)),
        _ => {}
    }
    let file = private_file().create_new(true).open(path).map_err(Fault::Io)?;
    let file = builder().create_with_backend(FileBackend::new(file)?)?;
    let transaction = file.begin_write()?;
    transaction.open_table(INSTANCES)?;
    transaction.open_table(RENEWED)?;
    transaction.open_table(RUNS)?;
    let random = crate::random::number() & u128::from(u32::MAX);
    for (word, number) in [
        (schema::SCHEMA, schema::newest(MIGRATIONS)),
        (schema::STORE, u64::try_from(random).unwrap_or(0)),
        (schema::EPOCH, 0),
        (schema::RESERVED, 0),
        (schema::LAST_INSTANCE, 0),
    ] {
        schema::set(&transaction, word, number)?;
    }
    transaction.commit()?;
    file.close()?;
    Ok(())
}

/// Opens a file and verifies all of it, so that damage is found now and not when the file is read
/// or after it has been written to.
fn open(path: &Path) -> Result<redb::Database, Fault> {
    Ok(builder().set_check_integrity_on_open(true).open(path)?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Rejects a newer format without writing to the file. If the file cannot be opened read-only,
/// because it was not closed or is damaged, the full opening decides.
fn refuse_newer(path: &Path, migrations: &[Migration]) -> Result<(), Fault> {
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
fn begin_run(transaction: &WriteTransaction, epoch: u64) -> Result<Runs, Error> {
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

fn read(
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

/// Runs `work`; a panic of the library on unexpected damage counts as a fault as well.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
        Err(Fault::Damaged(text.unwrap_or("it cannot be read").to_owned()))
    })
}

fn no(word: &str) -> Fault {
    Fault::Damaged(format!("it has no valid {word}"))
}

impl Fault {
    fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Damaged(why) => {
                let (what, source) = ("use", io::Error::new(io::ErrorKind::InvalidData, why));
                StoreError::Io { what, path, source }
            }
            Self::Io(source) => StoreError::Io { what: "open", path, source },
            Self::Newer(found) => {
                StoreError::Newer { path, found, known: schema::newest(MIGRATIONS) }
            }
        }
        .into()
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Io { source, .. } if is_full(source) => Self::NoRoom(error),
            _ => Self::Fatal(error),
        }
    }
}

impl<E: Into<Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        match error.into() {
            Error::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Self::Damaged(error.to_string())
                }
                _ => Self::Io(error),
            },
            Error::Corrupted(why) => Self::Damaged(why),
            error @ (Error::TableTypeMismatch { .. }
            | Error::TableIsMultimap(_)
            | Error::TableDoesNotExist(_)
            | Error::TypeDefinitionChanged { .. }) => Self::Damaged(error.to_string()),
            error => Self::Io(io::Error::other(error.to_string())),
        }
    }
}
