//! A bounded number of places for connections; the one idle longest makes room.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The places of all listeners together.
#[derive(Debug)]
pub(crate) struct Places {
    limit: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next_id: u64,
    holders: HashMap<u64, Holder>,
    /// By when they were active last; the number tells equal times apart.
    by_activity: BTreeMap<(Instant, u64), u64>,
}

#[derive(Debug)]
struct Holder {
    peer: SocketAddr,
    active_at: Instant,
    give_up: CancellationToken,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
    give_up: CancellationToken,
}

impl Places {
    /// Room for `limit` connections.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, taken: Mutex::new(Taken::default()) }
    }

    /// Takes a place; if there is none, the connection that has been idle longest is told to give up
    /// its own, and named.
    pub(crate) fn take(
        self: &Arc<Self>,
        now: Instant,
        peer: SocketAddr,
    ) -> (Place, Option<SocketAddr>) {
        let mut taken = self.lock();
        let is_full = taken.holders.len() >= self.limit;
        let displaced = if is_full { taken.displace() } else { None };
        let id = taken.next_id;
        taken.next_id += 1;
        let give_up = CancellationToken::new();
        taken.by_activity.insert((now, id), id);
        taken.holders.insert(id, Holder { peer, active_at: now, give_up: give_up.clone() });
        drop(taken);
        (Place { places: Arc::clone(self), id, give_up }, displaced)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn displace(&mut self) -> Option<SocketAddr> {
        let (_, id) = self.by_activity.pop_first()?;
        let holder = self.holders.remove(&id)?;
        holder.give_up.cancel();
        Some(holder.peer)
    }
}

impl Place {
    /// Notes that the connection is doing something.
    pub(crate) fn is_active(&self, now: Instant) {
        let mut taken = self.places.lock();
        let Taken { holders, by_activity, .. } = &mut *taken;
        if let Some(holder) = holders.get_mut(&self.id) {
            by_activity.remove(&(holder.active_at, self.id));
            holder.active_at = now;
            by_activity.insert((now, self.id), self.id);
        }
    }

    /// Waits until the place must be given up.
    pub(crate) fn given_up(&self) -> CancellationToken {
        self.give_up.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(holder) = taken.holders.remove(&self.id) {
            taken.by_activity.remove(&(holder.active_at, self.id));
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
        let places = Arc::new(Places::new(2));
        let (first, _) = places.take(at(0), peer(1));
        let (second, _) = places.take(at(1), peer(2));
        first.is_active(at(2));
        let (third, displaced) = places.take(at(3), peer(3));
        assert_eq!(displaced, Some(peer(2)));
        assert!(second.given_up().is_cancelled());
        assert!(!first.given_up().is_cancelled());
        // The one that was told to go frees no second place when it is gone.
        drop(second);
        let (_fourth, displaced) = places.take(at(4), peer(4));
        assert_eq!(displaced, Some(peer(1)));
        drop(third);
        let (_fifth, displaced) = places.take(at(5), peer(5));
        assert_eq!(displaced, None);
    }
}
