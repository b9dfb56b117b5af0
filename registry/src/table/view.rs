//! One lease as an asker sees it: state, times and details.

use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::{Instance, State};

use super::instance::Mark;
use super::lease::{Lease, Suspicion};
use super::{Asker, Directory};

impl Directory {
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

pub(super) struct View<'a> {
    pub(super) directory: &'a Directory,
    pub(super) now: Instant,
    pub(super) asker: &'a Asker,
    pub(super) is_full: bool,
}

impl View<'_> {
    pub(super) fn instance(&self, lease: &Lease) -> Option<Instance> {
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
            (State::Draining, _) if lease.instance.has(Mark::Held) => {
                "drained by an operator, until an operator undrains it".to_owned()
            }
            (State::Draining, _) => "drained by itself, until its lease ends".to_owned(),
            (State::Failing, _) => self.directory.failure(&lease.instance)?.describe(self.now),
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
