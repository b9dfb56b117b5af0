//! Opens the database and its mirror at a start, compares them, and repairs one from the other.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::{fs, thread};

use tracing::{error, info, warn};

use super::database::{Database, Loaded};
use super::directory::StateDirectory;
use super::fault::{Fault, OpenError};
use super::frame::{Commit, Damage, Frame};
use super::mirror::{Contents, Mirror, Summary};
use super::schema::MIGRATIONS;
use crate::random;

/// Opens, compares and repairs the files, and begins a run in them.
pub(super) fn open(directory: &StateDirectory) -> Result<(Database, Option<Mirror>), OpenError> {
    let path = directory.file();
    let at = |fault: Fault| fault.at(&path);
    let (loaded, mirror) = thread::scope(|scope| {
        let mirror = scope.spawn(|| Mirror::open(&directory.mirror()));
        let loaded = Database::load(&path, MIGRATIONS);
        (loaded, mirror.join().unwrap_or_else(|_| Err(io::Error::other("its reader failed"))))
    });
    let mirror = match mirror {
        Ok(mirror) => mirror,
        Err(source) => {
            let why = source.to_string();
            warn!(file = %directory.mirror().display(), why, "cannot read the second copy");
            None
        }
    };
    let loaded = match (loaded, &mirror) {
        (Ok(Some(loaded)), Some((mirror, summary))) if is_behind(&loaded, &summary.commit) => {
            let aside = directory.move_aside(&path).map_err(Fault::Io).map_err(at)?;
            error!(
                file = %path.display(), moved_to = %aside.display(),
                "THE FILE OF REGISTRATIONS IS OUT OF DATE and has been moved aside"
            );
            return begin_from(directory, Some(mirror));
        }
        (Ok(Some(loaded)), _) => loaded,
        (Ok(None), None) => {
            let contents = Contents { commit: fresh(0), ..Contents::default() };
            let begun = begin_with(directory, &contents)?;
            info!(file = %path.display(), "created a new file for registrations");
            return Ok(begun);
        }
        (Ok(None), Some((mirror, _))) => {
            warn!(
                file = %path.display(),
                "missing: it is written again from its second copy; delete both to start empty"
            );
            return begin_from(directory, Some(mirror));
        }
        (Err(Fault::Damaged(why)), mirror) => {
            let aside = directory.move_aside(&path).map_err(Fault::Io).map_err(at)?;
            error!(
                file = %path.display(), moved_to = %aside.display(), why,
                "THE FILE OF REGISTRATIONS IS DAMAGED and has been moved aside"
            );
            return begin_from(directory, mirror.as_ref().map(|(mirror, _)| mirror));
        }
        (Err(fault), _) => return Err(fault.at(&path)),
    };
    match mirror {
        Some((mirror, summary)) if summary.commit.store == loaded.numbers().store => {
            begin_both(directory, loaded, mirror, summary)
        }
        _ => {
            if loaded.numbers().sequence > 0 {
                warn!(
                    file = %directory.mirror().display(),
                    "the second copy of the registrations is missing or damaged: whether the file \
                     has the latest changes is unknown; the copy is written again"
                );
            }
            let numbers = loaded.numbers();
            let database = Database::begin(loaded, &[], numbers).map_err(at)?;
            Ok(with_new_mirror(directory, database))
        }
    }
}

/// Whether the mirror has transactions that the database lacks, and not one by one.
fn is_behind(loaded: &Loaded, known: &Commit) -> bool {
    let own = loaded.numbers();
    known.store == own.store && known.base > own.sequence
}

/// Begins a run in a database and its mirror, which may be ahead.
fn begin_both(
    directory: &StateDirectory,
    loaded: Loaded,
    mut mirror: Mirror,
    summary: Summary,
) -> Result<(Database, Option<Mirror>), OpenError> {
    let path = directory.file();
    let at = |fault: Fault| fault.at(&path);
    let (own, known) = (loaded.numbers(), summary.commit);
    let is_whole = summary.damage.is_none() && !summary.has_tail;
    let (edits, damage) = if is_whole && known.sequence == own.sequence {
        <_>::default()
    } else {
        mirror.after(own.sequence).map_err(Fault::Io).map_err(at)?
    };
    // One damaged part before which the database is ahead is the end of a transaction that it has.
    let is_harmless = damage.parts <= 1 && own.sequence > known.sequence;
    let latest = if known.sequence > own.sequence { known } else { own };
    let numbers = if damage.is_none() || is_harmless {
        latest
    } else {
        report_loss(edits.len(), damage);
        let instances = own.instances.max(known.instances);
        latest.after_loss(instances)
    };
    if !summary.damage.is_none() && numbers.store == own.store {
        warn!(
            file = %directory.mirror().display(), damaged_bytes = summary.damage.bytes,
            "the second copy of the registrations is damaged; nothing is lost, and it is written \
             again"
        );
    }
    let database = Database::begin(loaded, &edits, numbers).map_err(at)?;
    if known.sequence > own.sequence && numbers.store == known.store {
        info!(changes = edits.len(), "took over changes from the second copy; nothing is lost");
    }
    let is_kept = is_whole && known.sequence >= own.sequence && !mirror.is_large(database.len());
    if is_kept && database.mirror_begin(&mut mirror).is_ok() {
        return Ok((database, Some(mirror)));
    }
    Ok(with_new_mirror(directory, database))
}

/// Begins a run in a database that is written from a mirror, as far as there is one.
fn begin_from(
    directory: &StateDirectory,
    mirror: Option<&Mirror>,
) -> Result<(Database, Option<Mirror>), OpenError> {
    let contents = mirror.map(Mirror::salvage).transpose();
    let mut contents = contents.unwrap_or_default().unwrap_or_default();
    let restored = contents.records.len();
    if contents.commit.sequence > 0 && contents.damage.is_none() {
        warn!(restored, "restored all registrations from the second copy; nothing is lost");
    } else {
        report_loss(restored, contents.damage);
        let last = contents.records.keys().next_back().copied().unwrap_or(0);
        let Commit { instances, .. } = contents.commit;
        contents.commit = contents.commit.after_loss(instances.max(last));
    }
    begin_with(directory, &contents)
}

/// Begins a run with these contents.
fn begin_with(
    directory: &StateDirectory,
    contents: &Contents,
) -> Result<(Database, Option<Mirror>), OpenError> {
    let path = directory.file();
    rebuild(directory, contents).map_err(|fault| fault.at(&path))?;
    let loaded = reload(&path)?;
    let numbers = loaded.numbers();
    let database = Database::begin(loaded, &[], numbers).map_err(|fault| fault.at(&path))?;
    Ok(with_new_mirror(directory, database))
}

/// Writes a mirror. If that fails, the next transaction tries again, and reports it.
fn with_new_mirror(
    directory: &StateDirectory,
    mut database: Database,
) -> (Database, Option<Mirror>) {
    let mirror = rewrite(&directory.mirror(), &mut database).ok();
    (database, mirror)
}

fn report_loss(restored: usize, damage: Damage) {
    error!(
        restored,
        damaged_bytes = damage.bytes,
        "REGISTRATIONS MAY BE LOST: restored those that the second copy still has; the registry \
         learns the others again as they renew"
    );
}

impl Commit {
    /// The numbers of another store. Revisions and numbers of instances that are not known to be
    /// unused are not used.
    fn after_loss(self, instances: u64) -> Self {
        let instances = instances.max(random_instance());
        Self { store: random_store(), revisions: 0, instances, ..self }
    }
}

fn reload(path: &Path) -> Result<Loaded, OpenError> {
    let missing = || Fault::Io(io::ErrorKind::NotFound.into());
    let loaded = Database::load(path, MIGRATIONS).and_then(|it| it.ok_or_else(missing));
    loaded.map_err(|fault| fault.at(path))
}

/// Writes a database with these contents, under its name once it is complete.
fn rebuild(directory: &StateDirectory, contents: &Contents) -> Result<(), Fault> {
    let unfinished = directory.unfinished();
    let created = Database::create(&unfinished, contents);
    if created.is_err() {
        // An unfinished file must not take the room that the next attempt needs.
        let _ = fs::remove_file(&unfinished);
    }
    created?;
    directory.finish().map_err(Fault::Io)
}

/// Writes the database of a run from its mirror.
pub(super) fn rebuild_from(
    directory: &StateDirectory,
    mirror: Option<&Mirror>,
    sequence: u64,
) -> Result<(), Fault> {
    let path = directory.file();
    let contents = mirror.map(Mirror::contents).transpose().map_err(Fault::Io)?.unwrap_or_default();
    if contents.commit.sequence < sequence || !contents.damage.is_none() {
        return Err(Fault::Damaged("its second copy is lost as well".to_owned()));
    }
    put_aside(directory, &path)?;
    rebuild(directory, &contents)?;
    info!(file = %path.display(), "written again from its second copy");
    Ok(())
}

pub(super) fn deleted() -> Fault {
    Fault::Damaged("it has been deleted or replaced".to_owned())
}

/// Writes the mirror of a database as a whole.
pub(super) fn rewrite(path: &Path, database: &mut Database) -> Result<Mirror, Fault> {
    // The mirror no longer has the latest transactions one by one.
    database.checkpoint()?;
    let (commit, runs) = (database.state(), database.run_ends());
    let mut read = Ok(());
    let mirror = Mirror::rewrite(path, commit, &runs, database.len(), |out| {
        let mut written = Ok(0);
        read = database.read(0, |id, renewed, record| {
            written = Frame::Put { id, renewed, record }.write(out);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match &read {
            Err(_) => Err(io::Error::other("cannot read the database")),
            Ok(()) => written.map(drop),
        }
    });
    read?;
    mirror.map_err(Fault::Io)
}

/// Moves aside what has taken the name of a file, if anything has.
fn put_aside(directory: &StateDirectory, path: &Path) -> Result<(), Fault> {
    match directory.move_aside(path) {
        Ok(aside) => {
            warn!(file = %path.display(), moved_to = %aside.display(), "moved aside");
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Fault::Io(error)),
    }
}

/// The numbers of a new store whose instances follow `instances`.
fn fresh(instances: u64) -> Commit {
    Commit { store: random_store(), instances, ..Commit::default() }
}

pub(super) fn random_store() -> u32 {
    random::store_id(random::number()).get()
}

/// A number that no earlier instance has, for all that is known: far above those in use.
pub(super) fn random_instance() -> u64 {
    const BITS: u32 = 40;
    let number = random::number() & ((1 << BITS) - 1);
    (1 << BITS) + u64::try_from(number).unwrap_or(0)
}
