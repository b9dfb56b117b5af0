//! The settings and their origins. A switch wins over the environment, the environment over the
//! file, and the file over the default.
//!
//! The parser of the switch reads each setting, whatever its origin, so that a value means the same
//! everywhere.

mod environment;
mod file;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgAction, Command, FromArgMatches};
use rpyc_protocol::registry::RENEWAL_INTERVAL;

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
    /// The values, each with its origin.
    values: Vec<(OsString, Origin)>,
    origin: Origin,
}

impl Written {
    fn new(values: Vec<OsString>, origin: Origin) -> Self {
        let values = values.into_iter().map(|value| (value, origin.clone())).collect();
        Self { values, origin }
    }

    fn texts(&self) -> Vec<OsString> {
        self.values.iter().map(|(value, _)| value.clone()).collect()
    }
}

/// Something that is wrong with the settings.
#[derive(Debug)]
struct Fault {
    /// Its line in the file, 0 if it has none.
    line: usize,
    text: String,
}

impl Fault {
    fn new(text: String) -> Self {
        Self { line: 0, text }
    }

    fn at(origin: &Origin, what: &str) -> Self {
        let line = if let Origin::File(_, line) = origin { *line } else { usize::MAX };
        Self { line, text: format!("{origin}: {what}") }
    }
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
    let mut remarks = Vec::new();
    let mut accepted = Accepted::default();
    if let Some(path) = switches.config.or_else(|| environment.config()) {
        let file::Contents { settings, misplaced, faults } = file::read(&path);
        accepted.faults.extend(faults);
        accepted.check_all(&misplaced);
        accepted.take(settings);
    }
    accepted.take(environment.settings(&mut remarks));
    let of_switches = |(key, values)| (key, Written::new(values, Origin::Switch));
    accepted.take(switches.values.into_iter().map(of_switches).collect());
    let Accepted { settings, wrong, mut faults } = accepted;
    // Without the wrong settings, so that these do not hide how the others disagree.
    let parsed = Switches::parser().try_get_matches_from(
        settings.iter().flat_map(|(key, written)| as_switches(key, &written.texts())),
    );
    let args = parsed.and_then(|matches| ServeArgs::from_arg_matches(&matches));
    let args = args.map_err(|error| ConfigError(vec![sentence(&error)]))?;
    let origins: BTreeMap<_, _> =
        settings.into_iter().map(|(key, written)| (key, written.origin)).collect();
    faults.sort_by_key(|fault| fault.line);
    let mut errors: Vec<_> = faults.into_iter().map(|fault| fault.text).collect();
    if !wrong.contains("min-ttl") && !wrong.contains("max-ttl") {
        errors.extend(disagreement(&args, &origins));
    }
    if !errors.is_empty() {
        return Err(ConfigError(errors));
    }
    remarks.extend(short_timeout(&args, &origins));
    Ok(Resolved { args, origins, remarks })
}

/// The settings that are valid, each alone, and the faults of the others.
#[derive(Debug, Default)]
struct Accepted {
    settings: BTreeMap<String, Written>,
    /// The keys of the others.
    wrong: BTreeSet<String>,
    faults: Vec<Fault>,
}

impl Accepted {
    /// Takes settings, which win over the same settings before them.
    fn take(&mut self, written: Vec<(String, Written)>) {
        self.check_all(&written);
        let valid = written.into_iter().filter(|(key, _)| !self.wrong.contains(key));
        self.settings.extend(valid);
    }

    fn check_all(&mut self, written: &[(String, Written)]) {
        for (key, written) in written {
            let faults = faults(key, written);
            if !faults.is_empty() {
                self.wrong.insert(key.clone());
            }
            self.faults.extend(faults);
        }
    }
}

/// The faults of a setting. The values of a list are checked one by one, to find their lines.
fn faults(key: &str, written: &Written) -> Vec<Fault> {
    let parser = Switches::parser();
    let setting = parser.get_arguments().find(|setting| setting.get_long() == Some(key));
    let is_list = setting.is_some_and(|it| matches!(it.get_action(), ArgAction::Append));
    if is_list {
        let checked = written.values.iter().map(|(value, origin)| {
            let checked = check(parser.clone(), key, std::slice::from_ref(value));
            checked.map_err(|error| Fault::at(origin, &error))
        });
        return checked.filter_map(Result::err).collect();
    }
    let checked = check(parser, key, &written.texts());
    checked.map_err(|error| Fault::at(&written.origin, &error)).err().into_iter().collect()
}

/// Whether a setting has this name.
fn is_key(key: &str) -> bool {
    Switches::parser().get_arguments().any(|setting| setting.get_long() == Some(key))
}

/// Checks one setting alone.
fn check(parser: Command, key: &str, values: &[OsString]) -> Result<(), String> {
    let is_key = is_key(key);
    // An unknown key is reported whether it has a value or not.
    let switches = if is_key { as_switches(key, values) } else { vec![format!("--{key}").into()] };
    let checked = parser.try_get_matches_from(switches);
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

/// The value of a setting with its origin.
fn with_origin(key: &str, value: &dyn fmt::Display, origins: &BTreeMap<String, Origin>) -> String {
    let origin = origins.get(key).map_or_else(|| "default".to_owned(), ToString::to_string);
    format!("{key} {value} ({origin})")
}

/// The fault of settings that are each valid, but not together.
fn disagreement(args: &ServeArgs, origins: &BTreeMap<String, Origin>) -> Option<String> {
    let (min, max) = (args.leases.min_ttl, args.leases.max_ttl);
    let (shown_min, shown_max) =
        (with_origin("min-ttl", &min, origins), with_origin("max-ttl", &max, origins));
    (min > max).then(|| format!("{shown_min} is longer than {shown_max}"))
}

/// A warning if servers in Python would expire between two renewals.
fn short_timeout(args: &ServeArgs, origins: &BTreeMap<String, Origin>) -> Option<String> {
    (args.timeout.0 <= RENEWAL_INTERVAL).then(|| {
        let timeout = with_origin("timeout", &args.timeout, origins);
        let renewal = humantime::format_duration(RENEWAL_INTERVAL);
        format!(
            "{timeout} is too short for RPyC's servers, which renew every {renewal} by default: \
             clients do not find them between their expiry and the next renewal; use 2m or more"
        )
    })
}

#[cfg(test)]
mod tests;
