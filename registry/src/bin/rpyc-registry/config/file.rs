//! The configuration file: TOML with a key for each switch, spelled with hyphens or underscores.
//!
//! Rules may be written as arrays of tables, such as `[[address-rule]]` with `from` and `to`.

use std::fmt::Display;
use std::path::Path;

use rpyc_registry::{AddressGrant, AddressRule, ProbeRule};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{Fault, Origin, Written, is_key};

/// The contents of a file.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) settings: Vec<(String, Written)>,
    /// Settings in sections, which have no effect. They are checked all the same.
    pub(super) misplaced: Vec<(String, Written)>,
    pub(super) faults: Vec<Fault>,
}

/// Reads the settings in a file, as far as it is valid.
pub(super) fn read(path: &Path) -> Contents {
    match std::fs::read_to_string(path) {
        Ok(text) => Reader { path, text: &text, contents: Contents::default() }.read(),
        Err(error) => {
            let fault = format!("cannot read the configuration {}: {error}", path.display());
            Contents { faults: vec![Fault::new(fault)], ..Contents::default() }
        }
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    contents: Contents,
}

impl Reader<'_> {
    fn read(mut self) -> Contents {
        let (table, faults) = DeTable::parse_recoverable(self.text);
        for fault in faults {
            let line = self.line_of(fault.span().map_or(0, |span| span.start));
            self.fault(line, format_args!("invalid TOML: {}", fault.message()));
        }
        self.table(table.into_inner(), true);
        self.contents
    }

    /// Reads the settings of a table, in the order of the file.
    fn table(&mut self, table: DeTable<'_>, is_top: bool) {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let line = self.line_of(key.span().start);
            if self.contents.faults.iter().any(|fault| fault.line == line) {
                // A line that is not TOML has no reliable setting.
                continue;
            }
            let key = key.into_inner().replace('_', "-");
            let is_known = is_key(&key);
            match value.get_ref() {
                DeValue::Table(_) if !is_known => {
                    self.fault(
                        line,
                        format_args!(
                            "unknown section [{key}]: write settings at the top of the file, \
                             outside of sections"
                        ),
                    );
                    if let DeValue::Table(section) = value.into_inner() {
                        self.table(section, false);
                    }
                }
                _ if is_top || is_known => self.setting(key, value, line, is_top),
                _ => {}
            }
        }
    }

    fn setting(&mut self, key: String, value: Spanned<DeValue<'_>>, line: usize, is_top: bool) {
        let origin = self.origin(line);
        let set = &self.contents.settings;
        if let Some((_, other)) = set.iter().find(|(other, _)| is_top && *other == key) {
            let other = other.origin.clone();
            return self.fault(line, format_args!("{key:?} is already set in {other}"));
        }
        let values = match value.get_ref() {
            // Whoever accepts the settings reports an unknown key, whatever its value is.
            _ if !is_key(&key) => Vec::new(),
            DeValue::Array(_) => elements(value),
            _ => vec![value],
        };
        let mut written = Vec::new();
        for value in values {
            let start = value.span().start;
            match one(&key, value) {
                Ok(text) => written.push((text.into(), self.origin(self.line_of(start)))),
                Err((offset, why)) => {
                    let line = self.line_of(offset.unwrap_or(start));
                    self.fault(line, format_args!("{why}"));
                }
            }
        }
        let written = Written { values: written, origin };
        let contents = &mut self.contents;
        if is_top { &mut contents.settings } else { &mut contents.misplaced }.push((key, written));
    }

    fn fault(&mut self, line: usize, what: std::fmt::Arguments<'_>) {
        let text = format!("{}:{line}: {what}", self.path.display());
        self.contents.faults.push(Fault { line, text });
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::File(self.path.to_owned(), line)
    }

    fn line_of(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

fn elements(value: Spanned<DeValue<'_>>) -> Vec<Spanned<DeValue<'_>>> {
    match value.into_inner() {
        DeValue::Array(values) => values.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Converts a value to the text that its switch accepts. An error may have the place of the fault.
fn one(key: &str, value: Spanned<DeValue<'_>>) -> Result<String, (Option<usize>, String)> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        DeValue::Boolean(is_so) => Ok(is_so.to_string()),
        DeValue::Table(_) if key == "address-rule" => rule::<AddressRule>(value),
        DeValue::Table(_) if key == "addresses-from" => rule::<AddressGrant>(value),
        DeValue::Table(_) if key == "probe" => rule::<ProbeRule>(value),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err((None, format!("{key:?} takes a plain value")))
        }
    }
}

/// Converts a rule from a table.
fn rule<R: DeserializeOwned + Display>(
    value: Spanned<DeValue<'_>>,
) -> Result<String, (Option<usize>, String)> {
    let rule = R::deserialize(ValueDeserializer::from(value));
    rule.map(|rule| rule.to_string())
        .map_err(|error| (error.span().map(|span| span.start), error.message().to_owned()))
}
