//! What the handles and the tasks of a resolver share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use rpyc_protocol::ServiceName;
use tokio::time::Instant;

use super::builder::Settings;
use super::slot::Slot;
use super::status::{Counters, Event, EventKind, Resolved};
use crate::lock::lock;
use crate::registrar::Lookup;
use crate::{LookupError, Registrar};

/// What the handles and the tasks of a resolver share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) registrar: Registrar,
    pub(super) settings: Settings,
    slots: Mutex<HashMap<ServiceName, Arc<Slot>>>,
    /// So that tasks that ask for a new name at the same time ask the registries once.
    firsts: Mutex<HashMap<ServiceName, Weak<tokio::sync::Mutex<()>>>>,
    pub(super) counters: Counters,
}

impl Shared {
    pub(super) fn new(registrar: Registrar, settings: Settings) -> Self {
        Self {
            registrar,
            settings,
            slots: Mutex::default(),
            firsts: Mutex::default(),
            counters: Counters::default(),
        }
    }

    pub(super) fn kept(&self, name: &ServiceName) -> Option<(Arc<Slot>, Arc<Resolved>)> {
        let slot = self.slots().get(name).cloned()?;
        let resolved = slot.ask(Instant::now().into_std())?;
        self.counters.from_memory.count();
        Some((slot, resolved))
    }

    /// What those hold who ask the registries for a name that is not kept.
    pub(super) fn first(&self, name: &ServiceName) -> Arc<tokio::sync::Mutex<()>> {
        let mut firsts = lock(&self.firsts);
        firsts.retain(|_, first| first.strong_count() > 0);
        if let Some(first) = firsts.get(name).and_then(Weak::upgrade) {
            return first;
        }
        let first = Arc::default();
        firsts.insert(name.clone(), Arc::downgrade(&first));
        first
    }

    pub(super) async fn ask(&self, name: &ServiceName) -> Result<Lookup, LookupError> {
        self.counters.asked.count();
        let asked = self.registrar.find(name).await;
        asked.inspect_err(|error| {
            if !error.is_unknown_name() {
                self.counters.unanswered.count();
            }
        })
    }

    /// Whether a name has been unused for so long that it is dropped.
    pub(super) fn is_idle(&self, slot: &Slot) -> bool {
        let now = Instant::now().into_std();
        slot.last_asked().is_some_and(|asked| now >= asked + self.settings.idle)
    }

    /// Drops an unused name; returns whether it was unused.
    pub(super) fn forget(&self, slot: &Arc<Slot>) -> bool {
        {
            // A later lookup finds it here or not at all.
            let mut slots = self.slots();
            if !self.is_idle(slot) {
                return false;
            }
            slots.remove(slot.name());
        }
        self.emit(slot.name(), EventKind::Forgotten);
        true
    }

    pub(super) fn emit(&self, name: &ServiceName, kind: EventKind) {
        self.counters.count(&kind);
        match &kind {
            EventKind::Stale => tracing::warn!(%name, "no registry answers; using the last answer"),
            EventKind::Lost => {
                tracing::warn!(%name, "no registry answers; the last answer is too old");
            }
            EventKind::HeldBack { instances } => tracing::warn!(
                %name, instances, "the registry no longer returns these; kept for a while"
            ),
            EventKind::Older { received, known } => tracing::warn!(
                %name, %received, %known, "the registry returned an older revision; ignored"
            ),
            EventKind::Ejected { endpoint } => tracing::info!(
                %name, %endpoint, "cannot be connected to; tried last for a while"
            ),
            EventKind::Released { instances } => {
                tracing::info!(%name, instances, "have not come back");
            }
            EventKind::Moved { registry } => {
                tracing::info!(%name, %registry, "another registry answers from now on");
            }
            EventKind::Recovered => tracing::info!(%name, "a registry answers again"),
            EventKind::Forgotten => tracing::debug!(%name, "unused; dropped"),
        }
        if let Some(hook) = &self.settings.hook {
            hook(&Event { name: name.clone(), kind });
        }
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, HashMap<ServiceName, Arc<Slot>>> {
        // A map of names is as good as before whatever its last user did.
        lock(&self.slots)
    }
}
