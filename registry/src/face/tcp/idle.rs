//! Counts the open connections. Past the limit, it closes the one that has been idle longest.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Counts the connections of all listeners together, up to a limit.
#[derive(Debug)]
pub(crate) struct ConnectionCount {
    limit: usize,
    /// The zero of all activity times.
    start: Instant,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next_id: u64,
    holders: HashMap<u64, Holder>,
    /// The activity times that are known here, each with an id that orders equal times. They may be
    /// out of date: only the search for the longest idle connection updates them.
    by_activity: BTreeSet<(u64, u64)>,
}

#[derive(Debug)]
struct Holder {
    peer: SocketAddr,
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
    /// Creates the count, with room for `limit` connections.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, start: Instant::now(), taken: Mutex::new(Taken::default()) }
    }

    /// Counts a connection. Past the limit, cancels the one that has been idle longest and returns
    /// its peer. `stop` cancels all of them.
    pub(crate) fn take(
        self: &Arc<Self>,
        now: Instant,
        peer: SocketAddr,
        stop: &CancellationToken,
    ) -> (ConnectionGuard, Option<SocketAddr>) {
        let now = self.nanos(now);
        let mut taken = self.lock();
        let is_full = taken.holders.len() >= self.limit;
        let displaced = if is_full { taken.displace() } else { None };
        let id = taken.next_id;
        taken.next_id += 1;
        let displace = stop.child_token();
        let active_at = Arc::new(AtomicU64::new(now));
        taken.by_activity.insert((now, id));
        let holder = Holder {
            peer,
            known_active_at: now,
            active_at: Arc::clone(&active_at),
            displace: displace.clone(),
        };
        taken.holders.insert(id, holder);
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
    fn displace(&mut self) -> Option<SocketAddr> {
        loop {
            let (known_active_at, id) = self.by_activity.pop_first()?;
            let active_at = self.holders.get(&id)?.active_at.load(Ordering::Relaxed);
            if active_at == known_active_at {
                let holder = self.holders.remove(&id)?;
                holder.displace.cancel();
                return Some(holder.peer);
            }
            if let Some(holder) = self.holders.get_mut(&id) {
                holder.known_active_at = active_at;
            }
            self.by_activity.insert((active_at, id));
        }
    }
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
        let mut taken = self.count.lock();
        if let Some(holder) = taken.holders.remove(&self.id) {
            taken.by_activity.remove(&(holder.known_active_at, self.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn the_longest_idle_makes_room() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (count, stop) = (Arc::new(ConnectionCount::new(2)), CancellationToken::new());
        let (first, _) = count.take(at(0), peer(1), &stop);
        let (second, _) = count.take(at(1), peer(2), &stop);
        first.is_active(at(2));
        let (third, displaced) = count.take(at(3), peer(3), &stop);
        assert_eq!(displaced, Some(peer(2)));
        assert!(second.displaced().is_cancelled());
        assert!(!first.displaced().is_cancelled());
        // Dropping the cancelled connection does not subtract it again.
        drop(second);
        let (_fourth, displaced) = count.take(at(4), peer(4), &stop);
        assert_eq!(displaced, Some(peer(1)));
        drop(third);
        let (_fifth, displaced) = count.take(at(5), peer(5), &stop);
        assert_eq!(displaced, None);
    }
}
