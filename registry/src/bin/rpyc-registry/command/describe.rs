//! `rpyc-registry describe`: prints all details of the instances of a name.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rpyc_client::native::State;
use rpyc_client::{Instance, Registrar, Registries, RegistryAddr};
use serde_json::json;

use super::{block_on, operator_registrar};
use crate::cli::{DescribeArgs, OutputFormat, TargetArgs};
use crate::output;

pub(crate) fn run(args: &DescribeArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let registrar = operator_registrar(registries, args.ask.timeout)?;
    let (registry, services) = block_on(ask(&args.target, &registrar))?;
    match args.ask.output {
        OutputFormat::Json => {
            let document = |(name, instances): &Described| {
                let instances: Vec<_> = instances.iter().map(output::as_json).collect();
                json!({ "name": name, "instances": instances })
            };
            let services: Vec<_> = services.iter().map(document).collect();
            let registry = registry.map(|registry| registry.to_string());
            output::json(&json!({ "registry": registry, "services": services }))?;
        }
        OutputFormat::Name => {
            let instances = services.iter().flat_map(|(_, instances)| instances);
            output::lines(output::addresses(instances.map(|instance| &instance.endpoint)))?;
        }
        OutputFormat::Table => {
            for (place, service) in services.iter().enumerate() {
                if place > 0 {
                    output::lines([String::new()])?;
                }
                show(service)?;
            }
            if registry.is_none() {
                anstream::eprintln!(
                    "this registry speaks only RPyC's own protocol, which returns addresses alone"
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A name and the instances that serve it.
type Described = (String, Vec<Instance>);

/// Returns the matching instances and the registry they came from, or no registry if only RPyC's
/// own registry replied.
async fn ask(
    target: &TargetArgs,
    registrar: &Registrar,
) -> anyhow::Result<(Option<RegistryAddr>, Vec<Described>)> {
    let described = registrar.native().describe(target.target()).await;
    let error = match described {
        Ok(answer) => {
            let services = answer.value.into_iter().map(|it| (it.name, it.instances)).collect();
            return Ok((Some(answer.registry), services));
        }
        Err(error) if error.is_unknown_target() => {
            let asked = error.attempts().iter().map(|attempt| attempt.registry.to_string());
            let asked = asked.collect::<Vec<_>>().join(", ");
            anyhow::bail!("{target} is not registered at {asked}");
        }
        Err(error) => error,
    };
    // RPyC's own registry does not reply to native requests, so use its protocol.
    if let (Some(name), true) = (&target.name, error.code().is_none())
        && let Ok(mut instances) = registrar.resolve(name).await
    {
        instances.retain(|instance| target.includes(&instance.endpoint));
        if !instances.is_empty() {
            return Ok((None, vec![(name.to_string(), instances)]));
        }
    }
    Err(error).with_context(|| target.to_string())
}

fn show((name, instances): &Described) -> std::io::Result<()> {
    let count = u64::try_from(instances.len()).unwrap_or(u64::MAX);
    let states = output::states(instances);
    let states = if states.is_empty() { states } else { format!(": {states}") };
    output::styled([(
        anstyle::Style::new().bold(),
        format!("{}  {}{states}", output::name(name), output::plural(count, "instance")),
    )])?;
    for instance in instances {
        let state = output::state(instance);
        let word = state.map_or("", State::as_str);
        let why = instance.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let head = format!("  {}  {word}{why}", instance.endpoint).trim_end().to_owned();
        output::styled([(output::state_style(state), head)])?;
        let facts = facts(instance).into_iter();
        output::lines(facts.map(|(what, fact)| format!("    {what:<11} {fact}")))?;
    }
    Ok(())
}

/// The details of an instance, the most useful first.
fn facts(instance: &Instance) -> Vec<(&'static str, String)> {
    let time = output::duration;
    let mut facts = Vec::new();
    let mut tell = |what, fact: Option<String>| facts.extend(fact.map(|fact| (what, fact)));
    tell("id", instance.id.map(|id| id.to_string()));
    let others: Vec<_> = instance.others.iter().map(ToString::to_string).collect();
    tell("also at", (!others.is_empty()).then(|| others.join(", ")));
    let how = if instance.is_legacy {
        "by RPyC's protocol: any program on its host can end it"
    } else {
        "with its own lease"
    };
    tell("registered", instance.age.map(|age| format!("{} ago, {how}", time(age))));
    tell("renewed", instance.renewed.map(|renewed| format!("{} ago", time(renewed))));
    tell("lease", lease(instance.left, instance.ttl));
    let details = &instance.details;
    let tags: Vec<_> = details.tags.iter().cloned().collect();
    tell("tags", (!tags.is_empty()).then(|| tags.join(", ")));
    tell("zone", details.zone.clone());
    tell("weight", details.weight.map(|weight| weight.to_string()));
    tell("protocol", details.protocol.clone());
    tell("dialect", instance.dialect.map(|dialect| dialect.to_string()));
    for (place, (key, value)) in details.meta.iter().enumerate() {
        tell(if place == 0 { "meta" } else { "" }, Some(format!("{key} = {value}")));
    }
    facts
}

fn lease(left: Option<Duration>, ttl: Option<Duration>) -> Option<String> {
    let of = ttl.map(|ttl| format!(" of {}", output::duration(ttl))).unwrap_or_default();
    Some(match left? {
        Duration::ZERO => format!("0s left{of}"),
        left => format!("{} left{of} unless it renews", output::duration(left)),
    })
}
