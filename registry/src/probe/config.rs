//! The configuration of probes.

use std::net::IpAddr;

use ipnet::IpNet;
use rpyc_protocol::ServiceName;

use super::ProbeRule;

/// The configuration of probes. By default nothing is probed.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Default::default()` stays valid")]
pub struct ProbeConfig {
    /// The probe rules; the first that matches one of an instance's names applies.
    pub rules: Vec<ProbeRule>,
    /// Networks whose addresses may be probed even if the registration came from another address.
    pub allow: Vec<IpNet>,
    /// The most probes that run at once. Default 64. Each takes a descriptor.
    pub at_once: usize,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { rules: Vec::new(), allow: Vec::new(), at_once: 64 }
    }
}

impl ProbeConfig {
    /// The rule for an instance with these names, if any.
    pub(crate) fn rule_for<'n>(
        &self,
        names: impl IntoIterator<Item = &'n ServiceName> + Clone,
    ) -> Option<&ProbeRule> {
        let speaks_of_one =
            |rule: &&ProbeRule| names.clone().into_iter().any(|name| rule.service.matches(name));
        self.rules.iter().find(speaks_of_one)
    }

    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(&ip))
    }
}
