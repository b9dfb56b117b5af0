//! `rpyc-registry list`: the names, and who serves them.

use std::process::ExitCode;

use rpyc_client::{Registries, Snapshot};
use serde_json::json;

use super::{block_on, instance_json, registrar};
use crate::cli::{ListArgs, OutputFormat};
use crate::output;

pub(crate) fn run(args: &ListArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let registrar = registrar(registries, args.ask.timeout)?;
    let snapshot = block_on(async { Ok(registrar.services(args.host.as_deref()).await?) })?;
    match args.ask.output {
        OutputFormat::Json => output::json(&document(&snapshot))?,
        OutputFormat::Name => output::lines(names(&snapshot))?,
        OutputFormat::Table if snapshot.services.is_empty() => {
            let whose = args.host.as_ref().map(|host| format!(" by {host}")).unwrap_or_default();
            let registry = &snapshot.registry;
            anstream::eprintln!("nothing is registered{whose} at {registry}");
        }
        OutputFormat::Table if args.wide => {
            output::table(["NAME", "INSTANCE", "ADDRESS", "AGE", "LEFT"], rows(&snapshot))?;
        }
        OutputFormat::Table => output::table(["NAME"], names(&snapshot).map(|name| [name]))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn names(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    snapshot.services.iter().map(|service| service.name.clone())
}

fn rows(snapshot: &Snapshot) -> impl Iterator<Item = [String; 5]> {
    snapshot.services.iter().flat_map(|service| {
        let n = service.instances.len();
        service.instances.iter().zip(1..).map(move |(instance, place)| {
            // RPyC's own registry does not tell times.
            let time = |time: Option<_>| time.map_or_else(|| "-".to_owned(), output::duration);
            [
                service.name.clone(),
                format!("{place}/{n}"),
                instance.endpoint.to_string(),
                time(instance.age),
                time(instance.left),
            ]
        })
    })
}

fn document(snapshot: &Snapshot) -> serde_json::Value {
    let service = |service: &rpyc_client::Service| {
        let instances: Vec<_> = service.instances.iter().map(instance_json).collect();
        json!({ "name": service.name, "instances": instances })
    };
    let services: Vec<_> = snapshot.services.iter().map(service).collect();
    json!({ "registry": snapshot.registry.to_string(), "services": services })
}
