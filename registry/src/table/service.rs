//! One name and its leases, in the order in which answers list them.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rpyc_protocol::registry::native::State;

use super::fragment::Fragment;
use super::lease::Lease;
use super::service_id::ServiceId;
use super::turn::Turn;

/// Whether and when answers include an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// In turn.
    First,
    /// After all instances of rank `First`, in their own turn.
    Last,
    /// Not returned to clients that want to connect.
    Never,
}

/// How answers treat an instance whose probes fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the switch has two positions")]
pub enum FailingPolicy {
    /// It comes after all others.
    #[default]
    Last,
    /// It is left out.
    Hidden,
}

impl FailingPolicy {
    pub(super) fn rank(self, state: State) -> Rank {
        match (state, self) {
            (State::Draining, _) | (State::Failing, Self::Hidden) => Rank::Never,
            (State::Suspect, _) | (State::Failing, Self::Last) => Rank::Last,
            _ => Rank::First,
        }
    }
}

/// A lease in the list of its service, with the entry that most askers get beside it. So an answer
/// reads one piece of memory, not one for each lease.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) lease: Arc<Lease>,
    pub(super) fragment: Fragment,
}

/// The leases of one name, those of the same rank side by side.
///
/// A lease changes its rank by changing places with the outermost of its neighbours, which takes
/// constant time in a list of any length. Leases that never change rank stay in the order of their
/// numbers.
#[derive(Debug, Default)]
pub(super) struct Service {
    slots: Vec<Slot>,
    /// Where those of rank `Last` begin.
    first: u32,
    /// Where those of rank `Never` begin.
    last: u32,
    /// The lease of rank `First` with which the next answer begins.
    pub(super) turn_of_first: Turn,
    /// The lease of rank `Last` with which that part of the next answer begins.
    pub(super) turn_of_last: Turn,
}

impl Service {
    /// The id, if the service has any lease.
    pub(super) fn id(&self) -> Option<&Arc<ServiceId>> {
        self.slots.first().map(|slot| &slot.lease.service)
    }

    /// Adds a lease.
    pub(super) fn add(&mut self, lease: &Arc<Lease>, fragment: Fragment, rank: Rank) {
        if self.slots.len() == self.slots.capacity() {
            // Most names have few instances, and doubling the largest lists would waste memory.
            self.slots.reserve_exact(1 + self.slots.len() / 4);
        }
        let at = self.slots.len();
        self.slots.push(Slot { lease: Arc::clone(lease), fragment });
        self.settle(at);
        self.sink(at, Rank::Never, rank);
    }

    /// Moves a lease to the part of the list that belongs to its rank.
    pub(super) fn place(&mut self, lease: &Lease, rank: Rank) {
        let Some(at) = self.position(lease) else { return };
        let now = self.rank_at(at);
        match rank.cmp(&now) {
            Less => drop(self.sink(at, now, rank)),
            Equal => {}
            Greater => drop(self.rise(at, now, rank)),
        }
    }

    /// Removes a lease; returns whether the service had it.
    pub(super) fn remove(&mut self, lease: &Lease) -> bool {
        let Some(at) = self.position(lease) else { return false };
        let at = self.rise(at, self.rank_at(at), Rank::Never);
        self.slots.swap_remove(at);
        self.settle(at);
        if self.slots.capacity() > 2 * self.slots.len() {
            self.slots.shrink_to(self.slots.len() + self.slots.len() / 4);
        }
        true
    }

    /// Moves the slot at `at` to an earlier rank; returns its new position.
    fn sink(&mut self, mut at: usize, mut now: Rank, rank: Rank) -> usize {
        if now == Rank::Never && rank < now {
            at = self.swap(at, index(self.last));
            self.last += 1;
            now = Rank::Last;
        }
        if now == Rank::Last && rank < now {
            at = self.swap(at, index(self.first));
            self.first += 1;
        }
        at
    }

    /// Moves the slot at `at` to a later rank; returns its new position.
    fn rise(&mut self, mut at: usize, mut now: Rank, rank: Rank) -> usize {
        if now == Rank::First && rank > now {
            self.first -= 1;
            at = self.swap(at, index(self.first));
            now = Rank::Last;
        }
        if now == Rank::Last && rank > now {
            self.last -= 1;
            at = self.swap(at, index(self.last));
        }
        at
    }

    fn swap(&mut self, a: usize, b: usize) -> usize {
        self.slots.swap(a, b);
        self.settle(a);
        self.settle(b);
        b
    }

    /// Records the position of a lease in the lease.
    fn settle(&self, at: usize) {
        if let Some(slot) = self.slots.get(at) {
            slot.lease.position().store(u32::try_from(at).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }

    fn position(&self, lease: &Lease) -> Option<usize> {
        let at = index(lease.position().load(Ordering::Relaxed));
        self.slots.get(at).is_some_and(|slot| slot.lease.id == lease.id).then_some(at)
    }

    fn rank_at(&self, at: usize) -> Rank {
        if at < index(self.first) {
            Rank::First
        } else if at < index(self.last) {
            Rank::Last
        } else {
            Rank::Never
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The leases of rank `First`.
    #[inline]
    pub(super) fn first(&self) -> &[Slot] {
        self.slots.get(..index(self.first)).unwrap_or_default()
    }

    /// The leases of rank `Last`.
    #[inline]
    pub(super) fn last(&self) -> &[Slot] {
        self.slots.get(index(self.first)..index(self.last)).unwrap_or_default()
    }

    /// The leases of rank `Never`.
    fn never(&self) -> &[Slot] {
        self.slots.get(index(self.last)..).unwrap_or_default()
    }

    /// The slots of a rank.
    pub(super) fn of_rank(&self, rank: Rank) -> &[Slot] {
        match rank {
            Rank::First => self.first(),
            Rank::Last => self.last(),
            Rank::Never => self.never(),
        }
    }

    /// All slots.
    pub(super) fn all(&self) -> &[Slot] {
        &self.slots
    }
}

/// Up to `max` leases with numbers above `after`, in the order of their numbers. Takes one pass,
/// and clones no others.
pub(super) fn leases_in_order(slots: &[Slot], after: u64, max: usize) -> Vec<Arc<Lease>> {
    let mut found: Vec<_> = slots.iter().filter(|slot| slot.lease.id > after).collect();
    if found.len() > max {
        found.select_nth_unstable_by_key(max, |slot| slot.lease.id);
        found.truncate(max);
    }
    // Sorting a sorted list costs one pass.
    found.sort_by_key(|slot| slot.lease.id);
    found.into_iter().map(|slot| Arc::clone(&slot.lease)).collect()
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use rpyc_protocol::ServiceName;
    use rpyc_protocol::registry::Port;

    use super::super::clock::{LeaseClock, Tick};
    use super::super::instance::Instance;
    use super::*;
    use crate::host::Host;

    fn leases(count: u64) -> Vec<Arc<Lease>> {
        let place = (Host::new([10, 0, 0, 1].into(), 0), Port::tcp(1).unwrap());
        let instance = Arc::new(Instance::new(1, place, None, 0));
        let service_id = Arc::new(ServiceId { name: ServiceName::new("a").unwrap(), number: 1 });
        let since = LeaseClock::new(Instant::now()).since(Instant::now());
        let lease = |id| {
            let (service_id, instance) = (Arc::clone(&service_id), Arc::clone(&instance));
            Arc::new(Lease::new(id, service_id, instance, since, Tick::FIRST))
        };
        // As in a table, numbers begin with 1.
        (1..=count).map(lease).collect()
    }

    fn rank(number: u8) -> Option<Rank> {
        [Some(Rank::First), Some(Rank::Last), Some(Rank::Never), None][usize::from(number % 4)]
    }

    proptest! {
        /// After any changes, each lease is in the list once, among those of its rank.
        #[test]
        fn every_lease_is_where_its_rank_is(
            steps in prop::collection::vec((0..20_usize, any::<u8>()), 0..300),
        ) {
            let leases = leases(20);
            let mut ranks = [None; 20];
            let mut service = Service::default();
            for (which, number) in steps {
                let (lease, rank) = (&leases[which], rank(number));
                match (ranks[which], rank) {
                    (None, Some(rank)) => {
                        let fragment = Fragment::PerAsker;
                        service.add(lease, fragment, rank);
                    }
                    (Some(_), Some(rank)) => service.place(lease, rank),
                    (there, None) => prop_assert_eq!(service.remove(lease), there.is_some()),
                }
                ranks[which] = rank;
                for rank in [Rank::First, Rank::Last, Rank::Never] {
                    let part = leases_in_order(service.of_rank(rank), 0, usize::MAX);
                    let part: Vec<_> = part.iter().map(|lease| lease.id).collect();
                    let expected = (0..20).filter(|it| ranks[*it] == Some(rank));
                    let expected: Vec<_> = expected.map(|it| u64::try_from(it).unwrap() + 1).collect();
                    prop_assert_eq!(part, expected);
                }
                prop_assert!(service.slots.capacity() <= 2 * service.slots.len().max(1) + 1);
            }
        }
    }

    #[test]
    fn where_nobody_changes_the_order_is_that_of_registration() {
        let leases = leases(50);
        let mut service = Service::default();
        for lease in &leases {
            let fragment = Fragment::all("10.0.0.1", &lease.instance.port);
            service.add(lease, fragment, Rank::First);
        }
        let order: Vec<_> = service.first().iter().map(|slot| slot.lease.id).collect();
        assert_eq!(order, (1..=50).collect::<Vec<_>>());
    }

    #[test]
    fn a_slot_is_as_small_as_it_is_meant_to_be() {
        assert_eq!((size_of::<Slot>(), size_of::<Service>()), (40, 48));
    }
}
