//! The leases that an operator or a lease holder means.

use std::sync::Arc;

use rpyc_protocol::FoldedName;
use rpyc_protocol::registry::native::Target;

use super::Directory;
use crate::host::parse_host;
use crate::refusal::Refusal;
use crate::table::lease::Lease;

impl Directory {
    /// The leases that a target selects, by lease, name, instance or host. A target with a name
    /// selects leases of that name only.
    ///
    /// # Errors
    /// [`Refusal::UnknownLease`] and [`Refusal::UnknownTarget`] if it selects none; another
    /// [`Refusal`] if the target is invalid.
    pub(crate) fn find(&self, target: &Target) -> Result<Vec<Arc<Lease>>, Refusal> {
        let ip = match &target.host {
            None => None,
            Some(host) => Some(parse_host(host).ok_or_else(|| Refusal::Host(host.clone()))?),
        };
        let mut found = match (&target.lease, &target.name, target.instance, ip) {
            (Some(lease), ..) => self.native(*lease),
            (None, Some(name), ..) => {
                let name = FoldedName::new(name)?;
                self.leases(&name).map(|(_, leases)| leases).unwrap_or_default()
            }
            (None, None, Some(id), _) => self.held_by_number(id),
            (None, None, None, Some(ip)) => self.held_by(ip),
            (None, None, None, None) => return Err(Refusal::NoTarget),
        };
        found.retain(|lease| lease.instance.is_meant_by(target) && !lease.has_ended());
        if !found.is_empty() {
            return Ok(found);
        }
        Err(if target.lease.is_some() { Refusal::UnknownLease } else { Refusal::UnknownTarget })
    }
}
