//! Counts the open connections. Past a limit, it closes the one that has been idle longest.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::host::Source;

/// The connections of this machine, whose number has no limit of its own, weigh this much less than
/// those of another when one must be closed.
const OWN_SHARE: usize = 16;

/// The sender of connections; `None` stands for this machine.
type Sender = Option<Source>;

/// Counts the connections of all listeners together, up to a limit for all and one for each sender.
#[derive(Debug)]
pub(crate) struct ConnectionCount {
    limit: usize,
    limit_per_source: usize,
    /// The zero of all activity times.
    start: Instant,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next_id: u64,
    holders: HashMap<u64, Holder>,
    /// The connections of each sender that has any.
    senders: HashMap<Sender, Activity>,
    /// The senders by the weight of their connections.
    by_weight: BTreeSet<(usize, Sender)>,
}

/// The activity times of one sender's connections, as far as they are known here, each with an id
/// that orders equal times. They may be out of date: only the search for the longest idle
/// connection updates them.
type Activity = BTreeSet<(u64, u64)>;

#[derive(Debug)]
struct Holder {
    peer: SocketAddr,
    sender: Sender,
    known_active_at: u64,
    active_at: Arc<AtomicU64>,
    displace: CancellationToken,
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    count: Arc<ConnectionCount>,
    id: u64,
    /// In nanoseconds since the start.
    active_at: Arc<AtomicU64>,
    displace: CancellationToken,
}

impl ConnectionCount {
    /// Creates the count, with room for `limit` connections and `limit_per_source` of each other
    /// machine.
    pub(crate) fn new(limit: usize, limit_per_source: usize) -> Self {
        Self { limit, limit_per_source, start: Instant::now(), taken: Mutex::default() }
    }

    /// Counts a connection from `peer`, which is one of `sender`. Past the limit of its sender,
    /// cancels the one of that sender that has been idle longest, and past the limit for all, that
    /// of the sender that has most. Returns the peer that it cancelled. `stop` cancels all of them.
    pub(crate) fn take(
        self: &Arc<Self>,
        now: Instant,
        peer: SocketAddr,
        sender: Option<Source>,
        stop: &CancellationToken,
    ) -> (ConnectionGuard, Option<SocketAddr>) {
        let now = self.nanos(now);
        let mut taken = self.lock();
        let is_at_limit = sender.is_some() && taken.count_of(sender) >= self.limit_per_source;
        let displaced = if is_at_limit {
            taken.displace(sender)
        } else if taken.holders.len() >= self.limit {
            taken.displace_fairly()
        } else {
            None
        };
        let id = taken.next_id;
        taken.next_id += 1;
        let displace = stop.child_token();
        let active_at = Arc::new(AtomicU64::new(now));
        let holder = Holder {
            peer,
            sender,
            known_active_at: now,
            active_at: Arc::clone(&active_at),
            displace: displace.clone(),
        };
        taken.insert(id, holder);
        drop(taken);
        (ConnectionGuard { count: Arc::clone(self), id, active_at, displace }, displaced)
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn count_of(&self, sender: Sender) -> usize {
        self.senders.get(&sender).map_or(0, BTreeSet::len)
    }

    fn insert(&mut self, id: u64, holder: Holder) {
        let at = (holder.known_active_at, id);
        self.change(holder.sender, |activity| activity.insert(at));
        self.holders.insert(id, holder);
    }

    fn remove(&mut self, id: u64) -> Option<Holder> {
        let holder = self.holders.remove(&id)?;
        let at = (holder.known_active_at, id);
        self.change(holder.sender, |activity| activity.remove(&at));
        Some(holder)
    }

    /// Changes the connections of a sender, and its weight.
    fn change(&mut self, sender: Sender, change: impl FnOnce(&mut Activity) -> bool) {
        let activity = self.senders.entry(sender).or_default();
        let before = weight(activity.len(), sender);
        change(activity);
        let (after, is_empty) = (weight(activity.len(), sender), activity.is_empty());
        self.by_weight.remove(&(before, sender));
        if is_empty {
            self.senders.remove(&sender);
        } else {
            self.by_weight.insert((after, sender));
        }
    }

    fn displace_fairly(&mut self) -> Option<SocketAddr> {
        let (_, sender) = *self.by_weight.last()?;
        self.displace(sender)
    }

    /// Cancels the connection of `sender` that has been idle longest.
    fn displace(&mut self, sender: Sender) -> Option<SocketAddr> {
        loop {
            let activity = self.senders.get_mut(&sender)?;
            let (known_active_at, id) = activity.pop_first()?;
            let Some(holder) = self.holders.get_mut(&id) else { continue };
            let active_at = holder.active_at.load(Ordering::Relaxed);
            activity.insert((active_at, id));
            holder.known_active_at = active_at;
            if active_at == known_active_at {
                let holder = self.remove(id)?;
                holder.displace.cancel();
                return Some(holder.peer);
            }
        }
    }
}

fn weight(connections: usize, sender: Sender) -> usize {
    if sender.is_none() { connections / OWN_SHARE } else { connections }
}

impl ConnectionGuard {
    /// Records activity on the connection.
    pub(crate) fn is_active(&self, now: Instant) {
        self.active_at.store(self.count.nanos(now), Ordering::Relaxed);
    }

    /// A token that is cancelled when the connection must be closed.
    pub(crate) fn displaced(&self) -> CancellationToken {
        self.displace.clone()
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.count.lock().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::host::Host;

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn the_longest_idle_makes_room() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (count, stop) = (Arc::new(ConnectionCount::new(2, 2)), CancellationToken::new());
        let (first, _) = count.take(at(0), peer(1), None, &stop);
        let (second, _) = count.take(at(1), peer(2), None, &stop);
        first.is_active(at(2));
        let (third, displaced) = count.take(at(3), peer(3), None, &stop);
        assert_eq!(displaced, Some(peer(2)));
        assert!(second.displaced().is_cancelled());
        assert!(!first.displaced().is_cancelled());
        // Dropping the cancelled connection does not subtract it again.
        drop(second);
        let (_fourth, displaced) = count.take(at(4), peer(4), None, &stop);
        assert_eq!(displaced, Some(peer(1)));
        drop(third);
        let (_fifth, displaced) = count.take(at(5), peer(5), None, &stop);
        assert_eq!(displaced, None);
    }
    #[test]
    fn a_sender_with_many_makes_room_for_the_others_and_for_itself() {
        let start = Instant::now();
        let (count, stop) = (Arc::new(ConnectionCount::new(6, 4)), CancellationToken::new());
        let sender = |last: u8| Some(Host::new([10, 0, 0, last].into(), 0).into());
        let take = |port, last| count.take(start, peer(port), sender(last), &stop);
        let honest: Vec<_> = (1..=2).map(|port| take(port, 1).0).collect();
        let mut greedy = Vec::new();
        for port in 10..30 {
            let (guard, displaced) = take(port, 9);
            // The limit of one sender comes before the limit of all.
            assert_eq!(displaced, (port >= 14).then(|| peer(port - 4)));
            greedy.push(guard);
        }
        // Further senders take from the one that has most.
        let (_third, displaced) = take(3, 2);
        assert_eq!(displaced, Some(peer(26)));
        assert!(honest.iter().all(|guard| !guard.displaced().is_cancelled()));
        drop(greedy);
        assert_eq!(count.lock().by_weight.len(), 2);
    }

    #[test]
    fn others_do_not_displace_the_connections_of_this_machine() {
        let start = Instant::now();
        let (count, stop) = (Arc::new(ConnectionCount::new(20, 4)), CancellationToken::new());
        let own: Vec<_> =
            (1..=18).map(|port| count.take(start, peer(port), None, &stop).0).collect();
        let sender = Some(Host::new([10, 0, 0, 9].into(), 0).into());
        let mut others = Vec::new();
        for port in 100..110 {
            others.push(count.take(start, peer(port), sender, &stop).0);
        }
        assert!(own.iter().all(|guard| !guard.displaced().is_cancelled()));
        assert_eq!(count.lock().holders.len(), 20);
    }
}
