//! The mirror: a second copy of the registrations, in another form.
//!
//! The file of the database is verified as a whole: damage to one page either goes back to the
//! transaction before, unnoticed, or makes all of it unreadable. The mirror is a list of frames,
//! each with its own checksum. Each transaction is appended to it and is durable there before it is
//! acknowledged; about once a second the database makes the latest ones durable too. So damage to
//! the database loses nothing, and damage to the mirror only the frames that it hits, if the
//! database does not have them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::directory::{Identity, private_file};
use super::frame::{Commit, Damage, Frame, Scanner};

/// The bytes that transactions may add before the mirror is written anew, besides as many as it had
/// then.
const SLACK: u64 = 1 << 20;

/// The mirror of one run.
#[derive(Debug)]
pub(super) struct Mirror {
    path: PathBuf,
    file: File,
    identity: Identity,
    /// The end of the last complete transaction.
    len: u64,
    /// The length when it was last written as a whole.
    base_len: u64,
    /// The transaction with which that was.
    base: u64,
    /// The last complete transaction.
    sequence: u64,
    /// How many frames of instances it has, out of date or not.
    frames: u64,
    /// Whether bytes of a failed attempt may follow.
    is_torn: bool,
}

/// The content of a mirror, as far as it verifies.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The renewals and the record of each instance.
    pub(super) records: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
    pub(super) runs: Vec<(u64, u64)>,
    pub(super) commit: Commit,
    pub(super) damage: Damage,
}

/// The effect of a transaction on one instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Put { renewed: Vec<u8>, record: Vec<u8> },
    Renewed(Vec<u8>),
    Removed,
}

/// A summary of what a mirror holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// The last complete transaction.
    pub(super) commit: Commit,
    pub(super) damage: Damage,
    /// Whether anything follows the last complete transaction.
    pub(super) has_tail: bool,
}

impl Mirror {
    /// Opens and verifies a mirror; `None` if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Option<(Self, Summary)>> {
        let file = match private_file().open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut scanner = Scanner::new(&file)?;
        let (mut commit, mut len, mut base_len) = (Commit::default(), 0, 0);
        let mut frames = 0;
        while let Some((frame, end)) = scanner.next()? {
            frames += 1;
            if let Frame::Commit(found) = frame {
                if found.base == found.sequence {
                    base_len = end;
                }
                (commit, len) = (found, end);
            }
        }
        let metadata = file.metadata()?;
        let (damage, has_tail) = (scanner.damage(), metadata.len() > len);
        let summary = Summary { commit, damage, has_tail };
        let identity = Identity::of(&metadata);
        let (path, Commit { base, sequence, .. }) = (path.to_owned(), summary.commit);
        let is_torn = has_tail;
        let mirror = Self { path, file, identity, len, base_len, base, sequence, frames, is_torn };
        Ok(Some((mirror, summary)))
    }

    /// Writes a mirror as a whole, under a temporary name until it is complete. `write` writes the
    /// frames of all records.
    pub(super) fn rewrite(
        path: &Path,
        commit: Commit,
        runs: &[(u64, u64)],
        frames: u64,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let unfinished = path.with_extension("mirror.new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = private_file().create_new(true).open(&unfinished)?;
        let written = || {
            let mut out = BufWriter::new(&file);
            Frame::Runs(runs.to_vec()).write(&mut out)?;
            write(&mut out)?;
            Frame::Commit(Commit { base: commit.sequence, ..commit }).write(&mut out)?;
            out.flush()?;
            drop(out);
            file.sync_all()?;
            fs::rename(&unfinished, path)?;
            path.parent().map_or(Ok(()), super::directory::sync)
        };
        if let Err(error) = written() {
            // An unfinished file must not take the room that the next attempt needs.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        let metadata = file.metadata()?;
        let (len, identity) = (metadata.len(), Identity::of(&metadata));
        let (path, sequence) = (path.to_owned(), commit.sequence);
        let (base, base_len, is_torn) = (sequence, len, false);
        Ok(Self { path, file, identity, len, base_len, base, sequence, frames, is_torn })
    }

    /// Appends the frames of a transaction, so many of instances, and its end, and makes them
    /// durable. After a failure, it may be repeated.
    pub(super) fn append(
        &mut self,
        mut frames: Vec<u8>,
        count: usize,
        commit: Commit,
    ) -> io::Result<()> {
        Frame::Commit(commit).write(&mut frames)?;
        if self.is_torn {
            self.file.set_len(self.len)?;
        }
        self.is_torn = true;
        self.file.seek(SeekFrom::Start(self.len))?;
        // One call, so that a kill seldom leaves a part of it.
        let appended = self.file.write_all(&frames).and_then(|()| self.file.sync_data());
        if appended.is_err() {
            // A torn mirror would look damaged. If this fails, the next attempt repeats it.
            let _ = self.file.set_len(self.len);
            return appended;
        }
        self.len += frames.len() as u64;
        self.frames += count as u64;
        (self.sequence, self.is_torn) = (commit.sequence, false);
        Ok(())
    }

    /// The number of its last complete transaction.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The number of the transaction with which it was last written as a whole.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Whether most of it is out of date, if there are so many instances.
    pub(super) fn is_large(&self, instances: u64) -> bool {
        self.len > SLACK + 2 * self.base_len && self.frames / 2 > instances
    }

    /// Whether the file is still under its name, with all that was written.
    pub(super) fn is_in_place(&self) -> bool {
        fs::metadata(&self.path)
            .is_ok_and(|now| Identity::of(&now) == self.identity && now.len() >= self.len)
    }

    /// Reads all complete transactions.
    pub(super) fn contents(&self) -> io::Result<Contents> {
        Self::read(Scanner::new(&self.file)?.up_to(self.len))
    }

    /// Reads everything that verifies, also after the last complete transaction: such changes were
    /// not acknowledged, or damage has hit the end of their transaction.
    pub(super) fn salvage(&self) -> io::Result<Contents> {
        Self::read(Scanner::new(&self.file)?)
    }

    fn read(mut scanner: Scanner) -> io::Result<Contents> {
        let mut contents = Contents::default();
        while let Some((frame, _)) = scanner.next()? {
            match frame {
                Frame::Runs(runs) => contents.runs = runs,
                Frame::Commit(commit) => {
                    contents.commit = commit;
                    contents.run_ends(commit.epoch, commit.run_end);
                }
                frame => contents.make(frame),
            }
        }
        contents.damage = scanner.damage();
        Ok(contents)
    }

    /// The edits after transaction `sequence`, as far as they verify, and the damage there.
    pub(super) fn after(&self, sequence: u64) -> io::Result<(Vec<(u64, Edit)>, Damage)> {
        let mut scanner = Scanner::new(&self.file)?;
        let (mut edits, mut before) = (Vec::new(), Damage::default());
        while let Some((frame, _)) = scanner.next()? {
            match frame {
                Frame::Runs(_) => {}
                Frame::Commit(commit) if commit.sequence <= sequence => {
                    edits.clear();
                    before = scanner.damage();
                }
                Frame::Commit(_) => {}
                frame => edits.extend(Edit::of(frame)),
            }
        }
        let Damage { parts, bytes } = scanner.damage();
        Ok((edits, Damage { parts: parts - before.parts, bytes: bytes - before.bytes }))
    }
}

impl Edit {
    fn of(frame: Frame<'_>) -> Option<(u64, Self)> {
        match frame {
            Frame::Put { id, renewed, record } => {
                Some((id, Self::Put { renewed: renewed.to_vec(), record: record.to_vec() }))
            }
            Frame::Renewed { id, renewed } => Some((id, Self::Renewed(renewed.to_vec()))),
            Frame::Removed { id } => Some((id, Self::Removed)),
            Frame::Runs(_) | Frame::Commit(_) => None,
        }
    }
}

impl Contents {
    fn make(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Put { id, renewed, record } => {
                self.records.insert(id, (renewed.to_vec(), record.to_vec()));
            }
            Frame::Renewed { id, renewed } => {
                if let Some((known, _)) = self.records.get_mut(&id) {
                    *known = renewed.to_vec();
                }
            }
            Frame::Removed { id } => drop(self.records.remove(&id)),
            Frame::Runs(_) | Frame::Commit(_) => {}
        }
    }

    fn run_ends(&mut self, epoch: u64, end: u64) {
        match self.runs.last_mut() {
            Some(last) if last.0 == epoch => last.1 = end,
            _ => self.runs.push((epoch, end)),
        }
    }
}
