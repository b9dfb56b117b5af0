//! How instances are shown.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use rpyc_client::native::State;
use rpyc_client::{Endpoint, Instance};
use serde_json::{Value, json};

use super::{Column, duration};

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

/// What is not known.
const UNKNOWN: &str = "-";

/// An instance under one of its names, as a row. How far its lease has come is left out unless
/// `has_lease`: it would be outdated at once.
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

/// A name as it is shown. The empty one is a name as well.
pub(crate) fn name(name: &str) -> String {
    if name.trim().is_empty() { format!("{name:?}") } else { name.to_owned() }
}

fn known(time: Option<Duration>) -> String {
    time.map_or_else(|| UNKNOWN.to_owned(), duration)
}

/// The state of an instance, where the registry tells it: RPyC's own does not.
pub(crate) fn state(instance: &Instance) -> Option<State> {
    instance.age.map(|_known| instance.state)
}

/// How a state looks: what passes like everything else, so that what does not is seen.
pub(crate) fn state_style(state: Option<State>) -> Style {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match state {
        None | Some(State::Passing) => Style::new(),
        Some(State::Failing) => colour(AnsiColor::Red),
        Some(State::Draining) => colour(AnsiColor::Cyan),
        Some(_) => colour(AnsiColor::Yellow),
    }
}

/// How many are in each state, the good news first; empty where that is not known.
pub(crate) fn states<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> String {
    let mut counts = BTreeMap::<State, usize>::new();
    for state in instances.into_iter().filter_map(state) {
        *counts.entry(state).or_default() += 1;
    }
    let words = counts.iter().map(|(state, count)| format!("{count} {state}"));
    words.collect::<Vec<_>>().join(", ")
}

/// A number and what it counts.
pub(crate) fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Everything about an instance, for programs; `null` is what the registry does not tell.
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
