//! What the users of a resolver may see of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::Revision;
use rpyc_protocol::registry::reply::Endpoint;

use crate::{Instance, RegistryAddr};

/// The servers of a name, as far as a [`Resolver`](super::Resolver) knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The name.
    pub name: ServiceName,
    /// Its servers, in every state. Times since registration are not kept.
    pub instances: Vec<Instance>,
    /// How far it can be relied on.
    pub freshness: Freshness,
    /// Since when servers are held back that the registry no longer returns, because its answer was
    /// empty or it has lost its table. They are among the instances, as suspects.
    pub held_since: Option<Instant>,
    /// The registry that returned them.
    pub registry: Option<RegistryAddr>,
    /// The revision of its table; RPyC's own registry has none.
    pub revision: Option<Revision>,
}

/// How far an answer from memory can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// The registry sends changes as they happen.
    Watched,
    /// The registry is asked again and again.
    Polled,
    /// No registry answers; it is the last good answer.
    Stale {
        /// Since when.
        since: Instant,
    },
    /// No registry has answered for so long that the last good answer counts no more.
    Lost,
}

impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Watched => "watched",
            Self::Polled => "polled",
            Self::Stale { .. } => "stale",
            Self::Lost => "lost",
        })
    }
}

/// Something that happened to a name that a [`Resolver`](super::Resolver) keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The name.
    pub name: ServiceName,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A server could not be connected to, and is tried after the others for a while.
    Ejected {
        /// Where it is.
        endpoint: Endpoint,
    },
    /// The name was unused for a while; it is no longer kept.
    Forgotten,
    /// The registry no longer returns servers, perhaps because of its own fault; they are kept for
    /// a while.
    HeldBack {
        /// How many.
        instances: usize,
    },
    /// No registry has answered for so long that the last good answer counts no more.
    Lost,
    /// Another registry answers from now on.
    Moved {
        /// Which.
        registry: RegistryAddr,
    },
    /// A registry returned an older revision of a table than before; the answer was ignored.
    Older {
        /// The revision that it returned.
        received: Revision,
        /// The revision that is known.
        known: Revision,
    },
    /// A registry answers again.
    Recovered,
    /// Servers that were held back did not come back in time and count no more.
    Released {
        /// How many.
        instances: usize,
    },
    /// No registry answers; the last good answer is used.
    Stale,
}

/// What a [`Resolver`](super::Resolver) has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Names that are kept now.
    pub names: usize,
    /// Questions of the program that were answered from memory.
    pub from_memory: u64,
    /// Questions that went to registries, for the program or to keep a name fresh.
    pub asked: u64,
    /// Of these, those that no registry answered.
    pub unanswered: u64,
    /// Watches that were begun.
    pub watches: u64,
    /// Connections that were made.
    pub connected: u64,
    /// Connections to a server that failed.
    pub failed: u64,
    /// How often a server was ejected.
    pub ejected: u64,
    /// How often a name became stale.
    pub stale: u64,
    /// How often a name was lost.
    pub lost: u64,
    /// How often servers were held back.
    pub held_back: u64,
    /// How often an older state was refused.
    pub refused: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) from_memory: Counter,
    pub(super) asked: Counter,
    pub(super) unanswered: Counter,
    pub(super) watches: Counter,
    pub(super) connected: Counter,
    pub(super) failed: Counter,
    ejected: Counter,
    stale: Counter,
    lost: Counter,
    held_back: Counter,
    refused: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn count(&self, kind: &EventKind) {
        match kind {
            EventKind::Ejected { .. } => self.ejected.count(),
            EventKind::HeldBack { .. } => self.held_back.count(),
            EventKind::Lost => self.lost.count(),
            EventKind::Older { .. } => self.refused.count(),
            EventKind::Stale => self.stale.count(),
            EventKind::Forgotten | EventKind::Moved { .. } | EventKind::Recovered => {}
            EventKind::Released { .. } => {}
        }
    }

    pub(super) fn stats(&self, names: usize) -> Stats {
        Stats {
            names,
            from_memory: self.from_memory.get(),
            asked: self.asked.get(),
            unanswered: self.unanswered.get(),
            watches: self.watches.get(),
            connected: self.connected.get(),
            failed: self.failed.get(),
            ejected: self.ejected.get(),
            stale: self.stale.get(),
            lost: self.lost.get(),
            held_back: self.held_back.get(),
            refused: self.refused.get(),
        }
    }
}
