//! The configuration file: TOML with a key for each switch, spelled with hyphens or underscores.
//!
//! Rules may be written as arrays of tables, such as `[[address-rule]]` with `from` and `to`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
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

/// Reads the settings in a file. Faults do not hide the valid settings.
pub(super) fn read(path: &Path) -> Contents {
    match std::fs::read_to_string(path) {
        Ok(text) => Reader::new(path, &text).read(),
        Err(error) => {
            let fault = format!("cannot read the configuration {}: {error}", path.display());
            Contents { faults: vec![Fault::new(fault)], ..Contents::default() }
        }
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    /// Faults of the syntax that are not reported yet, by their offsets.
    invalid: BTreeMap<usize, String>,
    contents: Contents,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, invalid: BTreeMap::new(), contents: Contents::default() }
    }

    fn read(mut self) -> Contents {
        let sound = self.without_stray_words();
        let (table, faults) = DeTable::parse_recoverable(&sound);
        self.note_invalid(&faults);
        self.table(table.into_inner(), true);
        while let Some(offset) = self.invalid.keys().next().copied() {
            let line = self.end_of_line(offset);
            self.report_invalid(offset..=line);
        }
        self.contents
    }

    /// The text with spaces in place of the lines that neither set a value nor could be a part of
    /// one. The parser finds nothing after such a line.
    fn without_stray_words(&mut self) -> String {
        let (_, faults) = DeTable::parse_recoverable(self.text);
        let lines: BTreeSet<_> =
            faults.iter().map(|fault| self.line_of(offset_of(fault))).collect();
        self.note_invalid(&faults);
        let mut sound = String::with_capacity(self.text.len());
        for (line, number) in self.text.split_inclusive('\n').zip(1..) {
            if lines.contains(&number) && !line.contains(['=', '[', ']', '{', '}', '"', '\'']) {
                let space = |byte| if byte == b'\n' { '\n' } else { ' ' };
                sound.extend(line.bytes().map(space));
            } else {
                sound.push_str(line);
            }
        }
        sound
    }

    fn note_invalid(&mut self, faults: &[toml::de::Error]) {
        for fault in faults {
            let message = || fault.message().to_owned();
            self.invalid.entry(offset_of(fault)).or_insert_with(message);
        }
    }

    /// Reports the first place in a range that is not TOML, because the others may follow from it.
    /// Returns whether there was one.
    fn report_invalid(&mut self, range: RangeInclusive<usize>) -> bool {
        let mut found = Vec::new();
        self.invalid.retain(|offset, message| {
            let is_in = range.contains(offset);
            if is_in {
                found.push((*offset, std::mem::take(message)));
            }
            !is_in
        });
        let Some((offset, message)) = found.into_iter().next() else { return false };
        let line = self.line_of(offset);
        self.fault(line, format_args!("invalid TOML: {message}"));
        true
    }

    /// Reads the settings of a table, in the order of the file.
    fn table(&mut self, table: DeTable<'_>, is_top: bool) {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let line = self.line_of(key.span().start);
            let end = match value.get_ref() {
                // Its entries follow, and each has its own end.
                DeValue::Table(_) => key.span().end,
                _ => value.span().end.max(key.span().end),
            };
            if self.report_invalid(key.span().start..=self.end_of_line(end)) {
                // The parser may have read a wrong value.
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
                    let offset = offset.unwrap_or(start);
                    let before = self.text.get(..offset).and_then(|text| text.rfind('\n'));
                    // A line that is not TOML has no reliable value.
                    if !self.report_invalid(before.unwrap_or(0)..=self.end_of_line(offset)) {
                        self.fault(self.line_of(offset), format_args!("{why}"));
                    }
                }
            }
        }
        let written = Written { values: written, origin };
        let contents = &mut self.contents;
        if is_top { &mut contents.settings } else { &mut contents.misplaced }.push((key, written));
    }

    fn fault(&mut self, line: usize, what: fmt::Arguments<'_>) {
        let text = format!("{}:{line}: {what}", self.path.display());
        self.contents.faults.push(Fault { line, text });
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::File(self.path.to_owned(), line)
    }

    fn end_of_line(&self, offset: usize) -> usize {
        let rest = self.text.bytes().skip(offset).position(|byte| byte == b'\n');
        rest.map_or(self.text.len(), |len| offset + len)
    }

    fn line_of(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

fn offset_of(fault: &toml::de::Error) -> usize {
    fault.span().map_or(0, |span| span.start)
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
