//! `rpyc-registry list`: lists the names and the instances that serve them.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::bail;
use rpyc_client::native::{Query, State};
use rpyc_client::{Registrar, Registries, RegistryAddr, RequestError, Service};
use rpyc_protocol::FoldedName;
use serde_json::json;
use wildmatch::WildMatch;

use super::{block_on, operator_registrar};
use crate::cli::{ListArgs, OutputFormat};
use crate::output::{self, Column, Table};

pub(crate) fn run(args: &ListArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let registrar = operator_registrar(registries, args.ask.timeout)?;
    let (registry, services) = block_on(ask(args, &registrar))?;
    match args.ask.output {
        OutputFormat::Json => output::json(&document(&registry, &services))?,
        OutputFormat::Name => output::lines(services.into_iter().map(|service| service.name))?,
        OutputFormat::Table if services.is_empty() => {
            let is_all = args.glob.is_none() && !is_filtered(args);
            let what =
                if is_all { "no service is registered" } else { "no registered service matches" };
            let whose = args.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
            let line = format!("{what}{whose} at {registry}");
            anstream::eprintln!("{}", output::printable(&line));
        }
        OutputFormat::Table => {
            if args.wide { instances(&services) } else { summary(&services) }.print()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(
    args: &ListArgs,
    registrar: &Registrar,
) -> anyhow::Result<(RegistryAddr, Vec<Service>)> {
    if args.glob.is_none() && !is_filtered(args) {
        // RPyC's own registry supports this request too.
        let snapshot = registrar.services(args.host.as_deref()).await?;
        return Ok((snapshot.registry, snapshot.services));
    }
    let (host, glob) = (args.host.clone(), args.glob.clone());
    let query = Query { host, glob, filter: args.filter.filter(), ..Query::default() };
    match (registrar.native().list(query).await, &args.glob) {
        (Ok(answer), _) => Ok((answer.registry, answer.value)),
        (Err(error @ RequestError::Declined(_)), _) => Err(error.into()),
        (Err(error), Some(glob)) if !is_filtered(args) => {
            // The fallback: list all names, and match the glob here.
            let Ok(mut snapshot) = registrar.services(args.host.as_deref()).await else {
                return Err(error.into());
            };
            let glob = WildMatch::new(&FoldedName::new(glob)?);
            snapshot.services.retain(|service| glob.matches(&service.name));
            Ok((snapshot.registry, snapshot.services))
        }
        (Err(error), _) => {
            bail!("{error}; RPyC's own registry filters only by host and name")
        }
    }
}

fn is_filtered(args: &ListArgs) -> bool {
    args.filter.filter() != rpyc_client::native::Filter::default()
}

/// One line for each name.
fn summary(services: &[Service]) -> Table {
    let headings = [Column::cut("NAME"), Column::whole("INSTANCES"), Column::cut("STATES")];
    let mut table = Table::new(headings);
    for Service { name, instances, .. } in services {
        let is_passing = |state: &Option<State>| state.is_none_or(|it| it == State::Passing);
        let passing = instances.iter().map(output::state).filter(is_passing).count();
        let style = match passing {
            0 => Style::new().fg_color(Some(AnsiColor::Red.into())),
            _ if passing == instances.len() => Style::new(),
            _ => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        };
        let states = output::states(instances);
        table.push([output::name(name), instances.len().to_string(), states], style);
    }
    table
}

/// One line for each instance.
fn instances(services: &[Service]) -> Table {
    let mut table = Table::new(output::INSTANCE_COLUMNS);
    for Service { name, instances, .. } in services {
        for instance in instances {
            let style = output::state_style(output::state(instance));
            table.push(output::row(name, instance, true), style);
        }
    }
    table
}

fn document(registry: &RegistryAddr, services: &[Service]) -> serde_json::Value {
    let service = |Service { name, instances, .. }: &Service| {
        let instances: Vec<_> = instances.iter().map(output::as_json).collect();
        json!({ "name": name, "instances": instances })
    };
    let services: Vec<_> = services.iter().map(service).collect();
    json!({ "registry": registry.to_string(), "services": services })
}
