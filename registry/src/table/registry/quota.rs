//! What each sender's registrations take.

use std::collections::HashMap;
use std::sync::Arc;

use rpyc_protocol::registry::native::Details;

use crate::host::Source;
use crate::table::instance::Instance;
use crate::table::lease::Lease;

/// About the bytes of memory that an instance takes, apart from its names and details.
const INSTANCE_BYTES: usize = 150;

/// About the bytes of memory that a name of an instance takes, apart from its text.
const LEASE_BYTES: usize = 300;

/// What registrations take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) instances: usize,
    pub(super) leases: usize,
    /// An estimate of the memory.
    pub(super) bytes: usize,
}

/// What the registrations of each sender take, counted against the address that sent them and never
/// against one that they name.
#[derive(Debug, Default)]
pub(super) struct Quota {
    sources: HashMap<Source, Usage>,
    /// What all registrations in RPyC's own protocol take, whose sources can be forged.
    legacy: Usage,
}

impl Quota {
    pub(super) fn of(&self, source: Source) -> Usage {
        self.sources.get(&source).copied().unwrap_or_default()
    }

    pub(super) fn of_legacy(&self) -> Usage {
        self.legacy
    }

    /// Counts leases that have begun.
    pub(super) fn begin(&mut self, instance: &Instance, is_new: bool, leases: &[Arc<Lease>]) {
        let bytes: usize = leases.iter().map(|lease| lease_bytes(lease)).sum();
        self.change(instance, |usage| {
            usage.leases += leases.len();
            usage.bytes += bytes;
        });
        if is_new {
            let bytes = INSTANCE_BYTES + details_bytes(&instance.details());
            self.change(instance, |usage| {
                usage.instances += 1;
                usage.bytes += bytes;
            });
        }
    }

    /// Counts a change of details.
    pub(super) fn replace_details(&mut self, instance: &Instance, old: &Details) {
        let (old, new) = (details_bytes(old), details_bytes(&instance.details()));
        self.change(instance, |usage| usage.bytes = usage.bytes.saturating_sub(old) + new);
    }

    /// Discounts a lease that has ended.
    pub(super) fn end_lease(&mut self, lease: &Lease) {
        let bytes = lease_bytes(lease);
        self.change(&lease.instance, |usage| {
            usage.leases = usage.leases.saturating_sub(1);
            usage.bytes = usage.bytes.saturating_sub(bytes);
        });
    }

    /// Discounts an instance whose leases have all ended.
    pub(super) fn end_instance(&mut self, instance: &Instance) {
        let bytes = INSTANCE_BYTES + details_bytes(&instance.details());
        self.change(instance, |usage| {
            usage.instances = usage.instances.saturating_sub(1);
            usage.bytes = usage.bytes.saturating_sub(bytes);
        });
        let source = Source::from(instance.registrant());
        if self.of(source) == Usage::default() {
            self.sources.remove(&source);
        }
    }

    fn change(&mut self, instance: &Instance, mut change: impl FnMut(&mut Usage)) {
        change(self.sources.entry(instance.registrant().into()).or_default());
        if instance.is_legacy() {
            change(&mut self.legacy);
        }
    }
}

/// About the memory of an instance with these names.
pub(super) fn bytes_of<'n>(is_new: bool, names: impl Iterator<Item = &'n str>) -> usize {
    let names: usize = names.map(|name| LEASE_BYTES + name.len()).sum();
    names + if is_new { INSTANCE_BYTES } else { 0 }
}

/// About the memory of details.
pub(super) fn details_bytes(details: &Details) -> usize {
    /// About the bytes of a string apart from its text.
    const TEXT: usize = 24;
    let Details { tags, meta, zone, protocol, .. } = details;
    let tags = tags.iter().map(|tag| tag.len() + TEXT);
    let meta = meta.iter().map(|(key, value)| key.len() + value.len() + 2 * TEXT);
    let others = [zone, protocol].into_iter().flatten().map(|text| text.len() + TEXT);
    tags.chain(meta).chain(others).sum()
}

fn lease_bytes(lease: &Lease) -> usize {
    LEASE_BYTES + lease.service.as_str().len()
}
