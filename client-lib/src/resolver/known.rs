//! The knowledge about one name, and how far it can be relied on: no clock, no socket.

use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::{Revision, State};

use super::status::{EventKind, Freshness};
use crate::native::{Change, ChangeKind};
use crate::registrar::Lookup;
use crate::{Instance, RegistryAddr};

/// How long unconfirmed servers are believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// After the last word of any registry.
    pub(super) stale: Duration,
    /// After a registry that knew servers has returned an empty answer.
    pub(super) grace: Duration,
}

/// The complete answer of a registry about a name.
#[derive(Clone, Debug)]
pub(super) struct ServerSet {
    pub(super) registry: RegistryAddr,
    /// The revision of the table; RPyC's own registry has none.
    pub(super) revision: Option<Revision>,
    pub(super) instances: Vec<Instance>,
}

impl From<&Lookup> for ServerSet {
    fn from(found: &Lookup) -> Self {
        let Lookup { registry, revision, instances, .. } = found.clone();
        Self { registry, revision, instances }
    }
}

/// The knowledge about one name.
#[derive(Debug)]
pub(super) struct Known {
    bounds: Bounds,
    registry: Option<RegistryAddr>,
    revision: Option<Revision>,
    /// The instances that the registry returns.
    live: Vec<Instance>,
    /// The instances that it no longer returns, perhaps because of its own fault.
    held: Vec<Instance>,
    held_since: Option<Instant>,
    /// The instances so far since the registry began again.
    learning: Option<Vec<Instance>>,
    is_watched: bool,
    lost_since: Option<Instant>,
    is_lost: bool,
    /// Since when every answer is older than `revision`.
    older_since: Option<Instant>,
}

/// Revisions of one store that are so far apart are not compared. A registry raises the revision by
/// at most 2^32 beyond the changes that it makes, at a restart after a crash. An answer that is
/// further away is from a table that was set back, or was made up, as the one before may have been.
const COMPARABLE: u64 = 1 << 33;

/// How long an older state is refused if no other answer comes. A registry that is behind others
/// catches up in this time.
const DOUBT: Duration = Duration::from_secs(75);

impl Known {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            registry: None,
            revision: None,
            live: Vec::new(),
            held: Vec::new(),
            held_since: None,
            learning: None,
            is_watched: false,
            lost_since: None,
            is_lost: false,
            older_since: None,
        }
    }

    pub(super) fn revision(&self) -> Option<Revision> {
        self.revision
    }

    pub(super) fn registry(&self) -> Option<&RegistryAddr> {
        self.registry.as_ref()
    }

    pub(super) fn is_live(&self) -> bool {
        !self.live.is_empty()
    }

    /// The servers that may be used, those that are held back among them.
    pub(super) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.live.iter().chain(&self.held)
    }

    pub(super) fn held_since(&self) -> Option<Instant> {
        self.held_since
    }

    pub(super) fn freshness(&self) -> Freshness {
        match self.lost_since {
            _ if self.is_lost => Freshness::Lost,
            Some(since) => Freshness::Stale { since },
            None if self.is_watched => Freshness::Watched,
            None => Freshness::Polled,
        }
    }

    /// Replaces the servers by the complete answer of a registry, unless it is older.
    pub(super) fn replace(&mut self, now: Instant, servers: ServerSet) -> Vec<EventKind> {
        self.learning = None;
        if let Some(kind) = self.refuse(now, servers.revision) {
            let mut events = self.lost(now);
            events.insert(0, kind);
            return events;
        }
        self.accept(now, servers)
    }

    fn accept(&mut self, now: Instant, servers: ServerSet) -> Vec<EventKind> {
        let ServerSet { registry, revision, instances } = servers;
        self.older_since = None;
        let is_same_table = match (self.revision, revision) {
            (Some(old), Some(new)) => is_comparable(old, new) && !new.is_before(old),
            (None, None) => self.registry.as_ref() == Some(&registry),
            _ => false,
        };
        let mut events = self.fresh();
        if self.registry.as_ref().is_some_and(|old| *old != registry) {
            events.push(EventKind::Moved { registry: registry.clone() });
        }
        let old = std::mem::replace(&mut self.live, instances.into_iter().map(timeless).collect());
        self.registry = Some(registry);
        self.revision = revision.or(self.revision);
        // Another table may not be complete yet, and an empty one may be a fault.
        if !is_same_table || self.live.is_empty() {
            events.extend(self.hold(now, old));
        }
        self.drop_held_that_are_live();
        events
    }

    /// A watched registry is about to send all instances again.
    pub(super) fn relearn(&mut self) -> Vec<EventKind> {
        self.learning = Some(Vec::new());
        Vec::new()
    }

    /// A watched registry sends a change.
    pub(super) fn changed(&mut self, now: Instant, change: Change) -> Vec<EventKind> {
        let Change { revision, kind } = change;
        if self.learning.is_none()
            && !matches!(kind, ChangeKind::Reset)
            && let Some(kind) = self.refuse(now, Some(revision))
        {
            return vec![kind];
        }
        match (kind, &mut self.learning) {
            (ChangeKind::Reset, _) => return self.relearn(),
            (ChangeKind::Current, learning @ Some(_)) => {
                let instances = learning.take().unwrap_or_default();
                let Some(registry) = self.registry.clone() else { return Vec::new() };
                // The registry has sent all that it has, so what was known before does not count.
                return self
                    .accept(now, ServerSet { registry, revision: Some(revision), instances });
            }
            (ChangeKind::Added(_, it) | ChangeKind::Updated(_, it), Some(learning)) => {
                learning.push(*it);
                return Vec::new();
            }
            (ChangeKind::Removed(_, it), Some(learning)) => {
                learning.retain(|one| !is_same(one, &it));
                return Vec::new();
            }
            (ChangeKind::Current, None) => {}
            (ChangeKind::Added(_, it) | ChangeKind::Updated(_, it), None) => {
                match self.live.iter_mut().find(|one| is_same(one, &it)) {
                    Some(one) => *one = timeless(*it),
                    None => self.live.push(timeless(*it)),
                }
                self.drop_held_that_are_live();
            }
            (ChangeKind::Removed(_, it), None) => {
                let before = self.live.len();
                self.live.retain(|one| !is_same(one, &it));
                if self.live.is_empty() && before > 0 {
                    self.revision = Some(revision);
                    return self.hold(now, vec![timeless(*it)]);
                }
            }
        }
        self.revision = Some(revision);
        self.fresh()
    }

    /// Whether the registry itself sends changes from now on.
    pub(super) fn watched(&mut self, is_watched: bool) -> Vec<EventKind> {
        self.is_watched = is_watched;
        self.learning = None;
        if is_watched { self.fresh() } else { Vec::new() }
    }

    /// No registry answers.
    pub(super) fn lost(&mut self, now: Instant) -> Vec<EventKind> {
        self.is_watched = false;
        self.learning = None;
        if self.lost_since.is_some() {
            return Vec::new();
        }
        self.lost_since = Some(now);
        vec![EventKind::Stale]
    }

    /// Forgets what has not been confirmed for too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<EventKind> {
        let mut events = Vec::new();
        if self.held_since.is_some_and(|since| now >= since + self.bounds.grace) {
            events.push(EventKind::Released { instances: self.held.len() });
            self.held.clear();
            self.held_since = None;
        }
        if !self.is_lost && self.lost_since.is_some_and(|since| now >= since + self.bounds.stale) {
            self.is_lost = true;
            self.live.clear();
            self.held.clear();
            self.held_since = None;
            // The next answer counts, even from a table that was set back.
            self.revision = None;
            events.push(EventKind::Lost);
        }
        events
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let held = self.held_since.map(|since| since + self.bounds.grace);
        let lost = self.lost_since.filter(|_| !self.is_lost).map(|since| since + self.bounds.stale);
        held.into_iter().chain(lost).min()
    }

    /// Refuses an older state, unless all answers have been older for so long that the known
    /// revision must be wrong.
    fn refuse(&mut self, now: Instant, revision: Option<Revision>) -> Option<EventKind> {
        let (known, received) = (self.revision?, revision?);
        if !received.is_before(known) || !is_comparable(known, received) {
            return None;
        }
        let since = *self.older_since.get_or_insert(now);
        (now < since + DOUBT).then_some(EventKind::Older { received, known })
    }

    fn fresh(&mut self) -> Vec<EventKind> {
        self.is_lost = false;
        match self.lost_since.take() {
            Some(_) => vec![EventKind::Recovered],
            None => Vec::new(),
        }
    }

    /// Holds back missing instances, except those that were draining.
    fn hold(&mut self, now: Instant, gone: Vec<Instance>) -> Vec<EventKind> {
        let was_empty = self.held.is_empty();
        for mut instance in gone {
            let is_live = self.live.iter().any(|one| one.endpoint == instance.endpoint);
            if is_live || instance.state == State::Draining {
                continue;
            }
            instance.state = State::Suspect;
            instance.why = Some("the registry no longer returns it".into());
            self.held.push(instance);
        }
        if self.held.is_empty() || !was_empty {
            return Vec::new();
        }
        self.held_since = Some(now);
        vec![EventKind::HeldBack { instances: self.held.len() }]
    }

    fn drop_held_that_are_live(&mut self) {
        let live = &self.live;
        self.held.retain(|held| !live.iter().any(|one| one.endpoint == held.endpoint));
        if self.held.is_empty() {
            self.held_since = None;
        }
    }
}

/// Whether the order of two revisions means something.
fn is_comparable(one: Revision, other: Revision) -> bool {
    one.store == other.store && one.number.abs_diff(other.number) < COMPARABLE
}

/// Whether both are one to the registry.
fn is_same(one: &Instance, other: &Instance) -> bool {
    if one.id.is_some() { one.id == other.id } else { one.endpoint == other.endpoint }
}

/// Ages are true only at the moment of the answer.
fn timeless(instance: Instance) -> Instance {
    Instance { age: None, renewed: None, left: None, ..instance }
}

#[cfg(test)]
mod tests;
