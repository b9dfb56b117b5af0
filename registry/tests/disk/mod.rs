//! A store in memory that outlives its registry, as a disk does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::StoreId;
use rpyc_registry::{Change, Origin, Progress, Record, Silence, Store, Ticket};
use tokio::sync::watch;

/// A store whose content outlives the registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    records: BTreeMap<u64, Record>,
    reserved: u64,
    last_instance: u64,
    last: u64,
    /// How long this run has lasted, in milliseconds.
    ran: i64,
}

#[derive(Debug)]
struct DiskStore {
    disk: Disk,
    progress: watch::Sender<Progress>,
}

impl Store for DiskStore {
    fn kind(&self) -> &'static str {
        "disk of the test"
    }

    fn record(&mut self, change: Change) -> Ticket {
        let mut kept = self.disk.0.lock().unwrap();
        kept.last += 1;
        match change {
            Change::Put(record) => {
                kept.last_instance = kept.last_instance.max(record.id);
                kept.records.insert(record.id, *record);
            }
            Change::Heard { id, silent } => kept.records.get_mut(&id).unwrap().silent = silent,
            Change::Removed { id, .. } => drop(kept.records.remove(&id)),
        }
        let committed = Ticket::new(kept.last);
        self.progress.send_replace(Progress { committed, failure: None });
        committed
    }

    fn last_ticket(&self) -> Ticket {
        Ticket::new(self.disk.0.lock().unwrap().last)
    }

    fn reserve(&mut self, revision: u64) {
        self.disk.0.lock().unwrap().reserved = revision;
    }

    fn ran(&mut self, time: Duration) {
        self.disk.0.lock().unwrap().ran = i64::try_from(time.as_millis()).unwrap();
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

impl Disk {
    /// The state that a registry finds if it starts now.
    pub(crate) fn origin(&self) -> Origin {
        let mut kept = self.0.lock().unwrap();
        let ran = std::mem::take(&mut kept.ran);
        for record in kept.records.values_mut() {
            let silence = |name: &ServiceName| {
                let known = record.silent.iter().find(|silence| silence.name == *name);
                // A lease that renewed in a run may have done so until its end.
                let since_ms = known.map_or(0, |silence| (silence.since_ms - ran).min(0));
                Silence { name: name.clone(), since_ms }
            };
            record.silent = record.names.iter().map(silence).collect();
        }
        let records: Vec<_> = kept.records.values().cloned().collect();
        Origin {
            store: StoreId::new(1),
            revision: kept.reserved,
            last_instance: kept.last_instance,
            records: records.into(),
        }
    }

    /// The store for a registry.
    pub(crate) fn store(&self) -> Box<dyn Store> {
        Box::new(DiskStore { disk: self.clone(), progress: watch::Sender::default() })
    }
}
