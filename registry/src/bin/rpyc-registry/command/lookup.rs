//! `rpyc-registry lookup`: prints the addresses that serve a name.

use std::process::ExitCode;

use rpyc_client::{Registries, ServiceName};
use serde_json::json;

use super::{block_on, registrar};
use crate::cli::{LookupArgs, OutputFormat};
use crate::output;

pub(crate) fn run(args: &LookupArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let registrar = registrar(registries, args.ask.timeout)?;
    let name = ServiceName::new(&args.name)?;
    match args.ask.output {
        OutputFormat::Json => {
            let found = block_on(async { Ok(registrar.resolve(&name).await?) })?;
            let instances: Vec<_> = found.iter().map(output::as_json).collect();
            output::json(&json!({ "name": name.as_str(), "instances": instances }))?;
        }
        OutputFormat::Table | OutputFormat::Name => {
            // In the registry's order, which rotates.
            let found = block_on(async { Ok(registrar.discover(&name).await?) })?;
            output::lines(found.iter().map(ToString::to_string))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
