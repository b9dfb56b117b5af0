//! Formats instances.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use rpyc_client::native::State;
use rpyc_client::{Endpoint, Instance};
use serde_json::{Value, json};

use super::{Column, duration};

/// The addresses as lines for scripts. An address that a shell would split, or that holds
/// characters with a meaning to it, is left out, and standard error says so.
pub(crate) fn addresses<'a>(
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
) -> impl Iterator<Item = String> {
    words(endpoints.into_iter().map(ToString::to_string))
}

/// As [`addresses`], of addresses as text.
pub(crate) fn words(addresses: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let (words, others): (Vec<_>, Vec<_>) = addresses.partition(|address| is_word(address));
    if !others.is_empty() {
        let count = u64::try_from(others.len()).unwrap_or(u64::MAX);
        let count = plural(count, "address");
        super::problem(&format!(
            "left out {count} with characters that a shell interprets: {}; -o json has them",
            others.join(", ")
        ));
    }
    words.into_iter()
}

/// Whether a shell takes an address for one word, and for nothing else.
fn is_word(address: &str) -> bool {
    let is_plain =
        |character: char| character.is_alphanumeric() || "/._-+:,@%=".contains(character);
    let bracketed = address.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    let (host, port) = bracketed.unwrap_or((address, ""));
    host.chars().all(is_plain) && port.chars().all(is_plain)
}

/// The columns of [`row`].
pub(crate) const INSTANCE_COLUMNS: [Column; 11] = [
    Column::cut("NAME"),
    Column::whole("ID"),
    Column::whole("ADDRESS"),
    Column::whole("STATE"),
    Column::whole("AGE"),
    Column::whole("RENEWED"),
    Column::whole("LEFT"),
    Column::below("WHY"),
    Column::cut("TAGS"),
    Column::cut("ZONE"),
    Column::whole("WEIGHT"),
];

/// Shown for a value that is not known.
const UNKNOWN: &str = "-";

/// Formats an instance under one of its names as a row. Without `has_lease`, the row omits the
/// times of the lease, which would be outdated at once in a live table.
pub(crate) fn row(service: &str, instance: &Instance, has_lease: bool) -> [String; 11] {
    let lease = |time| if has_lease { known(time) } else { String::new() };
    let details = &instance.details;
    [
        name(service),
        instance.id.map_or_else(|| UNKNOWN.to_owned(), |id| id.to_string()),
        instance.endpoint.to_string(),
        state(instance).map_or(UNKNOWN, State::as_str).to_owned(),
        known(instance.age),
        lease(instance.renewed),
        lease(instance.left),
        instance.why.clone().unwrap_or_default(),
        details.tags.iter().cloned().collect::<Vec<_>>().join(","),
        details.zone.clone().unwrap_or_default(),
        details.weight.map(|weight| weight.to_string()).unwrap_or_default(),
    ]
}

/// Formats a name. An empty name is valid too, and is quoted.
pub(crate) fn name(name: &str) -> String {
    if name.trim().is_empty() { format!("{name:?}") } else { name.to_owned() }
}

fn known(time: Option<Duration>) -> String {
    time.map_or_else(|| UNKNOWN.to_owned(), duration)
}

/// The state of an instance. RPyC's own registry reports none.
pub(crate) fn state(instance: &Instance) -> Option<State> {
    instance.age.map(|_known| instance.state)
}

/// The style of a state. Instances that pass have no colour, so that the others stand out.
pub(crate) fn state_style(state: Option<State>) -> Style {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match state {
        None | Some(State::Passing) => Style::new(),
        Some(State::Failing) => colour(AnsiColor::Red),
        Some(State::Draining) => colour(AnsiColor::Cyan),
        Some(_) => colour(AnsiColor::Yellow),
    }
}

/// Counts the instances in each state, the best state first. The text is empty if no state is
/// known.
pub(crate) fn states<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> String {
    let mut counts = BTreeMap::<State, usize>::new();
    for state in instances.into_iter().filter_map(state) {
        *counts.entry(state).or_default() += 1;
    }
    let words = counts.iter().map(|(state, count)| format!("{count} {state}"));
    words.collect::<Vec<_>>().join(", ")
}

/// A number with its noun.
pub(crate) fn plural(count: u64, what: &str) -> String {
    let ending = match what.ends_with('s') {
        _ if count == 1 => "",
        true => "es",
        false => "s",
    };
    format!("{count} {what}{ending}")
}

/// Converts an instance to JSON, with `null` for values that the registry does not report.
pub(crate) fn as_json(instance: &Instance) -> Value {
    let Endpoint { host, port } = &instance.endpoint;
    let millis = |duration: Option<Duration>| duration.map(|it| it.as_millis());
    let others: Vec<_> = instance.others.iter().map(ToString::to_string).collect();
    let details = &instance.details;
    json!({
        "id": instance.id,
        "host": host,
        "port": port,
        "addresses": others,
        "state": state(instance),
        "why": instance.why,
        "age_ms": millis(instance.age),
        "renewed_ms": millis(instance.renewed),
        "left_ms": millis(instance.left),
        "ttl_ms": millis(instance.ttl),
        "legacy": instance.is_legacy,
        "tags": details.tags,
        "meta": details.meta,
        "weight": details.weight,
        "zone": details.zone,
        "protocol": details.protocol,
        "dialect": instance.dialect.map(|dialect| dialect.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_scripts_is_one_word_to_a_shell() {
        for address in ["10.0.0.1:1", "[fd00::1]:1", "[fe80::1%eth0]:1", "10.0.0.1:/run/é-x_1.sock"]
        {
            assert!(is_word(address), "{address}");
        }
        for port in
            ["/run/a b", "4444 -e /bin/sh", "/x;id", "/$(id)", "/`id`", "/*", "/[a]", "/'", "/~"]
        {
            for host in ["10.0.0.1", "[fd00::1]"] {
                assert!(!is_word(&format!("{host}:{port}")), "{host}:{port}");
            }
        }
    }
}
