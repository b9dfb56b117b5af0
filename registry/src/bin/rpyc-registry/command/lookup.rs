//! `rpyc-registry lookup`: prints the addresses that serve a name.

use std::process::ExitCode;

use rpyc_client::{LookupError, Registrar, Registries, ServiceName};
use serde_json::json;

use super::{availability, block_on, registrar};
use crate::cli::{LookupArgs, OutputFormat};
use crate::output;

pub(crate) fn run(args: &LookupArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let registrar = registrar(registries, args.ask.timeout)?;
    let name = ServiceName::new(&args.name)?;
    match args.ask.output {
        OutputFormat::Json => {
            let found = block_on(async {
                let found = registrar.resolve(&name).await;
                described(found, &registrar, &name).await
            })?;
            let instances: Vec<_> = found.iter().map(output::as_json).collect();
            output::json(&json!({ "name": name.as_str(), "instances": instances }))?;
        }
        OutputFormat::Table | OutputFormat::Name => {
            // In the registry's order, which rotates.
            let found = block_on(async {
                let found = registrar.discover(&name).await;
                described(found, &registrar, &name).await
            })?;
            output::lines(output::addresses(&found))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Explains why a name has no server, if the registry has instances that it does not return.
async fn described<T>(
    found: Result<T, LookupError>,
    registrar: &Registrar,
    name: &ServiceName,
) -> anyhow::Result<T> {
    match found {
        Err(error) if error.is_unknown_name() => {
            Err(availability::explained(error.into(), registrar, name).await)
        }
        found => Ok(found?),
    }
}
