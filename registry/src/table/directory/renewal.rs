//! Renewals, on the thread that received the request.

use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use rpyc_protocol::FoldedName;
use rpyc_protocol::registry::native::{Granted, LeaseId};
use rpyc_protocol::registry::{Names, Port};

use super::Directory;
use crate::host::Host;
use crate::store::Ticket;
use crate::table::Asker;
use crate::table::arrival::{Arrival, Stamp};
use crate::table::clock::{SIGN_INTERVAL, Tick};
use crate::table::endpoint_index::Held;
use crate::table::instance::Instance;
use crate::table::lease::Lease;

/// The nanoseconds after which a request waited through a stop, as [`SIGN_INTERVAL`].
const LONGEST_WAIT: u64 = 200_000_000;
const _: () = assert!(SIGN_INTERVAL.as_nanos() == LONGEST_WAIT as u128, "they are one");

/// The most names of one instance that are renewed on the receiving thread.
const RENEWED_AT_ONCE: usize = 64;

/// Spreads inputs that differ in a few bits: an odd number without a pattern.
const JITTER: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

/// The outcome of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a renewal moves a deadline, or there is more to do")]
pub enum Renewal {
    /// Every lease existed and has a new deadline; acknowledge once the ticket is durable.
    Done(Ticket),
    /// A lease does not exist, or needs more than a new deadline: ask the registry.
    ForTheRegistry,
}

impl Directory {
    /// Renews the leases of all `names` that the asker's host serves on `port`, if it holds every
    /// one of them; otherwise changes nothing.
    #[must_use]
    pub fn renew(&self, now: Instant, asker: &Asker, port: &Port, names: Names<'_>) -> Renewal {
        let stamp = Stamp::new(self.clock.start(), &asker.arrival);
        let elapsed = self.clock.elapsed(now);
        if elapsed.saturating_sub(stamp.received) > LONGEST_WAIT {
            return Renewal::ForTheRegistry;
        }
        let deadline = self.clock.tick_at(elapsed).after(self.ttl);
        let renewal = self.endpoint_index.look(&asker.host, |held| {
            // Filled in place: the array is large, and moving it would cost more than the renewal.
            let mut leases = ArrayVec::new();
            if !renewable(&held, (&asker.host, port), names.clone(), &mut leases) {
                return Renewal::ForTheRegistry;
            }
            let (mut ticket, mut is_noted) = (Ticket::default(), false);
            for lease in leases {
                ticket = ticket.max(lease.ticket());
                // A native registration of the same server has an owner, and is not renewed this
                // way.
                if !lease.instance.is_legacy() {
                    continue;
                }
                if !is_noted {
                    // Before any lease is renewed: see `Registry::unregister`.
                    lease.instance.latest_arrival.note(stamp);
                    is_noted = true;
                }
                // A sweep may end a lease between the look and the renewal; the registry then adds
                // it anew.
                if !lease.renew(deadline) {
                    return Renewal::ForTheRegistry;
                }
            }
            Renewal::Done(ticket)
        });
        renewal.unwrap_or_else(|| renewed_nothing(names))
    }

    /// Records that a registration of this instance has arrived.
    pub(in crate::table) fn note_arrival(&self, instance: &Instance, arrival: &Arrival) {
        instance.latest_arrival.note(Stamp::new(self.clock.start(), arrival));
    }

    /// Whether a request arrived before the latest registration of this instance.
    pub(in crate::table) fn is_late(&self, instance: &Instance, arrival: &Arrival) -> bool {
        instance.latest_arrival.is_after(self.clock.start(), arrival)
    }

    /// Renews a native lease, if it exists and needs only a new deadline; returns its new terms.
    pub(crate) fn renew_native(
        &self,
        now: Instant,
        asker: &Asker,
        lease: LeaseId,
    ) -> Option<(Granted, Ticket)> {
        if asker.arrival.waited(now) > SIGN_INTERVAL {
            return None;
        }
        let leases = self.secrets.get(lease);
        let first = leases.first()?;
        let tick = self.clock.tick(now);
        let deadline = tick.after(first.ttl(self.ttl));
        if !leases.iter().all(|lease| may_renew(lease)) || !renew_all(leases.iter(), deadline) {
            return None;
        }
        let ticket = leases.iter().map(|lease| lease.ticket()).max().unwrap_or_default();
        // One lease is never renewed twice in the same nanosecond.
        let jitter = (lease.get() ^ u128::from(tick.get())).wrapping_mul(JITTER);
        Some((self.granted(asker, &first.instance, jitter >> 64), ticket))
    }
}

/// Finds the leases of `names` at an endpoint; returns whether all exist and need only a new
/// deadline. A native registration that another host made does not speak for this one.
fn renewable<'h>(
    held: &'h Held<'_>,
    (host, port): (&Host, &Port),
    names: Names<'_>,
    leases: &mut ArrayVec<&'h Arc<Lease>, RENEWED_AT_ONCE>,
) -> bool {
    for name in names {
        let Ok(name) = FoldedName::new(name) else { return false };
        let is_meant = |lease: &&Arc<Lease>| {
            // A legacy registration is always one of its host.
            lease.service.as_str() == &*name
                && (lease.instance.is_legacy() || lease.instance.registrant() == *host)
        };
        let lease = held.at(port).find(is_meant);
        let Some(lease) = lease.filter(|lease| may_renew(lease)) else { return false };
        // The registry renews an instance with more names, which takes longer.
        if leases.try_push(lease).is_err() {
            return false;
        }
    }
    true
}

/// Whether a renewal only moves the deadline.
fn may_renew(lease: &Lease) -> bool {
    !lease.has_ended() && lease.suspicion().is_none()
}

/// Renews all of `leases`; returns whether none of them had ended.
fn renew_all<'l>(leases: impl Iterator<Item = &'l Arc<Lease>>, deadline: Tick) -> bool {
    leases.filter(|lease| !lease.renew(deadline)).count() == 0
}

fn renewed_nothing(names: Names<'_>) -> Renewal {
    if names.count() == 0 { Renewal::Done(Ticket::default()) } else { Renewal::ForTheRegistry }
}
