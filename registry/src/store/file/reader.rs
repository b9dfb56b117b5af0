//! Reads the stored records while the registry restores its table.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tracing::{error, info};

use super::RETRY_INTERVAL;
use super::encoding;
use super::files::Files;
use super::pending::Pending;
use super::runs::Runs;
use crate::store::Record;

/// The approximate number of bytes of records in a batch.
const BATCH_BYTES: usize = 256 << 10;

/// Encoded records. The receiver decodes them, so that one thread allocates and frees the temporary
/// memory.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// The number of each, and where the bytes of its renewals and of its record end.
    records: Vec<(u64, usize, usize)>,
    runs: Arc<Runs>,
}

impl Batch {
    fn new(runs: &Arc<Runs>) -> Self {
        Self { runs: Arc::clone(runs), ..Self::default() }
    }

    fn add(&mut self, id: u64, renewed: &[u8], record: &[u8]) {
        self.bytes.extend(renewed);
        let middle = self.bytes.len();
        self.bytes.extend(record);
        self.records.push((id, middle, self.bytes.len()));
    }

    /// Decodes the records. An invalid record is logged and left out. It stays in the file: its
    /// page passed verification, so a registry wrote it.
    pub(super) fn decode(self) -> impl Iterator<Item = Record> {
        let Self { bytes, records, runs } = self;
        let mut start = 0;
        records.into_iter().filter_map(move |(id, middle, end)| {
            let renewed = encoding::decode_renewed(bytes.get(start..middle)?).unwrap_or_default();
            start = end;
            let record = encoding::decode(id, &renewed, &runs, bytes.get(middle..end)?);
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
pub(super) fn run(files: &mut Files, pending: &Pending, give: SyncSender<Batch>) {
    let runs = files.runs();
    let mut batch = Batch::new(&runs);
    let mut last = 0;
    let mut has_failed = false;
    loop {
        let read = files.read(last, |id, renewed, record| {
            last = id;
            batch.add(id, renewed, record);
            if batch.bytes.len() < BATCH_BYTES {
                return ControlFlow::Continue(());
            }
            let full = std::mem::replace(&mut batch, Batch::new(&runs));
            give.send(full).map_or(ControlFlow::Break(()), |()| ControlFlow::Continue(()))
        });
        match read {
            Ok(()) => break,
            Err(fault) => {
                error!("{}; until then the registry is not ready", files.explain_reading(&fault));
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
        batch.add(7, b"?", b"?");
        assert_eq!(batch.decode().count(), 0);
    }
}
