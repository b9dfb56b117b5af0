//! Answers on standard output, for people and for programs.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

/// Prints lines.
pub(crate) fn lines(lines: impl IntoIterator<Item = String>) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for line in lines {
        writeln!(out, "{}", printable(&line))?;
    }
    out.flush()
}

/// Prints one JSON document.
pub(crate) fn json(document: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{document:#}")?;
    out.flush()
}

/// Prints columns under headings.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings);
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| printable(&cell))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let heading = anstyle::Style::new().bold();
    let mut out = anstream::stdout().lock();
    for (index, line) in table.lines().enumerate() {
        let line = line.trim_end();
        if index == 0 {
            writeln!(out, "{heading}{line}{heading:#}")?;
        } else {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()
}

/// A duration as people say it: its two largest units.
pub(crate) fn duration(duration: Duration) -> String {
    let whole = match (duration + Duration::from_millis(500)).as_secs() {
        0 => Duration::from_millis(u64::from(duration.subsec_millis())),
        seconds => Duration::from_secs(seconds),
    };
    let words = humantime::format_duration(whole).to_string();
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Text from the network with everything escaped that a terminal might act upon.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = character.is_control().then(|| character.escape_default());
            let plain = escaped.is_none().then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        assert_eq!(printable("STRASSE-日本"), "STRASSE-日本");
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}d"), "a\\u{1b}[2Jb\\nc\\u{9b}d");
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
