//! Switches about how instances are reached.

use clap::Args;
use ipnet::IpNet;
use rpyc_registry::{AddressRule, Config, ProbeRule};

#[derive(Clone, Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Reaching instances")]
pub(crate) struct ReachArgs {
    /// Tell addresses within a network as another one to askers outside of it, like
    /// 172.17.0.0/16=10.0.0.5; several are looked at in order
    #[arg(long, value_name = "NETWORK=ADDRESS")]
    pub(crate) address_rule: Vec<AddressRule>,

    /// Probe registered servers: tcp (connect), tls (handshake) or rpyc (PING), with
    /// ,service=GLOB,interval=10s,timeout=2s,failures=3,successes=2 as needed. Off by default: each
    /// probe is a connection to the server
    #[arg(long, value_name = "KIND[,KEY=VALUE]...")]
    pub(crate) probe: Vec<ProbeRule>,

    /// Probe addresses in this network too that a server did not register from
    #[arg(long, value_name = "NETWORK")]
    pub(crate) probe_allow: Vec<IpNet>,

    /// How many probes may be under way at once [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_probes: Option<u16>,
}

impl ReachArgs {
    /// These switches, and where one is not given that of `before`.
    pub(crate) fn or(self, before: Self) -> Self {
        Self {
            address_rule: first_given(self.address_rule, before.address_rule),
            probe: first_given(self.probe, before.probe),
            probe_allow: first_given(self.probe_allow, before.probe_allow),
            max_probes: self.max_probes.or(before.max_probes),
        }
    }

    /// Sets what the switches say.
    pub(crate) fn apply(self, config: &mut Config) {
        config.table.address_rules = self.address_rule;
        config.probes.rules = self.probe;
        config.probes.allow = self.probe_allow;
        if let Some(most) = self.max_probes {
            config.probes.at_once = most.into();
        }
    }
}

fn first_given<T>(given: Vec<T>, before: Vec<T>) -> Vec<T> {
    if given.is_empty() { before } else { given }
}
