//! Switches about how instances are reached.

use clap::Args;
use ipnet::IpNet;
use rpyc_registry::{AddressRule, Config, ProbeConfig, ProbeRule};
use serde::Serialize;

use super::value::{parse_at_least_one, parse_network, shown};

#[derive(Clone, Debug, Args, Serialize)]
#[command(next_help_heading = "Reaching instances")]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ReachArgs {
    /// Tell addresses within a network as another one to askers outside of it, like
    /// 172.17.0.0/16=10.0.0.5; several are looked at in order
    /// [default: none]
    #[arg(long, value_name = "NETWORK=ADDRESS")]
    #[serde(serialize_with = "shown")]
    pub(crate) address_rule: Vec<AddressRule>,

    /// Probe registered servers: tcp (connect), tls (handshake) or rpyc (PING), with
    /// ,service=GLOB,interval=10s,timeout=2s,failures=3,successes=2 as needed. Each probe is a
    /// connection to the server [default: none]
    #[arg(long, value_name = "KIND[,KEY=VALUE]...")]
    #[serde(serialize_with = "shown")]
    pub(crate) probe: Vec<ProbeRule>,

    /// Probe addresses in this network too that a server did not register from
    /// [default: none]
    #[arg(long, value_name = "NETWORK", value_parser = parse_network)]
    #[serde(serialize_with = "shown")]
    pub(crate) probe_allow: Vec<IpNet>,

    /// How many probes may be under way at once
    #[arg(long, value_name = "N", value_parser = parse_at_least_one,
          default_value_t = ProbeConfig::default().at_once)]
    pub(crate) max_probes: usize,
}

impl ReachArgs {
    /// Sets what the switches say.
    pub(crate) fn apply(self, config: &mut Config) {
        config.table.address_rules = self.address_rule;
        config.probes.rules = self.probe;
        config.probes.allow = self.probe_allow;
        config.probes.at_once = self.max_probes;
    }
}
