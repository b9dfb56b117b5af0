//! The frames of the mirror: each stands alone, with a checksum.
//!
//! ```text
//! +--------+--------+--------+---------------------+
//! | "RGM1" | length | CRC-32 | payload (postcard)  |
//! +--------+--------+--------+---------------------+
//!   4 bytes  4 bytes  4 bytes  `length` bytes
//! ```
//!
//! Numbers are big-endian. The checksum covers length and payload. A reader that finds damage goes
//! on at the next marker, so damage costs only the frames that it hits.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write};

use serde::{Deserialize, Serialize};

/// Begins each frame, and names the format.
const MARKER: [u8; 4] = *b"RGM1";

/// The bytes of marker, length and checksum.
const HEAD: usize = 12;

/// The most bytes of a payload. A record takes at most some 20 KB.
const MAX_PAYLOAD: u32 = 1 << 20;

/// The size of the buffer of a reader.
const BUFFER: usize = 256 << 10;

/// One entry of the mirror.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Frame<'a> {
    /// Runs and their ends, in place of all earlier ones.
    Runs(Vec<(u64, u64)>),
    /// The record of an instance and its renewals.
    Put { id: u64, renewed: &'a [u8], record: &'a [u8] },
    /// The renewals of an instance.
    Renewed { id: u64, renewed: &'a [u8] },
    /// An instance is gone.
    Removed { id: u64 },
    /// Everything before belongs to transactions that are complete.
    Commit(Commit),
}

/// The numbers of the store as a whole, after a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    /// The number of the transaction.
    pub(super) sequence: u64,
    /// The number of the transaction with which the mirror was last written as a whole.
    pub(super) base: u64,
    /// The random number of the store.
    pub(super) store: u32,
    /// The number of the run.
    pub(super) epoch: u64,
    /// The end of the run so far, in milliseconds over all runs.
    pub(super) run_end: u64,
    /// The last revision that may have been used.
    pub(super) revisions: u64,
    /// The last number of an instance that may have been used.
    pub(super) instances: u64,
}

impl Frame<'_> {
    /// Writes the frame; returns how many bytes it takes.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<u64> {
        let payload = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let checksum = checksum(len, &payload);
        out.write_all(&MARKER)?;
        out.write_all(&len.to_be_bytes())?;
        out.write_all(&checksum.to_be_bytes())?;
        out.write_all(&payload)?;
        Ok(u64::from(len) + HEAD as u64)
    }
}

fn checksum(len: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len.to_be_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// The parts of a mirror that do not verify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) parts: u64,
    pub(super) bytes: u64,
}

impl Damage {
    pub(super) fn is_none(self) -> bool {
        self.bytes == 0
    }
}

/// Reads frames in order, and skips what does not verify.
#[derive(Debug)]
pub(super) struct Scanner {
    input: BufReader<File>,
    /// The end of the last frame.
    at: u64,
    end: u64,
    payload: Vec<u8>,
    damage: Damage,
}

impl Scanner {
    /// Reads `file` from its beginning. It shares the position of `file`.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(BUFFER, file.try_clone()?);
        let end = input.seek(SeekFrom::End(0))?;
        input.rewind()?;
        Ok(Self { input, at: 0, end, payload: Vec::new(), damage: Damage::default() })
    }

    /// Reads only the first `len` bytes.
    pub(super) fn up_to(mut self, len: u64) -> Self {
        self.end = self.end.min(len);
        self
    }

    /// The next frame that verifies, and where it ends.
    pub(super) fn next(&mut self) -> io::Result<Option<(Frame<'_>, u64)>> {
        let mut unfinished = None;
        while self.at < self.end {
            if self.read_frame()? {
                self.at += HEAD as u64 + self.payload.len() as u64;
                let frame = postcard::from_bytes(&self.payload);
                let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
                return Ok(Some((frame.map_err(invalid)?, self.at)));
            }
            if unfinished.is_none() && self.is_unfinished()? {
                unfinished = Some(self.damage);
            }
            let next = self.find_marker(self.at + 1)?;
            self.damage.parts += 1;
            self.damage.bytes += next - self.at;
            self.at = next;
            self.input.seek(SeekFrom::Start(next))?;
        }
        // No frame follows the unfinished one.
        self.damage = unfinished.unwrap_or(self.damage);
        Ok(None)
    }

    /// The damage so far.
    pub(super) fn damage(&self) -> Damage {
        self.damage
    }

    /// Reads the payload of the frame at the position; returns whether it verifies.
    fn read_frame(&mut self) -> io::Result<bool> {
        let mut head = [0; HEAD];
        if self.end - self.at < HEAD as u64 {
            return Ok(false);
        }
        self.input.read_exact(&mut head)?;
        let [m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let len = u32::from_be_bytes([l0, l1, l2, l3]);
        if [m0, m1, m2, m3] != MARKER
            || len > MAX_PAYLOAD
            || self.end - self.at - (HEAD as u64) < u64::from(len)
        {
            return Ok(false);
        }
        self.payload.resize(usize::try_from(len).unwrap_or(0), 0);
        self.input.read_exact(&mut self.payload)?;
        Ok(checksum(len, &self.payload) == u32::from_be_bytes([c0, c1, c2, c3]))
    }

    /// Whether the rest of the file is the beginning of a frame, or zeros: a write that a kill or a
    /// loss of power has interrupted, and not damage.
    fn is_unfinished(&mut self) -> io::Result<bool> {
        if self.end - self.at > u64::from(MAX_PAYLOAD) {
            return Ok(false);
        }
        let mut rest = Vec::new();
        self.input.seek(SeekFrom::Start(self.at))?;
        self.input.by_ref().read_to_end(&mut rest)?;
        let is_beginning = match rest.first_chunk::<HEAD>() {
            Some([m0, m1, m2, m3, l0, l1, l2, l3, ..]) => {
                let len = u32::from_be_bytes([*l0, *l1, *l2, *l3]);
                [*m0, *m1, *m2, *m3] == MARKER
                    && len <= MAX_PAYLOAD
                    && self.end - self.at - (HEAD as u64) < u64::from(len)
            }
            None => MARKER.iter().zip(&rest).all(|(expected, byte)| expected == byte),
        };
        Ok(is_beginning || rest.iter().all(|byte| *byte == 0))
    }

    /// The position of the next marker from `from` on, or the end.
    fn find_marker(&mut self, from: u64) -> io::Result<u64> {
        self.input.seek(SeekFrom::Start(from))?;
        let mut matched = 0;
        for (at, byte) in (from..self.end).zip(self.input.by_ref().bytes()) {
            let byte = byte?;
            // The first byte of the marker occurs in it once.
            matched = match MARKER.get(matched) {
                Some(expected) if *expected == byte => matched + 1,
                _ => usize::from(byte == MARKER[0]),
            };
            if matched == MARKER.len() {
                return Ok(at + 1 - MARKER.len() as u64);
            }
        }
        Ok(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn ids(bytes: &[u8]) -> (Vec<u64>, Damage) {
        let mut scanner = Scanner::new(&file(bytes)).unwrap();
        let mut ids = Vec::new();
        while let Some((frame, _)) = scanner.next().unwrap() {
            let Frame::Put { id, .. } = frame else { unreachable!("{frame:?}") };
            ids.push(id);
        }
        (ids, scanner.damage())
    }

    #[test]
    fn damage_costs_only_the_frames_that_it_hits() {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for id in 0..10 {
            // A record may contain the marker.
            let record = format!("{}{id}RGM1RG", "RGM1".repeat(7));
            let frame = Frame::Put { id, renewed: &[1], record: record.as_bytes() };
            ends.push(ends.last().unwrap() + frame.write(&mut bytes).unwrap());
        }
        assert_eq!(ids(&bytes), ((0..10).collect(), Damage::default()));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let hit = ends.iter().filter(|end| **end <= at as u64).count() - 1;
            let left: Vec<_> = (0..10).filter(|id| *id != hit as u64).collect();
            let (found, damage) = ids(&flipped);
            assert_eq!(found, left, "byte {at}");
            // A longer length of the last frame looks as if the write were unfinished.
            let is_length = hit == 9 && (4..8).contains(&(at as u64 - ends[hit]));
            assert!(is_length || !damage.is_none(), "byte {at}");
            assert!(damage.bytes <= ends[hit + 1] - ends[hit], "byte {at}");
        }
        for missing in 1..30 {
            let mut cut = bytes[..bytes.len() - missing].to_vec();
            assert_eq!(ids(&cut), ((0..9).collect(), Damage::default()), "an unfinished write");
            cut.truncate(usize::try_from(ends[9]).unwrap());
            cut.resize(bytes.len(), 0);
            assert_eq!(ids(&cut), ((0..9).collect(), Damage::default()), "no data yet");
        }
    }
}
