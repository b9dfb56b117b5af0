//! Whether the limits leave room for a registration.

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::Details;

use super::Registry;
use super::quota::{bytes_of, details_bytes};
use crate::host::Source;
use crate::refusal::Refusal;
use crate::table::Asker;

/// The share of the table, as a divisor, that other machines leave to this one.
const RESERVE: usize = 16;

/// The additions that an asker requests.
pub(super) struct Wanted<'a> {
    /// Whether the registration is in RPyC's own protocol.
    pub(super) is_legacy: bool,
    /// The number of names that the instance has.
    pub(super) held: usize,
    /// The names that would be added.
    pub(super) fresh: &'a [ServiceName],
    /// Whether the instance would be a new one.
    pub(super) is_new: bool,
    pub(super) details: Option<&'a Details>,
}

impl Registry {
    /// Checks that the limits allow what an asker wants to add. They count what the asker's own
    /// address has registered, whatever addresses the registrations name.
    pub(super) fn check_room(&self, asker: &Asker, wanted: &Wanted<'_>) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        let fresh = wanted.fresh.len();
        if wanted.held + fresh > limits.names_per_instance {
            return Err(Refusal::TooManyNames { limit: limits.names_per_instance });
        }
        if fresh == 0 {
            return Ok(());
        }
        let is_new = usize::from(wanted.is_new);
        // Many servers may share this machine, and its owner is responsible for them. So it may
        // also use what others leave to it.
        let share = |limit: usize| if asker.is_here { limit } else { limit - limit / RESERVE };
        if self.leases + fresh > share(limits.registrations) {
            return Err(Refusal::TooManyRegistrations { limit: share(limits.registrations) });
        }
        if self.instances + is_new > share(limits.instances) {
            return Err(Refusal::TooManyInstances { limit: share(limits.instances) });
        }
        if asker.is_here {
            return Ok(());
        }
        let source_host = asker.host;
        let usage = self.quota.of(Source::from(source_host));
        if usage.instances + is_new > limits.instances_per_source {
            let limit = limits.instances_per_source;
            return Err(Refusal::TooManyInstancesOfSource { source_host, limit });
        }
        if usage.leases + fresh > limits.registrations_per_source {
            let limit = limits.registrations_per_source;
            return Err(Refusal::TooManyRegistrationsOfSource { source_host, limit });
        }
        let names = wanted.fresh.iter().map(ServiceName::as_str);
        let bytes = bytes_of(wanted.is_new, names) + wanted.details.map_or(0, details_bytes);
        if usage.bytes + bytes > limits.bytes_per_source {
            return Err(Refusal::TooManyBytes { source_host, limit: limits.bytes_per_source });
        }
        if wanted.is_legacy && self.quota.of_legacy().bytes + bytes > limits.legacy_bytes {
            return Err(Refusal::TooManyLegacyBytes { limit: limits.legacy_bytes });
        }
        Ok(())
    }
}
