//! The table with ages and times left, page by page, for the native face.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use rpyc_protocol::FoldedName;
use rpyc_protocol::registry::native::{Cursor, Instance, Reply, Service};

use super::directory::parse_host;
use super::lease::Lease;
use super::{Asker, Directory};

/// Room for the parts of a reply that are not instances: braces, the version, the cursor.
const FRAME_BYTES: usize = 100;

impl Directory {
    /// Every service after `after` with its instances, or as many as fit into `budget` bytes of
    /// JSON; [`Reply::next`] tells where to go on.
    #[must_use]
    pub fn snapshot(
        &self,
        now: Instant,
        asker: &Asker,
        host: Option<&str>,
        after: Cursor,
        budget: usize,
    ) -> Reply {
        let mut page = Page::new(self, now, asker, after, budget);
        match host.map(parse_host) {
            // Nobody registers from what is no address.
            Some(None) => return Reply::of(Vec::new()),
            Some(Some(ip)) => page.only = Some(ip),
            None => {}
        }
        self.visit(after.service, |id, name, leases| page.add(id, name, leases));
        page.finish()
    }

    /// The instances of one name after `after`, or as many as fit.
    #[must_use]
    pub fn resolve(
        &self,
        now: Instant,
        asker: &Asker,
        name: &FoldedName,
        after: Cursor,
        budget: usize,
    ) -> Reply {
        let mut page = Page::new(self, now, asker, after, budget);
        if let Some((id, leases)) = self.leases(name) {
            page.add(id, name, &leases);
        }
        page.finish()
    }
}

struct Page<'a> {
    directory: &'a Directory,
    now: Instant,
    asker: &'a Asker,
    only: Option<IpAddr>,
    after: Cursor,
    left: usize,
    services: Vec<Service>,
    /// The last place that is on the page.
    last: Cursor,
    is_full: bool,
}

impl<'a> Page<'a> {
    fn new(
        directory: &'a Directory,
        now: Instant,
        asker: &'a Asker,
        after: Cursor,
        budget: usize,
    ) -> Self {
        let left = budget.saturating_sub(FRAME_BYTES);
        Self {
            directory,
            now,
            asker,
            only: None,
            after,
            left,
            services: Vec::new(),
            last: after,
            is_full: false,
        }
    }

    /// Adds what fits of one service; tells whether there may be room for more.
    fn add(&mut self, id: u64, name: &str, leases: &[Arc<Lease>]) -> bool {
        let seen = if id == self.after.service { self.after.lease } else { 0 };
        let mut service = Service { name: name.to_owned(), instances: Vec::new() };
        let head = json_len(&service) + 1;
        let mut left = self.left.saturating_sub(head);
        for lease in leases.iter().filter(|lease| lease.id > seen) {
            if self.only.is_some_and(|ip| ip != lease.host.ip()) {
                continue;
            }
            let Some(instance) = self.instance(lease) else { continue };
            let len = json_len(&instance) + 1;
            if len > left {
                self.is_full = true;
                break;
            }
            left -= len;
            self.last = Cursor { service: id, lease: lease.id };
            service.instances.push(instance);
        }
        if !service.instances.is_empty() {
            self.left = left;
            self.services.push(service);
        }
        !self.is_full
    }

    fn instance(&self, lease: &Lease) -> Option<Instance> {
        let clock = &self.directory.clock;
        let left = lease.deadline()?.since(clock.tick(self.now));
        Some(Instance {
            host: self.asker.address_of(lease)?,
            port: lease.port.clone(),
            age_ms: millis(self.now.saturating_duration_since(lease.since)),
            left_ms: millis(left),
        })
    }

    fn finish(self) -> Reply {
        let next = self.is_full.then_some(self.last);
        Reply { next, ..Reply::of(self.services) }
    }
}

fn json_len(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
