//! Escapes text in the log, because clients choose much of it.

use std::fmt;

use tracing::field::Field;
use tracing_subscriber::fmt::format::Writer;

use crate::output;

/// Writes a field of a text line: the message alone, or `name=value`.
pub(super) fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = output::printable(&format!("{value:?}"));
    match field.name() {
        "message" => writer.write_str(&value),
        name if writer.has_ansi_escapes() => {
            let (name_style, sign) =
                (anstyle::Style::new().italic(), anstyle::Style::new().dimmed());
            write!(writer, "{name_style}{name}{name_style:#}{sign}={sign:#}{value}")
        }
        name => write!(writer, "{name}={value}"),
    }
}
