//! Gives out what was kept, while the table is made of it.

use std::ops::{ControlFlow, Range};
use std::sync::mpsc::SyncSender;

use tracing::{error, info};

use super::RETRY_INTERVAL;
use super::database::Database;
use super::encoding;
use super::pending::Pending;
use crate::store::Record;

/// Bytes of records given at a time, more or less.
const BATCH_BYTES: usize = 256 << 10;

/// Some records as they are in the file. They are decoded by whoever takes them, so that what is allocated
/// for a moment is allocated and given back by one thread.
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

    /// The records. One that is none is told, and left out: the page is as it was written, so that is what
    /// some registry has written, and it stays there.
    pub(super) fn decode(self) -> impl Iterator<Item = Record> {
        let Self { bytes, records } = self;
        records.into_iter().filter_map(move |(id, restarts, range)| {
            let record = encoding::decode(id, restarts, bytes.get(range)?);
            if record.is_none() {
                error!(instance = id, "a record cannot be read; it is left as it is, and out");
            }
            record
        })
    }
}

/// Gives all records, in the order of their numbers, unless nobody wants them.
///
/// The whole file has been verified when it was opened. Should reading fail all the same, it is tried
/// again and goes on from there: a part of what was kept must not pass for the whole.
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
                error!("{}; until then nothing is answered", database.explain_reading(&fault));
                has_failed = true;
                if pending.rest(RETRY_INTERVAL) {
                    return;
                }
            }
        }
    }
    // Nobody may want the rest.
    let _ = give.send(batch);
    if has_failed {
        info!("what was kept has been read after all");
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
