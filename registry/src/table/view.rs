//! The table as the native face reports it: states, times and details, page by page.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::{self, Cursor, Filter, Instance, Reply, State, Target};
use rpyc_protocol::{FoldedName, NameError};
use wildmatch::WildMatch;

use super::host::parse_host;
use super::lease::{Lease, Suspicion};
use super::{Asker, Directory};

/// The selected services and instances.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    pub(crate) names: &'a Names,
    /// Selects only instances at this address.
    pub(crate) only: Option<IpAddr>,
    /// Selects only these instances.
    pub(crate) target: Option<&'a Target>,
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
    /// The most bytes of JSON that they may take.
    pub(crate) budget: usize,
}

/// A page of the selection.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) services: Vec<native::Service>,
    /// Where the next page begins, if there is more.
    pub(crate) next: Option<Cursor>,
    /// How many instances the whole selection has; known only if there is more than this page.
    pub(crate) count: Option<u64>,
}

impl Directory {
    /// The selected instances in the order of registration, or as many as fit.
    pub(crate) fn select(
        &self,
        now: Instant,
        asker: &Asker,
        selection: &Selection<'_>,
        extent: Extent,
    ) -> Found {
        let mut page = Page {
            view: View { directory: self, now, asker, is_full: selection.is_full },
            selection,
            extent,
            found: Found::default(),
            told: 0,
            last: extent.after,
            is_full: false,
        };
        match selection.names {
            // By rank, so that a limit leaves out the less reliable instances. Here the cursor is a
            // rank and a lease.
            Names::One(name) => {
                let ranks = self.ranks(name);
                let mut rest =
                    (0..).zip(&ranks).skip_while(|(rank, _)| *rank < extent.after.service);
                let _ = rest.all(|(rank, leases)| page.add(rank, name, leases));
                if page.is_full {
                    let selected = ranks.iter().flatten().filter(|lease| page.is_selected(lease));
                    page.found.count = u64::try_from(selected.count()).ok();
                }
            }
            names @ Names::Like { .. } => self.visit(extent.after.service, |id, name, leases| {
                !names.include(name) || page.add(id, name, leases)
            }),
        }
        page.finish()
    }

    /// The view of one lease for `asker`; `None` if it has no address for them.
    pub(crate) fn view(
        &self,
        now: Instant,
        asker: &Asker,
        lease: &Lease,
        is_full: bool,
    ) -> Option<Instance> {
        View { directory: self, now, asker, is_full }.instance(lease)
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

struct View<'a> {
    directory: &'a Directory,
    now: Instant,
    asker: &'a Asker,
    is_full: bool,
}

impl View<'_> {
    fn instance(&self, lease: &Lease) -> Option<Instance> {
        let clock = &self.directory.clock;
        let instance = &lease.instance;
        let tick = clock.tick(self.now);
        let ttl = lease.ttl(self.directory.ttl());
        // A lease that has ended has no time left.
        let deadline = lease.deadline();
        let left = deadline.map_or(Duration::ZERO, |deadline| deadline.since(tick));
        let overdue = deadline.map_or(Duration::ZERO, |deadline| tick.since(deadline));
        let addressing = &self.directory.addressing;
        let mut addresses = addressing.addresses_of(self.asker, instance).into_iter();
        let best = addresses.next()?;
        let state = lease.state();
        Some(Instance {
            id: instance.id,
            host: best.host(),
            port: best.port,
            addresses: addresses.map(|told| join(&told.host(), &told.port)).collect(),
            state,
            why: self.why(lease, state, overdue),
            age_ms: lease.since.millis_until(clock.since(self.now)),
            // The last renewal before the restart is not known.
            renewed_ms: (self.is_full && lease.suspicion() != Some(Suspicion::Restarted))
                .then(|| millis(ttl.saturating_sub(left) + overdue)),
            left_ms: millis(left),
            ttl_ms: self.is_full.then(|| millis(ttl)),
            legacy: instance.is_legacy(),
            dialect: self.directory.dialect(lease).map(|dialect| dialect.as_str().to_owned()),
            details: (*instance.details()).clone(),
        })
    }

    fn why(&self, lease: &Lease, state: State, overdue: Duration) -> Option<String> {
        if !self.is_full {
            return None;
        }
        let seconds = Duration::from_secs(overdue.as_secs());
        Some(match (state, lease.suspicion()) {
            (State::Draining, _) => "drained by an operator or by itself".to_owned(),
            (State::Failing, _) => self.directory.failure(&lease.instance)?.told(self.now),
            (_, Some(Suspicion::Restarted)) => {
                "not renewed since the registry restarted".to_owned()
            }
            (_, Some(Suspicion::Overdue)) => format!(
                "overdue by {}; kept because too many leases expired together",
                humantime::format_duration(seconds)
            ),
            (_, None) => return None,
        })
    }
}

fn join(host: &str, port: &rpyc_protocol::registry::Port) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

struct Page<'a> {
    view: View<'a>,
    selection: &'a Selection<'a>,
    extent: Extent,
    found: Found,
    told: usize,
    /// The last lease that is on the page.
    last: Cursor,
    is_full: bool,
}

impl Page<'_> {
    /// Adds the leases of one service that fit; returns whether there may be room for more.
    fn add(&mut self, id: u64, name: &str, leases: &[Arc<Lease>]) -> bool {
        let seen = if id == self.extent.after.service { self.extent.after.lease } else { 0 };
        let mut service = native::Service { name: name.to_owned(), instances: Vec::new() };
        let head = json_len(&service) + 1;
        let mut left = self.extent.budget.saturating_sub(head);
        for lease in leases.iter().filter(|lease| lease.id > seen) {
            if !self.is_selected(lease) {
                continue;
            }
            let Some(instance) = self.view.instance(lease) else { continue };
            let len = json_len(&instance) + 1;
            if len > left || self.told == self.extent.limit {
                self.is_full = true;
                break;
            }
            left -= len;
            self.told += 1;
            self.last = Cursor { service: id, lease: lease.id };
            service.instances.push(instance);
        }
        if !service.instances.is_empty() {
            self.extent.budget = left;
            match self.found.services.last_mut() {
                Some(last) if last.name == service.name => last.instances.extend(service.instances),
                _ => self.found.services.push(service),
            }
        }
        !self.is_full
    }

    fn is_selected(&self, lease: &Lease) -> bool {
        let Selection { only, target, filter, with_hidden, .. } = self.selection;
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
            || target.is_some_and(|target| !instance.is_meant_by(target))
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

    fn finish(mut self) -> Found {
        self.found.next = self.is_full.then_some(self.last);
        self.found
    }
}

impl From<Found> for Reply {
    fn from(found: Found) -> Self {
        let Found { services, next, count } = found;
        Self { services: Some(services), truncated: next.is_some(), next, count, ..Self::default() }
    }
}

pub(crate) fn json_len(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
