//! Columns with headings, fitted to the width of the terminal.

use std::io::{self, IsTerminal, Write};

use anstyle::Style;
use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Width};

use super::printable;

/// The gap between columns.
const GAP: u16 = 2;

/// The minimum width of a column that may be cut. Below it, lines may exceed the terminal.
const NARROWEST: u16 = 8;

/// The heading of a column, and how the column adapts to a narrow terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    heading: &'static str,
    when_narrow: WhenNarrow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhenNarrow {
    Keep,
    Cut,
    /// Its text moves to a separate line below the row.
    Below,
}

impl Column {
    pub(crate) const fn whole(heading: &'static str) -> Self {
        Self { heading, when_narrow: WhenNarrow::Keep }
    }

    pub(crate) const fn cut(heading: &'static str) -> Self {
        Self { heading, when_narrow: WhenNarrow::Cut }
    }

    pub(crate) const fn below(heading: &'static str) -> Self {
        Self { heading, when_narrow: WhenNarrow::Below }
    }
}

/// Rows of cells, each row with a separate style.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<(Vec<String>, Style)>,
}

/// A line of a table.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) style: Style,
    pub(crate) text: String,
    /// The number of rows up to and including this line.
    pub(crate) rows: usize,
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row. Its text may come from any client, so it is escaped.
    pub(crate) fn push(&mut self, cells: impl IntoIterator<Item = String>, style: Style) {
        let cells = cells.into_iter().map(|cell| printable(&cell)).collect();
        self.rows.push((cells, style));
    }

    /// Lays out the lines, heading first, within `width` where possible. It omits columns that are
    /// empty in every row.
    pub(crate) fn lines(&self, width: Option<u16>) -> Vec<Line> {
        let is_used = |at: &usize| self.rows.iter().any(|(row, _)| !cell(row, *at).is_empty());
        let used: Vec<_> = self.columns.iter().enumerate().filter(|(at, _)| is_used(at)).collect();
        let whole = self.lay_out(&used);
        let contents = whole.column_max_content_widths();
        let needed: u32 = contents.iter().map(|content| u32::from(*content) + u32::from(GAP)).sum();
        let (laid_out, below) =
            match width.filter(|width| needed > u32::from(*width) + u32::from(GAP)) {
                None => (whole, None),
                Some(width) => {
                    let is_below =
                        |(_, column): &&(usize, &Column)| column.when_narrow == WhenNarrow::Below;
                    let below = used.iter().find(is_below).map(|(at, _)| *at);
                    let beside: Vec<_> =
                        used.iter().filter(|column| !is_below(column)).copied().collect();
                    (self.lay_out_narrow(&beside, width), below)
                }
            };
        let styles = std::iter::once(Style::new().bold()).chain(self.rows.iter().map(|it| it.1));
        let mut lines = Vec::new();
        for ((rows, text), style) in laid_out.lines().enumerate().zip(styles) {
            let text = text.trim_end().to_owned();
            lines.push(Line { style, text, rows });
            let row = rows.checked_sub(1).and_then(|row| self.rows.get(row));
            let note = below.and_then(|at| row.map(|(row, _)| cell(row, at)));
            if let Some(note) = note.filter(|note| !note.is_empty()) {
                lines.push(Line { style, text: format!("  `- {note}"), rows });
            }
        }
        lines
    }

    /// Lays out one line for each row, as long as its contents need.
    fn lay_out(&self, used: &[(usize, &Column)]) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(used.iter().map(|(_, column)| column.heading));
        for (row, _) in &self.rows {
            let mut row = comfy_table::Row::from(used.iter().map(|(at, _)| cell(row, *at)));
            row.max_height(1);
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        table
    }

    /// The same layout, with cells cut to fit `width`.
    fn lay_out_narrow(&self, used: &[(usize, &Column)], width: u16) -> comfy_table::Table {
        let mut table = self.lay_out(used);
        // The gap after the last column is trimmed later, so it does not count.
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width.saturating_add(GAP));
        table.set_truncation_indicator("…");
        let contents = table.column_max_content_widths();
        for ((column, (_, about)), content) in table.column_iter_mut().zip(used).zip(contents) {
            column.set_constraint(if about.when_narrow == WhenNarrow::Keep {
                ColumnConstraint::ContentWidth
            } else {
                // A long name must not take the room of the other columns.
                let most = (width / 5 * 2).max(NARROWEST);
                ColumnConstraint::Boundaries {
                    lower: Width::Fixed(content.min(NARROWEST) + GAP),
                    upper: Width::Fixed(content.min(most) + GAP),
                }
            });
        }
        table
    }

    pub(crate) fn print(&self) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        for Line { style, text, .. } in self.lines(terminal_width()) {
            writeln!(out, "{style}{text}{style:#}")?;
        }
        out.flush()
    }
}

fn cell(row: &[String], at: usize) -> &str {
    row.get(at).map_or("", String::as_str)
}

/// The width of the terminal, if standard output is one.
fn terminal_width() -> Option<u16> {
    io::stdout()
        .is_terminal()
        .then(terminal_size::terminal_size)
        .flatten()
        .map(|(width, _)| width.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([
            Column::cut("NAME"),
            Column::whole("ADDRESS"),
            Column::below("WHY"),
            Column::whole("ZONE"),
            Column::cut("TAGS"),
        ]);
        let cells = |cells: [&str; 5]| cells.map(str::to_owned);
        table.push(cells(["A", "10.0.0.1:1", "", "", "x"]), Style::new());
        let why = "overdue for 5s";
        let tags = "one,two,three,four,five,six";
        table.push(cells(["日本", "10.0.0.2:18861", why, "", tags]), Style::new().italic());
        table.push(cells(["B\n\x1b", "10.0.0.3:1", "", "", ""]), Style::new());
        table
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_wide_terminal_shows_one_line_a_row_without_empty_columns() {
        for width in [None, Some(70)] {
            assert_eq!(
                texts(&table().lines(width)),
                [
                    "NAME       ADDRESS         WHY             TAGS",
                    "A          10.0.0.1:1                      x",
                    "日本       10.0.0.2:18861  overdue for 5s  one,two,three,four,five,six",
                    "B\\n\\u{1b}  10.0.0.3:1",
                ]
            );
        }
    }

    #[test]
    fn a_narrow_terminal_cuts_cells_and_moves_reasons_below() {
        let lines = table().lines(Some(40));
        assert_eq!(
            texts(&lines),
            [
                "NAME       ADDRESS         TAGS",
                "A          10.0.0.1:1      x",
                "日本       10.0.0.2:18861  one,two,thre…",
                "  `- overdue for 5s",
                "B\\n\\u{1b}  10.0.0.3:1",
            ]
        );
        assert_eq!(lines.iter().map(|line| line.rows).collect::<Vec<_>>(), [0, 1, 2, 2, 3]);
        let italic = Style::new().italic();
        let is_italic: Vec<_> = lines.iter().map(|line| line.style == italic).collect();
        assert_eq!(is_italic, [false, false, true, true, false]);
    }
}
