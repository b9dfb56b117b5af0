//! Formats the settings as an equivalent configuration file, with the origin of each.

use anyhow::Context;
use toml::{Table, Value};

use super::Resolved;
use crate::cli::Switches;

/// The lines of the file.
pub(crate) fn show(resolved: &Resolved) -> anyhow::Result<Vec<String>> {
    let values = Table::try_from(&resolved.args).context("cannot write the settings as TOML")?;
    let mut settings = Vec::new();
    for setting in Switches::parser().get_arguments() {
        let Some(key) = setting.get_long() else { continue };
        let origin = match resolved.origins.get(key) {
            Some(origin) => origin.to_string(),
            None => "default".to_owned(),
        };
        let is_empty = |value: &&Value| value.as_array().is_some_and(Vec::is_empty);
        settings.push(match values.get(key).filter(|value| !is_empty(value)) {
            Some(value) => (format!("{key} = {value}"), origin),
            None => {
                // For a setting without a value, the help describes the default.
                let help = setting.get_help().map(ToString::to_string).unwrap_or_default();
                let default = help.rsplit_once("[default: ").map(|(_, end)| end.replace(']', ""));
                (format!("# {key} ="), format!("default: {}", default.unwrap_or_default()))
            }
        });
    }
    let width = settings.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
    Ok(settings.iter().map(|(line, origin)| format!("{line:width$}  # {origin}")).collect())
}
