//! The configuration file: TOML, in which every switch is a key, with hyphens or underscores.
//!
//! A switch that takes rules may be an array of tables: one of `FROM=TO` with `from` and `to`, one of
//! `KIND,KEY=VALUE` with `kind` and its keys.

use std::borrow::Cow;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Origin, Written};

/// Reads what is written in a file.
///
/// # Errors
/// A sentence that names the file and, where it can be told, the line.
pub(super) fn read(path: &Path) -> Result<Vec<(String, Written)>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the configuration {}: {error}", path.display()))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<(String, Written)>, String> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        format!("{}:{line}: this is no TOML: {}", path.display(), error.message())
    })?;
    let mut entries: Vec<_> = table.into_inner().into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut settings = Vec::<(String, Written)>::new();
    for (key, value) in entries {
        let line = line_of(text, key.span().start);
        let values = match value.get_ref() {
            DeValue::Array(values) => values.iter().map(one).collect(),
            _ => one(&value).map(|value| vec![value]),
        };
        let place = format!("{}:{line}", path.display());
        let values: Vec<_> =
            values.ok_or_else(|| format!("{place}: {:?} takes a plain value", key.get_ref()))?;
        let values = values.into_iter().map(Into::into).collect();
        let origin = Origin::File(path.to_owned(), line);
        let key = key.into_inner().replace('_', "-");
        if let Some((_, other)) = settings.iter().find(|(other, _)| *other == key) {
            return Err(format!("{place}: {key:?} is set already, by {}", other.origin));
        }
        settings.push((key, Written { values, origin }));
    }
    Ok(settings)
}

/// A value as it would be written in a switch.
fn one(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(is_so) => Some(is_so.to_string()),
        DeValue::Table(rule) if rule.get("kind").is_some() => {
            let kind = one(rule.get("kind")?)?;
            let rest = rule.iter().filter(|(key, _)| key.get_ref() != "kind");
            let pair = |(key, value): (&Spanned<Cow<'_, str>>, _)| {
                Some(format!(",{}={}", key.get_ref(), one(value)?))
            };
            let rest: Option<String> = rest.map(pair).collect();
            Some(kind + &rest?)
        }
        DeValue::Table(rule) => {
            let end = |key| rule.get(key).and_then(|value| value.get_ref().as_str());
            let (from, to) = (end("from")?, end("to")?);
            (rule.len() == 2).then(|| format!("{from}={to}"))
        }
        DeValue::Datetime(_) | DeValue::Array(_) => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
