//! The state of the registry.

use std::collections::BTreeMap;
use std::time::Instant;

use rpyc_protocol::registry::native::Status;

use super::Dispatcher;
use crate::counters::{ANSWERS_CUT, Loss};
use crate::table::Asker;

/// The most drained endpoints that the status lists.
const DRAINED_SHOWN: usize = 20;

impl Dispatcher {
    pub(super) fn status(&self, now: Instant, asker: &Asker) -> Status {
        let progress = self.progress.borrow().clone();
        let losses = Loss::ALL.into_iter();
        let losses = losses.map(|it| (it.as_str().to_owned(), self.counters.total(it)));
        let cuts = (ANSWERS_CUT.to_owned(), self.legacy.cut());
        let counters = losses.chain([cuts]).collect();
        let big = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let uptime = now.saturating_duration_since(self.start);
        let states = self.directory.states();
        let states: BTreeMap<_, _> =
            states.into_iter().map(|(state, count)| (state.to_string(), count)).collect();
        // A path of this machine means nothing to others.
        let socket = self.operator_socket.as_ref().filter(|_| asker.is_here);
        self.with_registry(|registry| Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            store: registry.store_kind().to_owned(),
            store_failure: progress.failure.map(|failure| failure.to_string()),
            uncommitted: registry.last_ticket().get().saturating_sub(progress.committed.get()),
            services: big(registry.services()),
            instances: big(registry.instances()),
            registrations: big(registry.leases()),
            states,
            protected: registry.protected(),
            drained: registry.drained().take(DRAINED_SHOWN).collect(),
            probes: self.checks.is_some().then(|| self.counters.probes.snapshot()),
            watchers: self.directory.journal.watchers(),
            operator_socket: socket.map(|path| path.display().to_string()),
            counters,
        })
    }
}
