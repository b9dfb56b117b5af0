//! Output on standard output, for people and for programs.

mod instance;
mod table;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use serde_json::Value;

pub(crate) use instance::{
    INSTANCE_COLUMNS, addresses, as_json, name, plural, row, state, state_style, states, words,
};
pub(crate) use table::{Column, Table};

/// Prints lines.
pub(crate) fn lines(lines: impl IntoIterator<Item = String>) -> io::Result<()> {
    styled(lines.into_iter().map(|line| (Style::new(), line)))
}

/// Prints lines, each with a separate style.
pub(crate) fn styled(lines: impl IntoIterator<Item = (Style, String)>) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for (style, line) in lines {
        writeln!(out, "{style}{}{style:#}", printable(&line))?;
    }
    out.flush()
}

/// Reports a problem on standard error.
pub(crate) fn problem(text: &str) {
    anstream::eprintln!("rpyc-registry: {}", printable(text));
}

/// Prints one JSON document.
pub(crate) fn json(document: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json_text(&format!("{document:#}")))?;
    out.flush()
}

/// Escapes the characters of a JSON text that JSON allows in strings and terminals interpret.
pub(crate) fn json_text(text: &str) -> Cow<'_, str> {
    let is_escaped = |character: char| character != '\n' && is_active(character);
    if !text.contains(is_escaped) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_escaped(character) {
            // Writing to a string does not fail. These characters have four digits at most.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped.into()
}

/// Prints columns with headings.
pub(crate) fn table<const N: usize>(
    headings: [&'static str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> io::Result<()> {
    let mut table = Table::new(headings.map(Column::cut));
    for row in rows {
        table.push(row, Style::new());
    }
    table.print()
}

/// Formats a duration for people, in its two largest units.
pub(crate) fn duration(duration: Duration) -> String {
    let whole = match (duration + Duration::from_millis(500)).as_secs() {
        0 => Duration::from_millis(u64::from(duration.subsec_millis())),
        seconds => Duration::from_secs(seconds),
    };
    let words = humantime::format_duration(whole).to_string();
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Escapes characters in text from the network that can affect a terminal: control characters, and
/// those that change the direction of the text after them.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = is_active(character).then(|| character.escape_unicode());
            let newline = (character == '\n').then_some(['\\', 'n']);
            let plain = escaped.is_none().then_some(character);
            let escaped = escaped.filter(|_| newline.is_none());
            newline.into_iter().flatten().chain(escaped.into_iter().flatten()).chain(plain)
        })
        .collect()
}

fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_a_terminal_has_no_control_characters() {
        assert_eq!(printable("STRASSE-日本"), "STRASSE-日本");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}d"), "a\\u{1b}[2Jb\\nc\\u{9b}d");
    }

    #[test]
    fn a_json_text_keeps_its_meaning_without_control_characters() {
        let document = serde_json::json!({ "why": "a\n\u{9b}2J\u{202e}\u{7f}b" });
        let escaped = json_text(&format!("{document:#}")).into_owned();
        assert_eq!(escaped, "{\n  \"why\": \"a\\n\\u009b2J\\u202e\\u007fb\"\n}");
        assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), document);
    }

    #[test]
    fn a_duration_has_two_units_at_most() {
        let cases = [
            (0, "0s"),
            (45_100, "45s"),
            (200_000, "3m 20s"),
            (3_725_000, "1h 2m"),
            (90_061_000, "1day 1h"),
        ];
        for (millis, words) in cases {
            assert_eq!(duration(Duration::from_millis(millis)), words);
        }
        assert_eq!(duration(Duration::from_millis(250)), "250ms");
    }
}
