//! Reads the stored records while the registry restores its table.

use std::ops::{ControlFlow, Range};
use std::sync::mpsc::SyncSender;

use tracing::{error, info};

use super::RETRY_INTERVAL;
use super::database::Database;
use super::encoding;
use super::pending::Pending;
use crate::store::Record;

/// The approximate number of bytes of records in a batch.
const BATCH_BYTES: usize = 256 << 10;

/// Encoded records. The receiver decodes them, so that one thread allocates and frees the temporary
/// memory.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    records: Vec<(u64, u32, Range<usize>)>,
}

impl Batch {
    fn add(&mut self, id: u64, restarts: u32, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend(bytes);
        self.records.push((id, restarts, start..self.bytes.len()));
    }

    /// Decodes the records. An invalid record is logged and left out. It stays in the file: its
    /// page passed verification, so a registry wrote it.
    pub(super) fn decode(self) -> impl Iterator<Item = Record> {
        let Self { bytes, records } = self;
        records.into_iter().filter_map(move |(id, restarts, range)| {
            let record = encoding::decode(id, restarts, bytes.get(range)?);
            if record.is_none() {
                error!(
                    instance = id,
                    "cannot decode a record; it stays in the file and is not restored"
                );
            }
            record
        })
    }
}

/// Sends all records, in the order of their numbers, until the receiver is dropped.
///
/// The whole file was verified when it was opened. If reading fails nevertheless, it is repeated
/// from the last record: some of the records must not pass for all of them.
pub(super) fn run(database: &mut Database, pending: &Pending, give: SyncSender<Batch>) {
    let mut batch = Batch::default();
    let mut last = 0;
    let mut has_failed = false;
    loop {
        let read = database.read(last, |id, restarts, bytes| {
            last = id;
            batch.add(id, restarts, bytes);
            if batch.bytes.len() < BATCH_BYTES || give.send(std::mem::take(&mut batch)).is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        match read {
            Ok(()) => break,
            Err(fault) => {
                error!(
                    "{}; until then the registry is not ready",
                    database.explain_reading(&fault)
                );
                has_failed = true;
                if pending.rest(RETRY_INTERVAL) {
                    return;
                }
            }
        }
    }
    // The receiver may have been dropped.
    let _ = give.send(batch);
    if has_failed {
        info!("all stored records have been read now");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_left_out() {
        let mut batch = Batch::default();
        batch.add(7, 1, b"?");
        assert_eq!(batch.decode().count(), 0);
    }
}
