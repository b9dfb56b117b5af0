//! One name that is kept: its servers, and the experience with them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::reply::Endpoint;
use tokio::sync::watch;

use super::candidate::{Candidate, ConnectionCount, ConnectionGuard, Hint};
use super::known::{Bounds, Known};
use super::load_balancing::{Load, Turns};
use super::outliers::Outliers;
use super::shared::Shared;
use super::status::{EventKind, Freshness, Resolved};
use crate::lock::lock;

/// One name that is kept.
#[derive(Debug)]
pub(super) struct Slot {
    name: ServiceName,
    shared: Weak<Shared>,
    state: Mutex<State>,
    published: watch::Sender<Arc<Resolved>>,
}

#[derive(Debug)]
struct State {
    known: Known,
    asked: Instant,
    outliers: Outliers,
    turns: Turns,
    /// The open connections to each server.
    connections: HashMap<Endpoint, ConnectionCount>,
}

impl Slot {
    pub(super) fn new(
        now: Instant,
        name: ServiceName,
        bounds: Bounds,
        shared: &Arc<Shared>,
    ) -> Self {
        let nothing = Resolved {
            name: name.clone(),
            instances: Vec::new(),
            freshness: Freshness::Lost,
            held_since: None,
            registry: None,
            revision: None,
        };
        let state = State {
            known: Known::new(bounds),
            asked: now,
            outliers: Outliers::default(),
            turns: Turns::default(),
            connections: HashMap::new(),
        };
        Self {
            name,
            shared: Arc::downgrade(shared),
            state: Mutex::new(state),
            published: watch::Sender::new(Arc::new(nothing)),
        }
    }

    pub(super) fn name(&self) -> &ServiceName {
        &self.name
    }

    pub(super) fn resolved(&self) -> Arc<Resolved> {
        self.published.borrow().clone()
    }

    pub(super) fn follow(&self) -> watch::Receiver<Arc<Resolved>> {
        self.published.subscribe()
    }

    /// Records a use; returns the servers, if any are known.
    pub(super) fn ask(&self, now: Instant) -> Option<Arc<Resolved>> {
        self.lock().asked = now;
        let resolved = self.resolved();
        (!resolved.instances.is_empty()).then_some(resolved)
    }

    /// The last use; `None` while the name is followed.
    pub(super) fn last_asked(&self) -> Option<Instant> {
        (self.published.receiver_count() == 0).then(|| self.lock().asked)
    }

    /// Changes the knowledge, and publishes it; `false` if the change was not believed.
    pub(super) fn learn(&self, change: impl FnOnce(&mut Known) -> Vec<EventKind>) -> bool {
        let (events, resolved) = {
            let mut state = self.lock();
            let events = change(&mut state.known);
            let known = &state.known;
            let resolved = Resolved {
                name: self.name.clone(),
                instances: known.instances().cloned().collect(),
                freshness: known.freshness(),
                held_since: known.held_since(),
                registry: known.registry().cloned(),
                revision: known.revision(),
            };
            let is_there =
                |endpoint: &Endpoint| resolved.instances.iter().any(|it| it.endpoint == *endpoint);
            state.outliers.retain(is_there);
            state.turns.retain(is_there);
            state.connections.retain(|endpoint, count| is_there(endpoint) || count.open() > 0);
            (events, resolved)
        };
        self.published.send_if_modified(|old| {
            let is_new = **old != resolved;
            if is_new {
                *old = Arc::new(resolved);
            }
            is_new
        });
        let is_believed = !events.iter().any(|it| matches!(it, EventKind::Older { .. }));
        self.emit(events);
        is_believed
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        read(&self.lock().known)
    }

    /// The servers to try, in order; none if none may be used.
    pub(super) fn candidates(self: &Arc<Self>, now: Instant, shared: &Shared) -> Vec<Candidate> {
        let mut guard = self.lock();
        let State { known, outliers, turns, connections, .. } = &mut *guard;
        let n = known.instances().count();
        let load = CurrentLoad { ejected: outliers.ejected(now, n), connections };
        let settings = &shared.settings;
        let zone = settings.zone.as_deref();
        let ordered =
            settings.load_balancing.order(known.instances(), zone, &load, turns, fastrand::f64);
        let candidate = |instance: &crate::Instance| Candidate {
            endpoints: instance.endpoints().cloned().collect(),
            feedback: Some(Feedback { slot: Arc::clone(self), key: instance.endpoint.clone() }),
            hint: Hint::of(instance),
        };
        ordered.into_iter().map(candidate).collect()
    }

    fn emit(&self, events: impl IntoIterator<Item = EventKind>) {
        if let Some(shared) = self.shared.upgrade() {
            for kind in events {
                shared.emit(&self.name, kind);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whatever its last user did, it is as good as any guess about the world.
        lock(&self.state)
    }
}

struct CurrentLoad<'a> {
    ejected: Vec<&'a Endpoint>,
    connections: &'a HashMap<Endpoint, ConnectionCount>,
}

impl Load for CurrentLoad<'_> {
    fn is_ejected(&self, endpoint: &Endpoint) -> bool {
        self.ejected.contains(&endpoint)
    }

    fn connections(&self, endpoint: &Endpoint) -> usize {
        self.connections.get(endpoint).map_or(0, ConnectionCount::open)
    }
}

/// Where is written down how connecting to one server went.
#[derive(Clone, Debug)]
pub(crate) struct Feedback {
    slot: Arc<Slot>,
    key: Endpoint,
}

impl Feedback {
    pub(crate) fn succeeded(&self) {
        self.slot.lock().outliers.succeeded(&self.key);
        if let Some(shared) = self.slot.shared.upgrade() {
            shared.counters.connected.count();
        }
    }

    pub(crate) fn failed(&self, now: Instant) {
        let is_news = self.slot.lock().outliers.failed(now, &self.key, fastrand::f64());
        if let Some(shared) = self.slot.shared.upgrade() {
            shared.counters.failed.count();
        }
        if is_news {
            self.slot.emit([EventKind::Ejected { endpoint: self.key.clone() }]);
        }
    }

    /// Counts one connection to the server until it is dropped.
    pub(crate) fn guard(&self) -> Arc<ConnectionGuard> {
        let guard = self.slot.lock().connections.entry(self.key.clone()).or_default().guard();
        Arc::new(guard)
    }
}
