//! The configuration of probes.

use std::net::IpAddr;

use ipnet::IpNet;
use rpyc_protocol::ServiceName;

use super::ProbeRule;

/// What is probed, and how. The default is nothing.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Default::default()` stays valid")]
pub struct ProbeConfig {
    /// The first rule that speaks of one of an instance's names counts.
    pub rules: Vec<ProbeRule>,
    /// Networks in which addresses are probed that an instance did not register from.
    pub allow: Vec<IpNet>,
    /// How many probes may be under way at once. Default 64. Each takes a descriptor.
    pub at_once: usize,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { rules: Vec::new(), allow: Vec::new(), at_once: 64 }
    }
}

impl ProbeConfig {
    /// How an instance with these names is probed, if it is.
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
