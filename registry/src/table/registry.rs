//! The half of the table that has one owner: leases begin and end here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::{Names, Port};
use tracing::{debug, info, warn};

use super::clock::Tick;
use super::lease::Lease;
use super::{Asker, Directory};
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::store::{Change, Event, Store, Ticket};

/// The longest time between two sweeps. A sweep that comes later than this was kept from running, and
/// so, presumably, were renewals: what it is late is credited to every lease.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(200);

/// Leases looked at in one call of [`Registry::expire`], so that registrations never wait long.
const SWEEP_BATCH: usize = 4096;

/// Adds and ends leases, in memory first and then in the store.
#[derive(Debug)]
pub struct Registry {
    directory: Arc<Directory>,
    limits: Limits,
    store: Box<dyn Store>,
    /// Every lease, by a time at which it may have ended. Renewals do not touch this queue: when a
    /// lease's time comes it is looked at, and put back if its deadline has moved. So a renewal
    /// costs nothing here, and a lease is looked at once a TTL.
    queue: BTreeMap<(Tick, u64), Arc<Lease>>,
    next_sweep: Instant,
    next_lease: u64,
    next_service: u64,
    instances: usize,
}

impl Registry {
    /// An empty table whose leases last `ttl`.
    #[must_use]
    pub fn new(now: Instant, ttl: Duration, limits: Limits, store: Box<dyn Store>) -> Self {
        Self {
            directory: Arc::new(Directory::new(now, ttl)),
            limits,
            store,
            queue: BTreeMap::new(),
            next_sweep: now + SWEEP_INTERVAL,
            next_lease: 1,
            next_service: 1,
            instances: 0,
        }
    }

    /// The half of the table that answers and renews.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// How many (host, port) pairs serve something.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// How many (name, host, port) triples there are.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.queue.len()
    }

    /// Registers `names` on `port` of the asker's host, or renews those it holds already.
    ///
    /// The change is visible to queries when this returns; the ticket tells when it is durable.
    ///
    /// # Errors
    /// [`Refusal`] if a limit stands in the way; then nothing has changed.
    pub fn register(
        &mut self,
        now: Instant,
        asker: &Asker,
        names: Names<'_>,
        port: &Port,
    ) -> Result<Ticket, Refusal> {
        let host = asker.host;
        let (held, ports_of_host) = self.directory.held(&host, port);
        let mut fresh: Vec<ServiceName> = Vec::new();
        let mut renewed = Vec::new();
        // A message may repeat names, so it is bounded apart from what the instance ends up with.
        if names.clone().nth(self.limits.names_per_instance).is_some() {
            return Err(Refusal::TooManyNames { limit: self.limits.names_per_instance });
        }
        for name in names {
            let name = ServiceName::new(name)?;
            if name.as_str().len() > self.limits.name_bytes {
                return Err(Refusal::NameTooLong { limit: self.limits.name_bytes });
            }
            if let Some(lease) = held.iter().find(|lease| lease.service == name) {
                renewed.push(lease);
            } else if !fresh.contains(&name) {
                fresh.push(name);
            }
        }
        self.check_limits(asker, &held, ports_of_host, fresh.len())?;

        let deadline = self.directory.clock.tick(now).after(self.directory.ttl());
        for lease in renewed {
            lease.renew(deadline);
        }
        let mut ticket = self.store.last_ticket();
        if held.is_empty() && !fresh.is_empty() {
            self.instances += 1;
        }
        for name in fresh {
            ticket = self.add(now, asker, name, port, deadline)?;
        }
        Ok(ticket)
    }

    fn check_limits(
        &self,
        asker: &Asker,
        held: &[Arc<Lease>],
        ports_of_host: usize,
        fresh: usize,
    ) -> Result<(), Refusal> {
        let limits = &self.limits;
        if held.len() + fresh > limits.names_per_instance {
            return Err(Refusal::TooManyNames { limit: limits.names_per_instance });
        }
        if self.queue.len() + fresh > limits.registrations {
            return Err(Refusal::TooManyRegistrations { limit: limits.registrations });
        }
        if held.is_empty() && fresh > 0 {
            if self.instances >= limits.instances {
                return Err(Refusal::TooManyInstances { limit: limits.instances });
            }
            // Many servers may share this machine; whoever runs it answers for them.
            if !asker.is_here && ports_of_host >= limits.instances_per_source {
                return Err(Refusal::TooManyInstancesOfSource {
                    source_host: asker.host,
                    limit: limits.instances_per_source,
                });
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        now: Instant,
        asker: &Asker,
        name: ServiceName,
        port: &Port,
        deadline: Tick,
    ) -> Result<Ticket, Refusal> {
        let service_id = self.directory.service_id(name.as_str()).unwrap_or(self.next_service);
        let place = (asker.host, port.clone());
        let lease = Lease::new(self.next_lease, (name, service_id), place, now, deadline)?;
        let lease = Arc::new(lease);
        self.next_service = self.next_service.max(service_id + 1);
        self.next_lease += 1;
        self.directory.insert(&lease);
        self.enqueue(deadline, Arc::clone(&lease));
        info!(name = ?lease.service.as_str(), host = %lease.host, port = ?lease.port, "registered");
        Ok(self.store.record(&change(Event::Added, &lease)))
    }

    /// Ends whatever the asker's host serves on `port`.
    ///
    /// The change is visible to queries when this returns; the ticket tells when it is durable.
    pub fn unregister(&mut self, asker: &Asker, port: &Port) -> Ticket {
        let (held, _) = self.directory.held(&asker.host, port);
        for lease in &held {
            lease.end();
        }
        for lease in &held {
            self.queue.remove(&(lease.queued_for(), lease.id));
        }
        self.finish(&held, "unregistered");
        self.store.last_ticket()
    }

    /// Ends the leases whose time has come, a bounded number at a call.
    ///
    /// Call it at the instant it returns, again and again. If a call comes more than
    /// [`SWEEP_INTERVAL`] late, everything here stood still for that time, and every lease is
    /// extended by it.
    pub fn expire(&mut self, now: Instant) -> Instant {
        let late = now.saturating_duration_since(self.next_sweep);
        if late > SWEEP_INTERVAL {
            self.directory.clock.credit(late);
            warn!(
                late = %humantime::format_duration(Duration::from_millis(millis(late))),
                "the registry did not run for a while; every lease is extended by that"
            );
        }
        let tick = self.directory.clock.tick(now);
        let mut ended = Vec::new();
        for _ in 0..SWEEP_BATCH {
            let Some(first) = self.queue.first_entry().filter(|entry| entry.key().0 <= tick) else {
                break;
            };
            let lease = first.remove();
            match lease.deadline() {
                Some(deadline) if deadline > tick => self.enqueue(deadline, lease),
                Some(deadline) => {
                    if lease.end_if_still(deadline) {
                        ended.push(lease);
                    } else {
                        // Renewed at this very moment.
                        let deadline = lease.deadline().unwrap_or(tick);
                        self.enqueue(deadline, lease);
                    }
                }
                None => debug!(name = ?lease.service.as_str(), "an ended lease was still queued"),
            }
        }
        self.finish(&ended, "expired");
        self.next_sweep = self
            .next_expiry()
            .map_or(now + SWEEP_INTERVAL, |expiry| expiry.clamp(now, now + SWEEP_INTERVAL));
        self.next_sweep
    }

    /// The earliest time at which a lease may end.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        let ((tick, _), _) = self.queue.first_key_value()?;
        Some(self.directory.clock.instant(*tick))
    }

    fn enqueue(&mut self, deadline: Tick, lease: Arc<Lease>) {
        lease.set_queued_for(deadline);
        self.queue.insert((deadline, lease.id), lease);
    }

    /// Takes ended leases out of the directory and tells the store.
    fn finish(&mut self, ended: &[Arc<Lease>], why: &'static str) {
        self.instances -= self.directory.remove(ended);
        for lease in ended {
            info!(name = ?lease.service.as_str(), host = %lease.host, port = ?lease.port, "{why}");
            self.store.record(&change(Event::Removed, lease));
        }
    }
}

fn change(event: Event, lease: &Lease) -> Change<'_> {
    Change { event, name: &lease.service, host: lease.host, port: &lease.port }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
