//! Text of the server's on a terminal of this program's.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// Writes text that comes from the server. On a terminal it appears as text, whatever it holds.
pub(super) fn write(mut out: impl Write + IsTerminal, text: &str) -> io::Result<()> {
    let text = if out.is_terminal() { printable(text) } else { text.into() };
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Escapes the characters that a terminal acts on, but for the ends of lines and tabs: control
/// characters, and those that change the direction of the text after them.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let is_line_end = character == '\r' && characters.peek() == Some(&'\n');
        if is_active(character) && !is_line_end {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown.into()
}

fn is_active(character: char) -> bool {
    let is_harmless = matches!(character, '\n' | '\t');
    character.is_control() && !is_harmless
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_text_and_nothing_to_act_on() {
        let check = |text: &str, shown: &str| assert_eq!(printable(text), shown, "{text:?}");
        check("a\tb\nc\r\n日本", "a\tb\nc\r\n日本");
        check("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}");
        check("50%\r", "50%\\u{d}");
        check("a\u{9b}2Jb\x08\x7f", "a\\u{9b}2Jb\\u{8}\\u{7f}");
        check("a\u{202e}b", "a\\u{202e}b");
    }
}
