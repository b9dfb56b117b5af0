//! Instances page by page, for every protocol but RPyC's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::registry::native::{self, Cursor, Filter, Instance};
use rpyc_protocol::{FoldedName, NameError};
use wildmatch::WildMatch;

use super::lease::Lease;
use super::service::Rank;
use super::view::View;
use super::{Asker, Directory};
use crate::host::parse_host;

/// The most leases and names that one page looks at. A page that finds nothing among them is empty
/// and says where the next one begins.
const MAX_LOOKED_AT: usize = 4096;

/// The selected services and instances.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    pub(crate) names: &'a Names,
    /// Selects only these leases, in the order of services and leases.
    pub(crate) among: Option<&'a [Arc<Lease>]>,
    /// Selects only instances at this address.
    pub(crate) only: Option<IpAddr>,
    pub(crate) filter: &'a Filter,
    /// Whether instances that clients should not connect to are included.
    pub(crate) with_hidden: bool,
    /// Whether details that clients do not need are included.
    pub(crate) is_full: bool,
}

/// The selected names.
#[derive(Debug)]
pub(crate) enum Names {
    /// One name.
    One(FoldedName),
    /// Names that begin with `prefix` and match `glob`.
    Like { prefix: FoldedName, glob: Option<WildMatch> },
}

impl Names {
    /// Names that begin with `prefix` and match `glob`, where given, in any case. Matching takes
    /// time in proportion to the product of the lengths, for any pattern.
    pub(crate) fn like(prefix: Option<&str>, glob: Option<&str>) -> Result<Self, NameError> {
        let glob = glob.map(FoldedName::new).transpose()?;
        let glob = glob.map(|glob| WildMatch::new(&glob));
        Ok(Self::Like { prefix: FoldedName::new(prefix.unwrap_or_default())?, glob })
    }

    pub(crate) fn include(&self, name: &str) -> bool {
        match self {
            Self::One(one) => &**one == name,
            Self::Like { prefix, glob } => {
                name.starts_with(&**prefix) && glob.as_ref().is_none_or(|glob| glob.matches(name))
            }
        }
    }
}

/// The part of the selection that a page may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) after: Cursor,
    /// The most instances.
    pub(crate) limit: usize,
    /// The most bytes that they may take in the asker's protocol.
    pub(crate) budget: usize,
    pub(crate) sizes: Sizes,
}

/// The bytes that names and instances take in a protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The size of a service without instances.
    pub(crate) service: fn(&str) -> usize,
    pub(crate) instance: fn(&Instance) -> usize,
}

/// A page of the selection.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) services: Vec<native::Service>,
    /// Where the next page begins, if there may be more.
    pub(crate) next: Option<Cursor>,
    /// How many instances the whole selection has; only if there is more than this page, and if
    /// counting takes no longer than a page may.
    pub(crate) count: Option<u64>,
    /// How many leases and names were looked at.
    pub(crate) looked_at: usize,
}

impl Directory {
    /// The selected instances in the order of registration, or as many as fit. Looks at a bounded
    /// number of them, so a page may end early.
    pub(crate) fn select(
        &self,
        now: Instant,
        asker: &Asker,
        selection: &Selection<'_>,
        extent: Extent,
    ) -> Page {
        let mut builder = Builder {
            view: View { directory: self, now, asker, is_full: selection.is_full },
            selection,
            extent,
            page: Page::default(),
            taken: 0,
            last: extent.after,
            is_full: false,
        };
        match (selection.among, selection.names) {
            (Some(leases), _) => builder.among(leases),
            (None, Names::One(name)) => builder.by_rank(name),
            (None, names @ Names::Like { .. }) => builder.by_name(names),
        }
        builder.finish()
    }
}

/// The address in `host`; the outer `None` if it cannot be parsed.
pub(crate) fn only_host(host: Option<&str>) -> Option<Option<IpAddr>> {
    match host.map(parse_host) {
        // No instance registers from a text that is not an address.
        Some(None) => None,
        Some(Some(ip)) => Some(Some(ip)),
        None => Some(None),
    }
}

struct Builder<'a> {
    view: View<'a>,
    selection: &'a Selection<'a>,
    extent: Extent,
    page: Page,
    taken: usize,
    /// The last lease that was looked at.
    last: Cursor,
    is_full: bool,
}

impl Builder<'_> {
    fn among(&mut self, leases: &[Arc<Lease>]) {
        let mut leases: Vec<_> = leases.iter().collect();
        leases.sort_by_key(|lease| (lease.service_number(), lease.id));
        for lease in leases {
            let at = Cursor { service: lease.service_number(), lease: lease.id };
            if at <= self.extent.after {
                continue;
            }
            if !self.add(at, lease.service.as_str(), lease) {
                return;
            }
        }
    }

    /// The leases of one name by rank, so that a limit leaves out the less reliable instances. Here
    /// the cursor is a rank and a lease.
    fn by_rank(&mut self, name: &FoldedName) {
        for (number, rank) in (0..).zip([Rank::First, Rank::Last, Rank::Never]) {
            let after = self.after(number);
            let Some(after) = after else { continue };
            let room = MAX_LOOKED_AT + 1 - self.page.looked_at.min(MAX_LOOKED_AT);
            for lease in self.view.directory.of_rank(name, rank, after, room) {
                if !self.add(Cursor { service: number, lease: lease.id }, name, &lease) {
                    self.page.count = self.count(name);
                    return;
                }
            }
        }
    }

    fn by_name(&mut self, names: &Names) {
        let directory = self.view.directory;
        directory.visit_names(self.extent.after.service, |service| {
            let after = self.after(service.number).unwrap_or(0);
            if !names.include(service.as_str()) {
                return self.look(Cursor { service: service.number, lease: after });
            }
            let room = MAX_LOOKED_AT + 1 - self.page.looked_at.min(MAX_LOOKED_AT);
            let leases = directory.of_name(service.as_str(), after, room);
            leases.iter().all(|lease| {
                let at = Cursor { service: service.number, lease: lease.id };
                self.add(at, service.as_str(), lease)
            })
        });
    }

    /// The lease of this service (or rank) after which the page begins; `None` if the page begins
    /// after all of them.
    fn after(&self, service: u64) -> Option<u64> {
        let after = self.extent.after;
        match service.cmp(&after.service) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(after.lease),
            std::cmp::Ordering::Greater => Some(0),
        }
    }

    /// Counts the work for what is at `at`; returns whether it may be looked at.
    fn look(&mut self, at: Cursor) -> bool {
        if self.page.looked_at == MAX_LOOKED_AT {
            self.is_full = true;
            return false;
        }
        self.page.looked_at += 1;
        self.last = at;
        true
    }

    /// Adds a lease if it is selected and fits; returns whether there may be room for more.
    fn add(&mut self, at: Cursor, name: &str, lease: &Lease) -> bool {
        let before = self.last;
        if !self.look(at) {
            return false;
        }
        if !self.is_selected(lease) {
            return true;
        }
        let Some(instance) = self.view.instance(lease) else { return true };
        let Extent { sizes, budget, limit, .. } = self.extent;
        let is_new = self.page.services.last().is_none_or(|last| last.name != name);
        let head = if is_new { (sizes.service)(name) } else { 0 };
        let len = head + (sizes.instance)(&instance);
        if len > budget || self.taken == limit {
            self.last = before;
            self.is_full = true;
            return false;
        }
        self.extent.budget -= len;
        self.taken += 1;
        match self.page.services.last_mut() {
            Some(last) if !is_new => last.instances.push(instance),
            _ => {
                let name = name.to_owned();
                self.page.services.push(native::Service { name, instances: vec![instance] });
            }
        }
        true
    }

    /// How many instances of a name are selected; `None` if it has too many to count.
    fn count(&self, name: &FoldedName) -> Option<u64> {
        let leases = self.view.directory.of_name(name, 0, MAX_LOOKED_AT + 1);
        let is_counted = leases.len() <= MAX_LOOKED_AT;
        let selected = || leases.iter().filter(|lease| self.is_selected(lease)).count();
        is_counted.then(selected).and_then(|count| u64::try_from(count).ok())
    }

    fn is_selected(&self, lease: &Lease) -> bool {
        let Selection { only, filter, with_hidden, .. } = self.selection;
        let instance = &lease.instance;
        let state = lease.state();
        let is_state_meant = if filter.states.is_empty() {
            *with_hidden || self.view.directory.is_answered(state)
        } else {
            filter.states.contains(&state)
        };
        if lease.has_ended()
            || !is_state_meant
            || only.is_some_and(|ip| !self.view.directory.addressing.is_at(instance, ip))
        {
            return false;
        }
        if filter.zone.is_none()
            && filter.tags_all.is_empty()
            && filter.tags_any.is_empty()
            && filter.meta.is_empty()
        {
            return true;
        }
        let details = instance.details();
        filter.zone.as_ref().is_none_or(|zone| details.zone.as_ref() == Some(zone))
            && filter.tags_all.is_subset(&details.tags)
            && (filter.tags_any.is_empty() || !filter.tags_any.is_disjoint(&details.tags))
            && filter.meta.iter().all(|(key, value)| details.meta.get(key) == Some(value))
    }

    fn finish(mut self) -> Page {
        self.page.next = self.is_full.then_some(self.last);
        self.page
    }
}
