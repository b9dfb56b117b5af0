//! Arguments of the verbs that query a registry.

use std::time::Duration;

use clap::{Args, ValueEnum};

use rpyc_client::native::{Filter, State};

use super::TargetArgs;
use super::value::{parse_duration, parse_pair};

#[derive(Clone, Debug, Args)]
pub(crate) struct AskArgs {
    /// How long to wait for a reply: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "2")]
    pub(crate) timeout: Duration,

    /// The output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: OutputFormat,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Only names that match this pattern, in any case: * matches any text, ? any character
    pub(crate) glob: Option<String>,

    /// Print a line for each instance: address, state, times, details, and why it is not passing
    #[arg(short, long)]
    pub(crate) wide: bool,

    /// Only instances on this host
    #[arg(long, value_name = "ADDR")]
    pub(crate) host: Option<String>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

/// Selects instances by the details that they registered.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct FilterArgs {
    /// Only instances with this tag (repeatable; all must match)
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,

    /// Only instances with this metadata entry (repeatable; all must match)
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) meta: Vec<(String, String)>,

    /// Only instances in this zone
    #[arg(long)]
    pub(crate) zone: Option<String>,

    /// Only instances in this state (repeatable; one must match)
    #[arg(long, value_enum)]
    pub(crate) state: Vec<StateArg>,
}

impl FilterArgs {
    /// The same selection as the filter of a native query.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            tags_all: self.tag.iter().cloned().collect(),
            meta: self.meta.iter().cloned().collect(),
            zone: self.zone.clone(),
            states: self.state.iter().copied().map(Into::into).collect(),
            ..Filter::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    Passing,
    Suspect,
    Failing,
    Draining,
}

impl From<StateArg> for State {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Passing => Self::Passing,
            StateArg::Suspect => Self::Suspect,
            StateArg::Failing => Self::Failing,
            StateArg::Draining => Self::Draining,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArgs {
    /// Only names that match this pattern, in any case: * matches any text, ? any character
    pub(crate) glob: Option<String>,

    /// How long to wait for a registry: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "2")]
    pub(crate) timeout: Duration,

    /// The output format: a live table, or a line of JSON for each change [default: table on a
    /// terminal, else json]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<WatchFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WatchFormat {
    Table,
    Json,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LookupArgs {
    /// The service name, in any case
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// A table for people
    Table,
    /// One JSON document for programs
    Json,
    /// One name or HOST:PORT on each line, for scripts
    Name,
}
