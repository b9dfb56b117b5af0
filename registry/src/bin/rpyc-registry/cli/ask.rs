//! Verbs that ask a registry.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::value::parse_duration;

#[derive(Clone, Debug, Args)]
pub(crate) struct AskArgs {
    /// How long to wait for an answer: seconds, or like 500ms
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", default_value = "2")]
    pub(crate) timeout: Duration,

    /// How to print the answer
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: OutputFormat,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Add a line for each instance: its address, its age, the time left unless it renews
    #[arg(short, long)]
    pub(crate) wide: bool,

    /// Only what this host serves
    #[arg(long, value_name = "ADDR")]
    pub(crate) host: Option<String>,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LookupArgs {
    /// The name, in any case
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Columns, for people
    Table,
    /// One JSON document, for programs
    Json,
    /// One name, or HOST:PORT, a line, for scripts
    Name,
}
