//! What a registry begins with after a restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::Registry;
use crate::store::{Change, Record, Records};
use crate::table::instance::{Instance, Mark, Native};

/// How many times in a row an instance that is not heard from is given a TTL after a restart.
pub const MAX_GRACES: u32 = 3;

impl Registry {
    /// Takes up what was kept: every instance is a suspect with one TTL of grace until it is heard
    /// from, so that a restart never turns "found" into "not found".
    pub(super) fn restore(&mut self, now: Instant, records: Records) {
        let (mut restored, mut given_up) = (0_u64, 0_u64);
        for record in records {
            self.next_instance = self.next_instance.max(record.id + 1);
            if record.restarts > MAX_GRACES || record.names.is_empty() {
                self.store.record(Change::Removed(record.id));
                given_up += 1;
            } else {
                self.take_up(now, record);
                restored += 1;
            }
        }
        // One number stands for all of it: nobody followed it.
        let revision = self.directory.revision().number + u64::from(restored > 0);
        self.store.reserve(revision);
        self.directory.journal.skip(u64::from(restored > 0));
        if restored + given_up > 0 {
            info!(
                restored,
                given_up,
                "the instances that were kept are suspect until they renew; given up are those that \
                 were not heard from in {MAX_GRACES} runs"
            );
        }
    }

    /// Begins the leases of one instance.
    fn take_up(&mut self, now: Instant, record: Record) {
        let native = record.native.map(|kept| {
            let ttl = Duration::from_millis(kept.ttl_ms);
            let ttl = ttl.clamp(self.config.min_ttl, self.config.max_ttl);
            let addresses = kept.addresses.into();
            Box::new(Native::new(
                kept.lease,
                kept.registrant,
                kept.key,
                ttl,
                addresses,
                kept.details,
            ))
        });
        let ttl = native.as_ref().map_or_else(|| self.directory.ttl(), |native| native.ttl());
        let place = (record.host, record.port);
        let instance = Instance::new(record.id, place, native, record.registered_at);
        let instance = Arc::new(instance.unheard(record.restarts));
        if record.is_draining {
            instance.set(Mark::Draining, true);
        }
        let age = self.wall_clock(now).saturating_sub(record.registered_at);
        let since = self.directory.clock.since(now).earlier(Duration::from_secs(age));
        let deadline = self.directory.clock.tick(now).after(ttl);
        self.begin(since, &instance, record.names, deadline);
    }
}
