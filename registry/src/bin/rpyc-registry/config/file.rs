//! The configuration file: TOML with a key for each switch, spelled with hyphens or underscores.
//!
//! Rules may be written as arrays of tables, such as `[[address-rule]]` with `from` and `to`.

use std::fmt::Display;
use std::path::Path;

use rpyc_registry::{AddressGrant, AddressRule, ProbeRule};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{Origin, Written};

/// Reads the settings in a file.
///
/// # Errors
/// A message that names the file and, if known, the line.
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
        let place = format!("{}:{line}", path.display());
        let key = key.into_inner().replace('_', "-");
        let several = matches!(value.get_ref(), DeValue::Array(_));
        let values = if several { elements(value) } else { vec![value] };
        let values = values.into_iter().map(|value| {
            let line = line_of(text, value.span().start);
            let value = one(&key, value).map_err(|why| format!("{}:{line}: {why}", path.display()));
            value.map(Into::into)
        });
        let values = values.collect::<Result<Vec<_>, String>>()?;
        let origin = Origin::File(path.to_owned(), line);
        if let Some((_, other)) = settings.iter().find(|(other, _)| *other == key) {
            return Err(format!("{place}: {key:?} is set already, by {}", other.origin));
        }
        settings.push((key, Written { values, origin }));
    }
    Ok(settings)
}

fn elements(value: Spanned<DeValue<'_>>) -> Vec<Spanned<DeValue<'_>>> {
    match value.into_inner() {
        DeValue::Array(values) => values.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Converts a value to the text that its switch accepts.
fn one(key: &str, value: Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        DeValue::Boolean(is_so) => Ok(is_so.to_string()),
        DeValue::Table(_) if key == "address-rule" => rule::<AddressRule>(value),
        DeValue::Table(_) if key == "addresses-from" => rule::<AddressGrant>(value),
        DeValue::Table(_) if key == "probe" => rule::<ProbeRule>(value),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(format!("{key:?} takes a plain value"))
        }
    }
}

/// Converts a rule from a table.
fn rule<R: DeserializeOwned + Display>(value: Spanned<DeValue<'_>>) -> Result<String, String> {
    let rule = R::deserialize(ValueDeserializer::from(value));
    rule.map(|rule| rule.to_string()).map_err(|error| error.message().to_owned())
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
