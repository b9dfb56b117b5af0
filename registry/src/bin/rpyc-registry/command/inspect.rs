//! `rpyc-registry inspect`: prints the methods of a server.

use std::process::ExitCode;

use rpyc_client::Registries;
use serde_json::json;

use super::block_on;
use crate::cli::{InspectArgs, OutputFormat};
use crate::output;

/// The prefix with which services in Python mark methods that clients may call.
const EXPOSED: &str = "exposed_";

/// A method that clients may call: its name without the prefix, and its documentation.
type Offer = (String, Option<String>);

pub(crate) fn run(args: &InspectArgs, registries: Option<Registries>) -> anyhow::Result<ExitCode> {
    let timeout = args.ask.timeout;
    let (class, offers) = block_on(async {
        let connection = args.target.connect(registries, args.speak, timeout).await?;
        let root = connection.root().await?;
        let methods = root.methods().timeout(timeout).await?;
        connection.close().await;
        Ok((root.class_name().to_owned(), offers(methods)))
    })?;
    match args.ask.output {
        OutputFormat::Json => {
            let methods: Vec<_> =
                offers.iter().map(|(name, doc)| json!({ "name": name, "doc": doc })).collect();
            output::json(&json!({ "class": class, "methods": methods }))?;
        }
        OutputFormat::Name => output::lines(offers.into_iter().map(|(name, _)| name))?,
        OutputFormat::Table if offers.is_empty() => {
            anstream::eprintln!("{} offers no methods", output::printable(&class));
        }
        OutputFormat::Table => {
            let first_line = |doc: Option<String>| {
                let doc = doc.unwrap_or_default();
                doc.trim().lines().next().unwrap_or_default().to_owned()
            };
            let rows = offers.into_iter().map(|(name, doc)| [name, first_line(doc)]);
            output::table(["METHOD", "DOCUMENTATION"], rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Selects the methods that a client may call from all methods of a peer.
fn offers(methods: Vec<Offer>) -> Vec<Offer> {
    let is_python_service = methods.iter().any(|(name, _)| name.starts_with(EXPOSED));
    let offered = methods.into_iter().filter_map(|(name, doc)| {
        let offered = match name.strip_prefix(EXPOSED) {
            Some(bare) => Some(bare.to_owned()),
            None if is_python_service || name.starts_with('_') => None,
            None => Some(name),
        };
        offered.map(|name| (name, doc))
    });
    let mut offered: Vec<_> = offered.collect();
    offered.sort_unstable();
    offered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_marks_is_offered_and_the_rest_is_not() {
        let methods =
            |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), None)).collect();
        let names = |names: &[&str]| -> Vec<String> {
            offers(methods(names)).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&["on_connect", "exposed_b", "exposed_a", "__str__"]), ["a", "b"]);
        assert_eq!(names(&["get_salary", "__len__"]), ["get_salary"]);
    }
}
