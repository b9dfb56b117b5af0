//! `rpyc-registry status`: prints the state of a registry.

use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use rpyc_client::native::{Answer, Status};
use rpyc_client::{Registrar, Registries};
use rpyc_registry::ANSWERS_CUT;
use serde_json::{Value, json};

use super::{block_on, chosen_by_operator};
use crate::cli::{OutputFormat, StatusArgs};
use crate::{advice, output};

pub(crate) fn run(args: &StatusArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let mut exit = ExitCode::SUCCESS;
    let mut documents = Vec::new();
    for (place, target) in chosen_by_operator(registries)?.into_targets().into_iter().enumerate() {
        let registrar = Registrar::builder(target).timeout(args.ask.timeout).build();
        let answer = match block_on(async { Ok(registrar.native().status().await) })? {
            Ok(answer) => answer,
            Err(error) => {
                output::problem(&advice::message(&error.into()));
                exit = ExitCode::FAILURE;
                continue;
            }
        };
        if answer.value.store_failure.is_some() {
            exit = ExitCode::FAILURE;
        }
        match args.ask.output {
            OutputFormat::Json => documents.push(document(&answer)),
            OutputFormat::Name => output::lines([answer.registry.to_string()])?,
            OutputFormat::Table => {
                if place > 0 {
                    output::lines([String::new()])?;
                }
                output::styled(lines(&answer))?;
            }
        }
    }
    match args.ask.output {
        OutputFormat::Json if documents.len() == 1 => output::json(&documents.remove(0))?,
        OutputFormat::Json if !documents.is_empty() => output::json(&Value::Array(documents))?,
        OutputFormat::Json | OutputFormat::Name | OutputFormat::Table => {}
    }
    Ok(exit)
}

fn document(answer: &Answer<Status>) -> Value {
    let mut document = json!(answer.value);
    if let Value::Object(document) = &mut document {
        document.insert("registry".to_owned(), answer.registry.to_string().into());
        let revision = answer.revision.map(|revision| revision.to_string());
        document.insert("revision".to_owned(), revision.into());
    }
    document
}

/// The lines of the report, most important first; problems are highlighted.
fn lines(answer: &Answer<Status>) -> Vec<(Style, String)> {
    let status = &answer.value;
    let alarm = Style::new().fg_color(Some(AnsiColor::Red.into()));
    let warning = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    let mut lines = Vec::new();
    let mut tell = |style: Style, what: &str, fact: String| {
        lines.push((style, format!("{what:<13} {fact}")));
    };
    let plain = Style::new();
    let registry = match answer.registry.socket_path() {
        Some(_) => answer.registry.to_string(),
        None => format!("{} at {}", answer.registry, answer.responder),
    };
    tell(plain.bold(), "registry", registry);
    let up = output::duration(Duration::from_millis(status.uptime_ms));
    tell(plain, "version", format!("{}, up for {up}", status.version));
    if let Some(revision) = answer.revision {
        tell(plain, "revision", revision.to_string());
    }
    match &status.store_failure {
        Some(failure) => tell(alarm, "store", format!("{}, FAILING: {failure}", status.store)),
        None if status.store == "memory" => {
            tell(plain, "store", "memory; a restart loses all registrations".to_owned());
        }
        None => tell(plain, "store", status.store.clone()),
    }
    if status.uncommitted > 0 {
        tell(warning, "not durable", output::plural(status.uncommitted, "change"));
    }
    tell(plain, "services", status.services.to_string());
    let names = match status.registrations {
        same if same == status.instances => String::new(),
        names => format!(", under {}", output::plural(names, "name")),
    };
    tell(plain, "instances", format!("{}{names}", status.instances));
    let mut states: Vec<_> = status.states.iter().filter(|(_, count)| **count > 0).collect();
    states.sort_by_key(|(state, _)| *state != "passing");
    for (state, count) in states {
        let style = match state.as_str() {
            "passing" => plain,
            "failing" => alarm,
            _ => warning,
        };
        tell(style, &format!("  {state}"), count.to_string());
    }
    if !status.protected.is_empty() {
        let name = |name: &String| if name.is_empty() { "all".to_owned() } else { name.clone() };
        let names: Vec<_> = status.protected.iter().map(name).collect();
        let why =
            "too many leases expired together; each is kept for one more TTL, or until `release`";
        tell(warning, "protected", format!("{} ({why})", names.join(", ")));
    }
    if !status.drained.is_empty() {
        let why = "no client gets a server there until `undrain`, also after a restart";
        tell(warning, "drained", format!("{} ({why})", status.drained.join(", ")));
    }
    if let Some(probes) = &status.probes {
        let what = output::plural(probes.instances, "instance");
        let unable = match probes.unable {
            0 => String::new(),
            unable => format!(", {unable} could not be made"),
        };
        let line = format!("of {what}: {} done, {} failed{unable}", probes.done, probes.failed);
        tell(plain, "probes", line);
        if probes.holding_back {
            let why =
                "most fail together, so the network is suspected; no more instances become failing";
            tell(warning, "", why.to_owned());
        }
    }
    tell(plain, "watchers", status.watchers.to_string());
    if let Some(path) = &status.operator_socket {
        tell(plain, "operators", format!("unix:{path}"));
    }
    let cut = status.counters.get(ANSWERS_CUT).filter(|count| **count > 0);
    if let Some(count) = cut {
        let why = "RPyC's clients cannot read more; `lookup`, `list` and the Rust client get all";
        tell(warning, "answers cut", format!("{count} ({why})"));
    }
    let is_loss = |(kind, count): &(&String, &u64)| **count > 0 && *kind != ANSWERS_CUT;
    let losses: Vec<_> = status.counters.iter().filter(is_loss).collect();
    if losses.is_empty() {
        tell(plain, "not served", "nothing".to_owned());
    } else {
        let log = "the log of the registry has samples, with source and reason";
        tell(plain, "not served", log.to_owned());
    }
    for (kind, count) in losses {
        tell(plain, "", format!("{count} {kind}{}", meaning(kind)));
    }
    lines
}

/// What the counter of a kind of loss counts; empty for a kind of a later version.
fn meaning(kind: &str) -> &'static str {
    match kind {
        "malformed" => ": messages that are not valid requests",
        "too-long" => ": messages longer than any request",
        "limit-reached" => ": registrations beyond a limit (--max-instances and others)",
        "rate-limited" => ": requests of machines that sent too many (--max-rate)",
        "not-for-us" => ": datagrams to addresses that the registry does not serve (--host)",
        "refused" => ": requests that are not allowed, or that name what does not exist",
        "not-ready" => ": requests before the store was read",
        "not-sent" => ": answers that the system did not send",
        "not-queued" => ": answers that waited in vain for the store",
        "deadline" => ": TCP clients that sent or read too slowly",
        "displaced" => ": idle TCP connections closed to make room (--max-connections)",
        "broken" => ": TCP connections that broke",
        "socket" => ": errors of listening sockets",
        "overloaded" => ": requests shed under overload",
        "dropped-by-system" => ": datagrams that the system dropped, because its buffer was full",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use rpyc_registry::Loss;

    use super::*;

    #[test]
    fn every_counter_is_explained() {
        for loss in Loss::ALL {
            assert!(meaning(loss.as_str()).len() > 10, "{loss:?}");
        }
    }
}
