//! `rpyc-registry check-config`: prints the settings that the registry would use.

use std::process::ExitCode;

use crate::cli::Switches;
use crate::config::{self, Environment};
use crate::output;

pub(crate) fn run(switches: Switches) -> anyhow::Result<ExitCode> {
    let resolved = config::resolve(switches, &Environment::of_process())?;
    for remark in &resolved.remarks {
        output::problem(remark);
    }
    output::lines(config::show(&resolved)?)?;
    Ok(ExitCode::SUCCESS)
}
