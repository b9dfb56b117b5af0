//! Switches about how instances are reached.

use clap::Args;
use rpyc_registry::{AddressRule, Config};

#[derive(Clone, Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Reaching instances")]
pub(crate) struct ReachArgs {
    /// Tell addresses within a network as another one to askers outside of it, like
    /// 172.17.0.0/16=10.0.0.5; several are looked at in order
    #[arg(long, value_name = "NETWORK=ADDRESS")]
    pub(crate) address_rule: Vec<AddressRule>,
}

impl ReachArgs {
    /// These switches, and where one is not given that of `before`.
    pub(crate) fn or(self, before: Self) -> Self {
        Self { address_rule: first_given(self.address_rule, before.address_rule) }
    }

    /// Sets what the switches say.
    pub(crate) fn apply(self, config: &mut Config) {
        config.table.address_rules = self.address_rule;
    }
}

fn first_given<T>(given: Vec<T>, before: Vec<T>) -> Vec<T> {
    if given.is_empty() { before } else { given }
}
