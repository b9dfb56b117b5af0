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
    /// So that those who ask for a new name at the same time ask the registries once.
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

    /// Whether nobody has asked for a name for so long that it is not kept.
    pub(super) fn is_idle(&self, slot: &Slot) -> bool {
        let now = Instant::now().into_std();
        slot.last_asked().is_some_and(|asked| now >= asked + self.settings.idle)
    }

    /// Drops a name that nobody asks for; tells whether it is one.
    pub(super) fn forget(&self, slot: &Arc<Slot>) -> bool {
        {
            // Whoever asks for it finds it here or not at all.
            let mut slots = self.slots();
            if !self.is_idle(slot) {
                return false;
            }
            slots.remove(slot.name());
        }
        self.tell(slot.name(), EventKind::Forgotten);
        true
    }

    pub(super) fn tell(&self, name: &ServiceName, kind: EventKind) {
        self.counters.count(&kind);
        match &kind {
            EventKind::Stale => tracing::warn!(%name, "no registry answers; using the last answer"),
            EventKind::Lost => {
                tracing::warn!(%name, "no registry answers; the last answer is too old");
            }
            EventKind::HeldBack { instances } => tracing::warn!(
                %name, instances, "the registry tells of these no more; kept for a while"
            ),
            EventKind::Older { told, known } => tracing::warn!(
                %name, %told, %known, "the registry tells an older state; not believed"
            ),
            EventKind::Ejected { endpoint } => tracing::info!(
                %name, %endpoint, "cannot be connected to; tried last for a while"
            ),
            EventKind::Released { instances } => {
                tracing::info!(%name, instances, "have not come back");
            }
            EventKind::Moved { registry } => {
                tracing::info!(%name, %registry, "told by another registry");
            }
            EventKind::Recovered => tracing::info!(%name, "a registry answers again"),
            EventKind::Forgotten => tracing::debug!(%name, "nobody asks for it any more"),
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
