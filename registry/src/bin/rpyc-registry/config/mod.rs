//! The settings and their origins. A switch wins over the environment, the environment over the
//! file, and the file over the default.
//!
//! The parser of the switch reads each setting, whatever its origin, so that a value means the same
//! everywhere.

mod environment;
mod file;
mod show;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, FromArgMatches};

use crate::cli::{ServeArgs, Switches};

pub(crate) use environment::Environment;
pub(crate) use show::show;

/// The settings and their origins.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) args: ServeArgs,
    /// The origin of each setting that has one; all others have their default.
    origins: BTreeMap<String, Origin>,
    /// Warnings for the user.
    pub(crate) remarks: Vec<String>,
}

/// The origin of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Switch,
    Environment(String),
    File(PathBuf, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str("command line"),
            Self::Environment(name) => write!(f, "${name}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// A setting as written, before it is parsed.
#[derive(Debug)]
struct Written {
    values: Vec<OsString>,
    origin: Origin,
}

/// Invalid settings; the fault of the user.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(crate) struct ConfigError(pub(crate) Vec<String>);

/// Resolves the settings from all origins.
///
/// # Errors
/// [`ConfigError`] lists every problem with its origin.
pub(crate) fn resolve(
    switches: Switches,
    environment: &Environment,
) -> Result<Resolved, ConfigError> {
    let mut errors = Vec::new();
    let mut remarks = Vec::new();
    let mut settings = BTreeMap::new();
    if let Some(path) = switches.config.or_else(|| environment.config()) {
        match file::read(&path) {
            Ok(written) => accept(written, &mut settings, &mut errors),
            Err(error) => errors.push(error),
        }
    }
    accept(environment.settings(&mut remarks), &mut settings, &mut errors);
    for (key, values) in switches.values {
        settings.insert(key, Written { values, origin: Origin::Switch });
    }
    if !errors.is_empty() {
        return Err(ConfigError(errors));
    }
    let parsed = Switches::parser().try_get_matches_from(
        settings.iter().flat_map(|(key, written)| as_switches(key, &written.values)),
    );
    let args = parsed.and_then(|matches| ServeArgs::from_arg_matches(&matches));
    let args = args.map_err(|error| ConfigError(vec![sentence(&error)]))?;
    let origins: BTreeMap<_, _> =
        settings.into_iter().map(|(key, written)| (key, written.origin)).collect();
    agree(&args, &origins)?;
    Ok(Resolved { args, origins, remarks })
}

/// Takes the valid settings and records an error for each of the others.
fn accept(
    written: Vec<(String, Written)>,
    settings: &mut BTreeMap<String, Written>,
    errors: &mut Vec<String>,
) {
    let parser = Switches::parser();
    for (key, written) in written {
        match check(parser.clone(), &key, &written.values) {
            Ok(()) => drop(settings.insert(key, written)),
            Err(error) => errors.push(format!("{}: {error}", written.origin)),
        }
    }
}

/// Checks one setting alone.
fn check(parser: Command, key: &str, values: &[OsString]) -> Result<(), String> {
    let is_key = parser.get_arguments().any(|setting| setting.get_long() == Some(key));
    let checked = parser.try_get_matches_from(as_switches(key, values));
    match checked {
        Err(error) if !is_key => Err(match error.get(ContextKind::SuggestedArg) {
            Some(ContextValue::String(nearest)) => {
                format!("unknown key {key:?}; did you mean {:?}?", nearest.trim_start_matches('-'))
            }
            _ => {
                format!(
                    "unknown key {key:?}; the keys are the long switches of `rpyc-registry --help`"
                )
            }
        }),
        Err(error) => Err(sentence(&error)),
        Ok(_) => Ok(()),
    }
}

/// Converts a setting to the equivalent switches.
fn as_switches(key: &str, values: &[OsString]) -> Vec<OsString> {
    let switch = |value: &OsString| {
        let mut switch = OsString::from(format!("--{key}="));
        switch.push(value);
        switch
    };
    values.iter().map(switch).collect()
}

/// The message of an error, without its usage advice.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let text = lines.collect::<Vec<_>>().join(" ");
    text.trim_start_matches("error: ").to_owned()
}

/// Checks that settings that are each valid are also valid together.
fn agree(args: &ServeArgs, origins: &BTreeMap<String, Origin>) -> Result<(), ConfigError> {
    let told = |key: &str, value: &dyn fmt::Display| {
        let origin = origins.get(key).map_or_else(|| "default".to_owned(), ToString::to_string);
        format!("{key} {value} ({origin})")
    };
    let (min, max) = (args.leases.min_ttl, args.leases.max_ttl);
    if min > max {
        let (min, max) = (told("min-ttl", &min), told("max-ttl", &max));
        return Err(ConfigError(vec![format!("{min} is longer than {max}")]));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
