//! A queue of leases by due time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::clock::Tick;
use super::lease::Lease;

/// The time that a slot spans, as a power of two in nanoseconds: 0.27 s. Longer slots have more
/// leases to look at when they open; shorter ones are more numerous.
const SLOT_BITS: u32 = 28;

/// Marks a position in a slot, as opposed to a time: no lease lasts for 292 years.
const IN_SLOT: u64 = 1 << 63;

/// A timing wheel: the next quarter of a second is in order, everything later is in unordered
/// slots.
///
/// A lease in a slot costs eight bytes and is looked at once, when its slot opens. It then moves to
/// its current deadline. So a renewal touches nothing here. Removing a lease takes constant time in
/// a slot, so leases that come and go leave nothing behind.
///
/// A lease is in at most one queue at a time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Leases that were pushed into opened slots, by time and number.
    near: BTreeMap<(Tick, u64), Arc<Lease>>,
    far: BTreeMap<u32, Vec<Arc<Lease>>>,
    /// The latest slot that has been opened.
    opened: u32,
    len: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a lease that is due at `tick`.
    pub(super) fn push(&mut self, tick: Tick, lease: Arc<Lease>) {
        self.len += 1;
        let slot = slot_of(tick);
        if slot <= self.opened {
            lease.queued().store(tick.get(), Ordering::Relaxed);
            self.near.insert((tick, lease.id), lease);
        } else {
            let leases = self.far.entry(slot).or_default();
            set_place(&lease, slot, leases.len());
            leases.push(lease);
        }
    }

    /// Removes a lease; returns whether the queue had it.
    pub(super) fn remove(&mut self, lease: &Lease) -> bool {
        let queued = lease.queued().load(Ordering::Relaxed);
        let was_there = if queued & IN_SLOT == 0 {
            Tick::new(queued).is_some_and(|tick| self.near.remove(&(tick, lease.id)).is_some())
        } else {
            self.remove_far(lease, queued)
        };
        if was_there {
            self.len -= 1;
            lease.queued().store(0, Ordering::Relaxed);
        }
        was_there
    }

    fn remove_far(&mut self, lease: &Lease, queued: u64) -> bool {
        let (slot, at) = place(queued);
        let Some(leases) = self.far.get_mut(&slot) else { return false };
        if leases.get(at).is_none_or(|it| it.id != lease.id) {
            return false;
        }
        leases.swap_remove(at);
        if let Some(moved) = leases.get(at) {
            set_place(moved, slot, at);
        }
        if leases.is_empty() {
            self.far.remove(&slot);
        }
        true
    }

    /// Removes and returns a lease that is due by `now`, or whose slot is.
    pub(super) fn pop(&mut self, now: Tick) -> Option<Arc<Lease>> {
        let lease = match self.near.first_entry() {
            Some(first) if first.key().0 <= now => first.remove(),
            _ => {
                let mut first =
                    self.far.first_entry().filter(|first| *first.key() <= slot_of(now))?;
                self.opened = self.opened.max(*first.key());
                let lease = first.get_mut().pop();
                if first.get().is_empty() {
                    first.remove();
                }
                lease?
            }
        };
        self.len -= 1;
        lease.queued().store(0, Ordering::Relaxed);
        Some(lease)
    }

    /// When the next lease or slot is due.
    pub(super) fn first(&self) -> Option<Tick> {
        let near = self.near.first_key_value().map(|((tick, _), _)| *tick);
        let far = self.far.first_key_value().map(|(slot, _)| start_of(*slot));
        near.into_iter().chain(far).min()
    }

    /// Every lease, in the order of the slots; unordered within a slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Lease>> {
        self.near.values().chain(self.far.values().flatten())
    }
}

fn slot_of(tick: Tick) -> u32 {
    /// The last slot, 18 years ahead. A lease that is due later is looked at then.
    const LAST: u32 = u32::MAX >> 1;
    u32::try_from(tick.get() >> SLOT_BITS).map_or(LAST, |slot| slot.min(LAST))
}

fn start_of(slot: u32) -> Tick {
    Tick::new(u64::from(slot) << SLOT_BITS).unwrap_or(Tick::FIRST)
}

fn set_place(lease: &Lease, slot: u32, at: usize) {
    let at = u64::try_from(at).unwrap_or(u64::MAX) & u64::from(u32::MAX);
    lease.queued().store(IN_SLOT | u64::from(slot) << 32 | at, Ordering::Relaxed);
}

fn place(queued: u64) -> (u32, usize) {
    let half = |number: u64| number & u64::from(u32::MAX);
    let slot = u32::try_from(half((queued & !IN_SLOT) >> 32)).unwrap_or(0);
    (slot, usize::try_from(half(queued)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use rpyc_protocol::ServiceName;
    use rpyc_protocol::registry::Port;

    use super::super::clock::LeaseClock;
    use super::super::instance::Instance;
    use super::super::service_id::ServiceId;
    use super::*;
    use crate::host::Host;

    fn lease(id: u64) -> Arc<Lease> {
        let place = (Host::new([10, 0, 0, 1].into(), 0), Port::tcp(1).unwrap());
        let instance = Arc::new(Instance::new(1, place, None, 0));
        let service_id = Arc::new(ServiceId { name: ServiceName::new("a").unwrap(), number: 1 });
        let since = LeaseClock::new(Instant::now()).since(Instant::now());
        Arc::new(Lease::new(id, service_id, instance, since, Tick::FIRST))
    }

    fn at(millis: u64) -> Tick {
        Tick::FIRST.after(Duration::from_millis(millis))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u64),
        Remove(prop::sample::Index),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..5_000_u64).prop_map(Step::Push),
            1 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => (0..700_u64).prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// Every lease comes when it is due, as from a sorted map, and none stays behind.
        #[test]
        fn a_queue_is_a_sorted_map(steps in prop::collection::vec(step(), 0..200)) {
            let mut queue = Queue::default();
            let mut model: BTreeMap<u64, (u64, Arc<Lease>)> = BTreeMap::new();
            let (mut now, mut next) = (0, 1);
            for step in steps {
                match step {
                    Step::Push(later) => {
                        let lease = lease(next);
                        queue.push(at(now + later), Arc::clone(&lease));
                        model.insert(next, (now + later, lease));
                        next += 1;
                    }
                    Step::Remove(index) if !model.is_empty() => {
                        let id = *index.get(&model.keys().copied().collect::<Vec<_>>());
                        let (_, lease) = model.remove(&id).unwrap();
                        prop_assert!(queue.remove(&lease));
                        prop_assert!(!queue.remove(&lease), "only once");
                    }
                    Step::Remove(_) => {}
                    Step::Advance(by) => {
                        now += by;
                        // As the table does: a lease that is not due yet moves to its own time.
                        while let Some(lease) = queue.pop(at(now)) {
                            let (due, _) = model[&lease.id];
                            if due > now {
                                queue.push(at(due), lease);
                            } else {
                                model.remove(&lease.id);
                            }
                        }
                        prop_assert!(model.values().all(|(due, _)| *due > now));
                    }
                }
                let first = model.values().map(|(due, _)| at(*due)).min();
                prop_assert!(queue.first() <= first, "the first lease is not late");
                prop_assert_eq!(queue.first().is_some(), first.is_some());
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.iter().count(), model.len());
            }
        }
    }

    #[test]
    fn a_lease_is_not_taken_from_a_queue_that_does_not_have_it() {
        let (mut one, mut other) = (Queue::default(), Queue::default());
        let (a, b) = (lease(1), lease(2));
        one.push(at(1000), Arc::clone(&a));
        other.push(at(1000), Arc::clone(&b));
        assert!(!other.remove(&a) && !one.remove(&b));
        assert!(one.remove(&a) && other.remove(&b));
        assert!(one.is_empty() && one.first().is_none() && one.far.is_empty());
    }
}
