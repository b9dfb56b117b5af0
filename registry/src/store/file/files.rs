//! The database and its mirror: writes to both, and keeps them in place.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::StoreId;
use tracing::{error, warn};

use super::database::Database;
use super::directory::StateDirectory;
use super::fault::{Fault, OpenError};
use super::mirror::{Contents, Mirror};
use super::opening::{deleted, open, random_instance, random_store, rebuild_from, rewrite};
use super::pending::{Group, Numbers};
use super::runs::Runs;
use crate::store::{Origin, Records, StoreError};

/// The time after which the database is made durable. Changes are durable in the mirror before.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// The files of one run.
pub(super) struct Files {
    directory: StateDirectory,
    /// `None` until there is room to begin the run in it.
    database: Option<Database>,
    /// `None` if it must be written as a whole before the next transaction is acknowledged.
    mirror: Option<Mirror>,
    /// The state with which the run began, if the disk was too full to write its begin.
    early: Option<Early>,
    /// When the database was last made durable.
    checkpointed: Instant,
    /// Whether the log has the loss of a file that has not been written again yet.
    is_told: bool,
}

/// A run that began although its begin could not be written. No later run uses its numbers, because
/// they are those of a new store, and those of instances begin at a random one.
struct Early {
    contents: Contents,
    runs: Arc<Runs>,
    store: u32,
    instances: u64,
}

impl Files {
    /// Opens the files of a directory, or creates them. Repairs one from the other, and moves a
    /// damaged one aside. If the disk is too full to begin a run, begins it in memory.
    ///
    /// # Errors
    /// [`OpenError`] with the directory, to try again.
    pub(super) fn open(
        directory: StateDirectory,
    ) -> Result<(Self, Origin), (StateDirectory, OpenError)> {
        match open(&directory) {
            Ok((database, mirror)) => {
                let origin = database.origin();
                let database = Some(database);
                Ok((Self::new(directory, database, mirror, None), origin))
            }
            Err(OpenError::NoRoom(why)) => match Early::read(&directory) {
                Some(early) => {
                    error!("{why}; make room there: until then no change is acknowledged");
                    let origin = early.origin();
                    Ok((Self::new(directory, None, None, Some(early)), origin))
                }
                None => Err((directory, OpenError::NoRoom(why))),
            },
            Err(fatal) => Err((directory, fatal)),
        }
    }

    fn new(
        directory: StateDirectory,
        database: Option<Database>,
        mirror: Option<Mirror>,
        early: Option<Early>,
    ) -> Self {
        let checkpointed = Instant::now();
        Self { directory, database, mirror, early, checkpointed, is_told: false }
    }

    /// The revisions and the numbers of instances that this run may use without reserving more.
    pub(super) fn numbers(&self) -> (Numbers, Numbers) {
        match (&self.database, &self.early) {
            (Some(database), _) => database.numbers(),
            (None, Some(early)) => {
                let instances = Numbers { used: early.instances, reserved: early.instances };
                (Numbers::default(), instances)
            }
            (None, None) => <_>::default(),
        }
    }

    /// The earlier runs, and the start of this one.
    pub(super) fn runs(&self) -> Arc<Runs> {
        let early = self.early.as_ref().map(|early| Arc::clone(&early.runs));
        self.database.as_ref().map(Database::runs).or(early).unwrap_or_default()
    }

    /// Reads the records with numbers above `after`, as [`Database::read`].
    pub(super) fn read(
        &mut self,
        after: u64,
        mut take: impl FnMut(u64, &[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        if let Some(early) = &self.early {
            let mut records = early.contents.records.range(after.saturating_add(1)..);
            let _ = records.try_for_each(|(id, (renewed, record))| take(*id, renewed, record));
            return Ok(());
        }
        self.database.as_mut().map_or(Ok(()), |database| database.read(after, take))
    }

    /// Makes a group durable. It may be repeated, whether or not an earlier attempt succeeded.
    pub(super) fn commit(&mut self, group: &Group) -> Result<(), Fault> {
        self.begin_late()?;
        self.keep()?;
        let checkpoint = self.checkpointed.elapsed() >= CHECKPOINT_INTERVAL;
        self.write(group, checkpoint)?;
        self.keep()
    }

    /// Writes the last group.
    pub(super) fn close(&mut self, group: &Group) -> Result<(), Fault> {
        self.begin_late()?;
        self.keep()?;
        self.write(group, true)?;
        self.keep()
    }

    /// Looks after the files while nothing changes.
    pub(super) fn rest(&mut self) -> Result<(), Fault> {
        self.keep()?;
        let Some(database) = &mut self.database else { return Ok(()) };
        self.checkpointed = Instant::now();
        database.checkpoint()
    }

    fn write(&mut self, group: &Group, checkpoint: bool) -> Result<(), Fault> {
        let Self { directory, database: Some(database), mirror, .. } = self else { return Ok(()) };
        if mirror.as_ref().is_none_or(|mirror| mirror.is_large(database.len())) {
            match rewrite(&directory.mirror(), database) {
                Ok(fresh) => *mirror = Some(fresh),
                // An old mirror that is too long still works.
                Err(_) if mirror.is_some() => {}
                Err(fault) => return Err(fault),
            }
        }
        if let Some(mirror) = mirror {
            database.commit(group, mirror, checkpoint)?;
        }
        if checkpoint {
            self.checkpointed = Instant::now();
        }
        Ok(())
    }

    /// Checks that the files still have their names, and writes a file again that does not: the
    /// open file and the other one still have its content.
    pub(super) fn keep(&mut self) -> Result<(), Fault> {
        let Self { directory, database: Some(database), mirror, is_told, .. } = self else {
            return Ok(());
        };
        directory.keep().map_err(|error| Fault::Io(io::Error::other(error)))?;
        let is_lost = |mirror: &Option<Mirror>| mirror.as_ref().is_some_and(|it| !it.is_in_place());
        let lost = [!database.is_in_place(), is_lost(mirror)];
        for (path, is_lost) in [directory.file(), directory.mirror()].iter().zip(lost) {
            if is_lost && !*is_told {
                warn!(
                    file = %path.display(),
                    "deleted, replaced or cut while the registry runs; it is written again"
                );
            }
        }
        *is_told = lost.contains(&true);
        if is_lost(mirror) && database.is_open() {
            *mirror = Some(rewrite(&directory.mirror(), database)?);
        }
        let is_in_place = database.is_in_place();
        if !is_in_place || !database.is_open() {
            let reopened =
                if is_in_place { database.reopen(mirror.as_ref()) } else { Err(deleted()) };
            match reopened {
                Err(Fault::Damaged(_)) => {
                    rebuild_from(directory, mirror.as_ref(), database.sequence())?;
                    database.reopen(mirror.as_ref())?;
                }
                reopened => reopened?,
            }
        }
        if is_lost(mirror) {
            *mirror = Some(rewrite(&directory.mirror(), database)?);
        }
        Ok(())
    }

    /// Begins the run in the files, if the disk was too full before.
    fn begin_late(&mut self) -> Result<(), Fault> {
        if self.database.is_some() {
            return Ok(());
        }
        let (mut database, mut mirror) = open(&self.directory).map_err(OpenError::into_fault)?;
        if let Some(early) = self.early.take() {
            database.rename(early.store, early.instances);
            // Both files have the new number before a change is acknowledged under it.
            mirror = None;
        }
        (self.database, self.mirror) = (Some(database), mirror);
        Ok(())
    }

    /// Describes a failure, for operators.
    pub(super) fn explain(&self, fault: &Fault) -> String {
        fault.explain(&self.directory.file())
    }

    /// Describes a failure to read records, for operators.
    pub(super) fn explain_reading(&self, fault: &Fault) -> String {
        fault.explain_reading(&self.directory.file())
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Early {
    /// Reads the mirror. `None` if there may be records that it does not have.
    fn read(directory: &StateDirectory) -> Option<Self> {
        let contents = match Mirror::open(&directory.mirror()) {
            Ok(Some((mirror, summary))) if summary.damage.is_none() => mirror.contents().ok()?,
            Ok(None) if !directory.file().exists() => Contents::default(),
            _ => return None,
        };
        let runs = Arc::new(Runs::new(contents.runs.clone()));
        let instances = contents.commit.instances.max(random_instance());
        Some(Self { contents, runs, store: random_store(), instances })
    }

    fn origin(&self) -> Origin {
        let (store, last_instance) = (StoreId::new(self.store), self.instances);
        Origin { store, revision: 0, last_instance, records: Records::default() }
    }
}

impl OpenError {
    fn into_fault(self) -> Fault {
        match self {
            Self::Fatal(StoreError::Io { source, .. })
            | Self::NoRoom(StoreError::Io { source, .. }) => Fault::Io(source),
            Self::Fatal(error) | Self::NoRoom(error) => Fault::Io(io::Error::other(error)),
        }
    }
}
