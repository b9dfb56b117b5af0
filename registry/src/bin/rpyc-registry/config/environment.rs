//! Settings in environment variables: `RPYC_REGISTRY_` and the name of the switch in capitals.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::ArgAction;

use super::{Origin, Written};
use crate::cli::Switches;

/// The prefix of every variable. `RPYC_REGISTRY` itself belongs to clients.
const PREFIX: &str = "RPYC_REGISTRY_";

/// Kubernetes sets variables with our prefix for a service named `rpyc-registry`. This one is
/// always among them.
const KUBERNETES: &str = "RPYC_REGISTRY_SERVICE_HOST";

/// The variables with our prefix.
#[derive(Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Reads the variables of this process. An empty variable counts as unset.
    pub(crate) fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The configuration file that a variable names.
    pub(super) fn config(&self) -> Option<PathBuf> {
        self.0.get(&variable("config")).map(PathBuf::from)
    }

    /// Returns the settings in the variables. An unknown variable with our prefix adds a remark and
    /// no error, because it may belong to another program.
    pub(super) fn settings(&self, remarks: &mut Vec<String>) -> Vec<(String, Written)> {
        let mut rest = self.0.clone();
        rest.remove(&variable("config"));
        let mut settings = Vec::new();
        for setting in Switches::parser().get_arguments() {
            let Some(key) = setting.get_long() else { continue };
            let name = variable(key);
            let Some(value) = rest.remove(&name) else { continue };
            if self.is_of_kubernetes(&value) {
                remarks.push(format!(
                    "variable {name} ignored: Kubernetes sets it for a service named rpyc-registry"
                ));
                continue;
            }
            let values = match (setting.get_action(), value.to_str()) {
                // A probe rule contains commas, so semicolons separate the rules.
                (ArgAction::Append, Some(text)) => {
                    let between = if key == "probe" { ';' } else { ',' };
                    text.split(between).map(|part| part.trim().into()).collect()
                }
                _ => vec![value],
            };
            settings.push((key.to_owned(), Written::new(values, Origin::Environment(name))));
        }
        let is_others = |name: &str| {
            self.0.contains_key(KUBERNETES)
                && (name.starts_with("RPYC_REGISTRY_SERVICE_")
                    || name.starts_with("RPYC_REGISTRY_PORT"))
        };
        let unknown = rest.into_keys().filter(|name| !is_others(name));
        remarks.extend(unknown.map(|name| format!("unknown variable {name} (ignored)")));
        settings
    }

    fn is_of_kubernetes(&self, value: &OsStr) -> bool {
        self.0.contains_key(KUBERNETES) && value.to_string_lossy().contains("://")
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            (!value.is_empty()).then_some((name, value))
        });
        Self(ours.collect())
    }
}

/// The name of the variable of a switch.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('-', "_"))
}
