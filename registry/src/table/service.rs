//! One name and its leases, in the order in which they are answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use rpyc_protocol::registry::native::State;

use super::lease::Lease;
use super::turn::Turn;

/// Whether and when an instance is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// In its turn.
    First,
    /// After all of the first.
    Last,
    /// To nobody who asks for whom to connect to.
    Never,
}

/// What is done with an instance that probes find failing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the switch has two positions")]
pub enum FailingPolicy {
    /// It is answered after all others.
    #[default]
    Last,
    /// It is not answered.
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

/// The leases of one name by rank, each part in the order of their numbers.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) id: u64,
    first: Vec<Arc<Lease>>,
    last: Vec<Arc<Lease>>,
    never: Vec<Arc<Lease>>,
    /// Which of the first the next answer begins with.
    pub(super) turn: Turn,
}

impl Service {
    pub(super) fn new(id: u64) -> Self {
        let (first, last, never) = Default::default();
        Self { id, first, last, never, turn: Turn::default() }
    }

    fn part(&mut self, rank: Rank) -> &mut Vec<Arc<Lease>> {
        match rank {
            Rank::First => &mut self.first,
            Rank::Last => &mut self.last,
            Rank::Never => &mut self.never,
        }
    }

    /// Puts a lease where its rank has its place, from wherever it was.
    pub(super) fn place(&mut self, lease: &Arc<Lease>, rank: Rank) {
        let is_newest = |part: &Vec<Arc<Lease>>| part.last().is_none_or(|it| it.id < lease.id);
        if [&self.first, &self.last, &self.never].into_iter().all(is_newest) {
            // It is new; there is nothing to look for.
            self.part(rank).push(Arc::clone(lease));
            return;
        }
        for other in [Rank::First, Rank::Last, Rank::Never] {
            let part = self.part(other);
            match part.binary_search_by_key(&lease.id, |it| it.id) {
                Ok(_) if other == rank => return,
                Ok(at) => drop(part.remove(at)),
                Err(_) => {}
            }
        }
        let part = self.part(rank);
        let at = part.partition_point(|it| it.id < lease.id);
        part.insert(at, Arc::clone(lease));
    }

    /// Gives leases of this service the places that their states have.
    pub(super) fn rank(&mut self, leases: &[&Arc<Lease>], policy: FailingPolicy) {
        /// With fewer, moving each by itself is less work than looking at all.
        const MANY: usize = 8;
        if leases.len() < MANY {
            for lease in leases {
                self.place(lease, policy.rank(lease.state()));
            }
            return;
        }
        let all = self.all();
        for part in [&mut self.first, &mut self.last, &mut self.never] {
            part.clear();
        }
        for lease in all {
            self.part(policy.rank(lease.state())).push(lease);
        }
    }

    /// Forgets those that have ended.
    pub(super) fn forget_ended(&mut self) {
        for part in [&mut self.first, &mut self.last, &mut self.never] {
            part.retain(|lease| !lease.has_ended());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.last.is_empty() && self.never.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.first.len() + self.last.len() + self.never.len()
    }

    /// Those that are answered in their turn.
    pub(super) fn first(&self) -> &[Arc<Lease>] {
        &self.first
    }

    /// Those that are answered after them.
    pub(super) fn last(&self) -> &[Arc<Lease>] {
        &self.last
    }

    /// Adds how many leases are in each state.
    pub(super) fn count(&self, states: &mut BTreeMap<State, u64>) {
        if !self.first.is_empty() {
            *states.entry(State::Passing).or_default() +=
                u64::try_from(self.first.len()).unwrap_or(u64::MAX);
        }
        for lease in self.last.iter().chain(&self.never) {
            *states.entry(lease.state()).or_default() += 1;
        }
    }

    /// All leases by rank.
    pub(super) fn ranks(&self) -> [Vec<Arc<Lease>>; 3] {
        [self.first.clone(), self.last.clone(), self.never.clone()]
    }

    /// All leases, in the order of their numbers.
    pub(super) fn all(&self) -> Vec<Arc<Lease>> {
        let mut all = Vec::with_capacity(self.len());
        all.extend(self.first.iter().chain(&self.last).chain(&self.never).cloned());
        // Sorting what is sorted already costs one look at each.
        all.sort_by_key(|lease| lease.id);
        all
    }
}
