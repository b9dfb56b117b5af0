//! Who takes how much of a budget, and who must give it back: no clock, no socket.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::super::shared::Shared;

/// A connection that has not got [`PROGRESS`] further in this time makes no progress.
const STALLED: Duration = Duration::from_secs(1);

/// How many bytes further a connection must get to make progress.
const PROGRESS: u64 = 64 << 10;

/// What one connection takes.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) source: Option<IpAddr>,
    /// Whether the peer has sent a valid message.
    pub(super) has_heard: bool,
    pub(super) bytes: usize,
    /// Whether the peer is at fault if nothing goes on.
    pub(super) can_stall: bool,
    /// When it made progress last, and how far it was then: in the frame, or in what was sent.
    pub(super) progress_at: Instant,
    pub(super) position: u64,
    pub(super) is_cut: Arc<AtomicBool>,
    pub(super) connection: Weak<Shared>,
}

/// The connections that take something of one limit.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) limit: usize,
    /// The limit for all peers together that have not sent a valid message.
    pub(super) first_limit: usize,
    next: u64,
    holders: BTreeMap<u64, Holder>,
    used: usize,
}

impl Ledger {
    pub(super) fn new(limit: usize, first_limit: usize) -> Self {
        Self { limit, first_limit, next: 0, holders: BTreeMap::new(), used: 0 }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Records what a connection takes; returns those that must end, itself perhaps among them.
    pub(super) fn set(&mut self, now: Instant, id: u64, mut holder: Holder) -> Vec<Holder> {
        if let Some(old) = self.remove(id)
            && old.can_stall
            && holder.position.checked_sub(old.position).is_some_and(|further| further < PROGRESS)
        {
            (holder.progress_at, holder.position) = (old.progress_at, old.position);
        }
        self.used += holder.bytes;
        self.holders.insert(id, holder);
        let mut cut = Vec::new();
        while let Some(victim) = self.victim(now)
            && let Some(holder) = self.remove(victim)
        {
            cut.push(holder);
        }
        cut
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Holder> {
        let holder = self.holders.remove(&id)?;
        self.used -= holder.bytes;
        Some(holder)
    }

    /// The connection to cut, if all take too much.
    fn victim(&self, now: Instant) -> Option<u64> {
        if self.used <= self.first_limit.min(self.limit) {
            return None;
        }
        let of_strangers = |holder: &&Holder| !holder.has_heard;
        let first_used: usize =
            self.holders.values().filter(of_strangers).map(|holder| holder.bytes).sum();
        if first_used > self.first_limit {
            return self.least_deserving(now, |holder| !holder.has_heard);
        }
        if self.used > self.limit {
            return self.least_deserving(now, |_| true);
        }
        None
    }

    fn least_deserving(&self, now: Instant, among: impl Fn(&Holder) -> bool) -> Option<u64> {
        let holders = || self.holders.iter().filter(|(_, holder)| among(holder));
        let is_stalled = |holder: &Holder| {
            holder.can_stall && now.saturating_duration_since(holder.progress_at) >= STALLED
        };
        let stalled = holders().filter(|(_, holder)| is_stalled(holder));
        if let Some((id, _)) = stalled.min_by_key(|(_, holder)| holder.progress_at) {
            return Some(*id);
        }
        let mut by_source: HashMap<_, usize> = HashMap::new();
        for (_, holder) in holders() {
            *by_source.entry(holder.source).or_default() += holder.bytes;
        }
        let (most, _) = by_source.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let of_source = holders().filter(|(_, holder)| holder.source == most);
        let rank = |holder: &Holder| (!holder.can_stall, holder.progress_at);
        of_source.min_by_key(|(_, holder)| rank(holder)).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests;
