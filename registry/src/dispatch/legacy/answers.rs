//! The answers to QUERY and LIST, as many whole entries as RPyC's clients read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rpyc_protocol::FoldedName;
use rpyc_protocol::brine::{EncodeError, Writer};
use rpyc_protocol::registry::reply::{Entries, SmallEntry, encode_entry};

use super::cuts::Cuts;
use crate::table::{Asker, Directory, Found, Lookup, NameOrder};

/// The divisor of an answer's size that gives the room for instances that come last.
const SHARE_OF_LAST: usize = 8;

/// The most bytes of an entry other than a unix socket's path: an IPv6 address with a zone.
const LONGEST_ENTRY: usize = 64;

/// Writes the answers to QUERY and LIST, and counts those that left something out.
#[derive(Debug, Default)]
pub struct LegacyAnswers {
    /// The number of the service that comes first in the next LIST that cannot hold every name.
    list_turn: AtomicU64,
    cuts: Cuts,
}

impl LegacyAnswers {
    /// Writes the answer to QUERY: as many whole entries as fit. Each answer begins with another
    /// entry, so that each entry comes first in turn and all are returned sooner or later.
    /// Instances that may be down come after all others, in their own turns. If not everything
    /// fits, the last eighth of the answer is reserved for them.
    ///
    /// Allocates nothing for instances that advertise the same address to everybody.
    ///
    /// # Errors
    /// [`EncodeError`] cannot happen within the caps of the transports.
    pub fn query<'b>(
        &self,
        directory: &Directory,
        name: &FoldedName,
        asker: &Asker,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], EncodeError> {
        let cap = asker.transport.query_cap();
        let mut entries = Entries::new(buffer, cap);
        if let Some(lookup) = directory.lookup(name, asker) {
            let spare =
                if lookup.has_last() { room_for_last(&lookup, cap / SHARE_OF_LAST) } else { 0 };
            lookup.first(|found| push(&mut entries, spare, found));
            if lookup.has_last() {
                lookup.last(|found| push(&mut entries, 0, found));
            }
            if entries.is_cut() {
                self.cuts.note_query(name, entries.len(), lookup.len());
            }
        }
        entries.finish()
    }

    /// Writes the answer to LIST: every name in the order in which names appeared. If not all fit,
    /// as many as fit, from where the last such answer stopped.
    ///
    /// # Errors
    /// [`EncodeError`] cannot happen within the caps of the transports.
    pub fn list<'b>(
        &self,
        directory: &Directory,
        host: Option<&str>,
        asker: &Asker,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], EncodeError> {
        let mut entries = Entries::new(buffer, asker.transport.list_cap());
        directory.with_names(host, |names| {
            if fill(names, 0, &mut entries)?.is_some() {
                entries.clear();
                let turn = self.list_turn.load(Ordering::Relaxed);
                let stopped_at = fill(names, turn, &mut entries)?;
                self.list_turn.store(stopped_at.unwrap_or(0), Ordering::Relaxed);
                self.cuts.note_list(entries.len(), names.from(0).count());
            }
            Ok(())
        })?;
        entries.finish()
    }

    /// How many answers have left something out.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cuts.total()
    }

    /// Logs the counts of answers that left something out, each kind at most once an hour.
    pub(crate) fn log(&self, now: Instant) {
        self.cuts.log(now);
    }
}

/// Adds an entry if it fits and leaves `spare` bytes; returns whether there may be room for more.
#[inline]
fn push(entries: &mut Entries<'_>, spare: usize, found: Found<'_>) -> bool {
    match found {
        Found::Entry(entry) => entries.push_sparing(spare, entry.as_bytes()),
        Found::Address(address) => {
            let mut entry = Vec::new();
            // An address that cannot be encoded takes no room.
            encode_entry(&mut entry, &address.host(), &address.port).is_err()
                || entries.push_sparing(spare, &entry)
        }
    }
}

/// The bytes that an answer reserves for instances that come last: the size of the next few of
/// them, within `limit`.
fn room_for_last(lookup: &Lookup<'_>, limit: usize) -> usize {
    let len = |entry: Option<&SmallEntry>| entry.map_or(LONGEST_ENTRY, |it| it.as_bytes().len());
    let sums = lookup.upcoming_last().map(len).scan(0, |sum, len| {
        *sum += len;
        (*sum <= limit).then_some(*sum)
    });
    sums.last().unwrap_or(0)
}

/// Adds the names from service number `start` on, and then those before it. Returns the number of
/// the first that does not fit.
fn fill(
    names: &NameOrder<'_>,
    start: u64,
    entries: &mut Entries<'_>,
) -> Result<Option<u64>, EncodeError> {
    let mut bytes = Vec::new();
    let before = names.from(0).take_while(|service| service.number < start);
    for service in names.from(start).chain(before) {
        bytes.clear();
        Writer::new(&mut bytes).str(service.as_str())?;
        if !entries.push(&bytes) {
            return Ok(Some(service.number));
        }
    }
    Ok(None)
}
