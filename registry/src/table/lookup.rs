//! The endpoints of one name, in the order for one asker.

use dashmap::mapref::one::Ref;
use rpyc_protocol::registry::reply::SmallEntry;
use rpyc_protocol::{FoldedName, ServiceName};

use super::addressing::Advertised;
use super::fragment::Choice;
use super::service::{Service, Slot};
use super::turn::Turn;
use super::{Asker, Directory};

/// The work that one answer may cost, counted in instances that have no address for the asker. So
/// no registrant makes the queries of others slow.
const MAX_WORK: usize = 65_536;

/// The work of computing an address, compared to that of passing over an instance.
const ADDRESS_WORK: usize = 64;

/// The instances of one name, for one asker. The service is locked against changes until this is
/// dropped; other lookups go on.
pub(crate) struct Lookup<'d> {
    directory: &'d Directory,
    asker: &'d Asker,
    service: Ref<'d, ServiceName, Service>,
}

/// Where to find one instance.
#[derive(Clone, Copy)]
pub(crate) enum Found<'l> {
    /// An encoded endpoint, which many askers get.
    Entry(&'l SmallEntry),
    /// An endpoint for this asker.
    Address(&'l Advertised),
}

impl Directory {
    /// Looks up a name; `None` if it has no instance.
    #[inline]
    pub(crate) fn lookup<'d>(&'d self, name: &FoldedName, asker: &'d Asker) -> Option<Lookup<'d>> {
        let service = self.services.get::<str>(name)?;
        Some(Lookup { directory: self, asker, service })
    }
}

impl Lookup<'_> {
    /// The number of instances that clients may connect to, with or without an address for the
    /// asker.
    pub(crate) fn len(&self) -> usize {
        self.service.first().len() + self.service.last().len()
    }

    /// Whether some instances come after all others because they may be down.
    #[inline]
    pub(crate) fn has_last(&self) -> bool {
        !self.service.last().is_empty()
    }

    /// Passes to `take` the instances that come first, in turn, until it returns `false`. The next
    /// lookup begins with the instance that was not taken.
    #[inline]
    pub(crate) fn first(&self, take: impl FnMut(Found<'_>) -> bool) {
        self.pass(&self.service.turn_of_first, self.service.first(), take);
    }

    /// As [`Lookup::first`], for the instances that come after all others.
    pub(crate) fn last(&self, take: impl FnMut(Found<'_>) -> bool) {
        self.pass(&self.service.turn_of_last, self.service.last(), take);
    }

    /// The next instances that [`Lookup::last`] passes, which stay the next; `None` for an
    /// endpoint that is not encoded yet.
    pub(crate) fn upcoming_last(&self) -> impl Iterator<Item = Option<&SmallEntry>> {
        in_turn(&self.service.turn_of_last, self.service.last()).filter_map(|slot| {
            match slot.fragment.choose(self.asker) {
                Choice::Entry(entry) => Some(Some(entry)),
                Choice::Nothing => None,
                Choice::Depends => Some(None),
            }
        })
    }

    #[inline]
    fn pass(&self, turn: &Turn, slots: &[Slot], mut take: impl FnMut(Found<'_>) -> bool) {
        let mut work = MAX_WORK;
        let mut spend = |units: usize| {
            work = work.saturating_sub(units);
            work > 0
        };
        let fits = |slot: &&Slot| match slot.fragment.choose(self.asker) {
            Choice::Entry(entry) => take(Found::Entry(entry)),
            Choice::Nothing => spend(1),
            Choice::Depends => {
                let addressing = &self.directory.addressing;
                match addressing.best_address(self.asker, &slot.lease.instance) {
                    Some(address) => take(Found::Address(&address)),
                    None => spend(ADDRESS_WORK),
                }
            }
        };
        let passed = in_turn(turn, slots).take_while(fits).count();
        turn.advance(passed, slots.len());
    }
}

/// The slots, beginning with the one whose turn it is.
fn in_turn<'s>(turn: &Turn, slots: &'s [Slot]) -> impl Iterator<Item = &'s Slot> + use<'s> {
    let (before, from) = slots.split_at_checked(turn.first(slots.len())).unwrap_or_default();
    from.iter().chain(before)
}
