//! The configuration file: TOML, in which every switch is a key.

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
    let mut settings = Vec::new();
    for (key, value) in table.into_inner() {
        let line = line_of(text, key.span().start);
        let values = match value.get_ref() {
            DeValue::Array(values) => values.iter().map(scalar).collect(),
            _ => scalar(&value).map(|value| vec![value]),
        };
        let Some(values) = values else {
            let place = path.display();
            return Err(format!("{place}:{line}: {:?} takes a plain value", key.get_ref()));
        };
        let values = values.into_iter().map(Into::into).collect();
        let origin = Origin::File(path.to_owned(), line);
        settings.push((key.into_inner().into_owned(), Written { values, origin }));
    }
    settings.sort_by_key(|(_, written)| match written.origin {
        Origin::File(_, line) => line,
        Origin::Switch | Origin::Environment(_) => 0,
    });
    Ok(settings)
}

/// A value as it would be written in a switch.
fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(is_so) => Some(is_so.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
