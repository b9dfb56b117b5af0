//! Control of the terminal while it shows a live table.

use std::fmt::Write as _;
use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};

use super::view::View;
use crate::output;

/// Switches to the alternate screen, hides the cursor and disables line wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
/// Sent before a line. After a line that fills the terminal it would erase the last character.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// The assumed size of a terminal that does not report one.
const SIZE: (u16, u16) = (80, 24);

/// The alternate screen. Dropping it restores the terminal.
#[derive(Debug)]
pub(super) struct Screen {
    out: AutoStream<io::Stdout>,
    has_colours: bool,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let has_colours = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        // Cursor control must work without colours too.
        let mut out = AutoStream::always(io::stdout());
        out.write_all(ENTER.as_bytes())?;
        Ok(Self { out, has_colours })
    }

    /// Draws over the last frame without clearing the screen, so that the screen does not flicker.
    pub(super) fn draw(&mut self, view: &View) -> io::Result<()> {
        let (width, height) = terminal_size::terminal_size()
            .map_or(SIZE, |(width, height)| (width.0.max(1), height.0.max(1)));
        let mut frame = HOME.to_owned();
        for (place, (style, line)) in view.lines(width, height.into()).into_iter().enumerate() {
            let line = output::printable(&line);
            let end = if place == 0 { "" } else { "\r\n" };
            // Writing to a string does not fail.
            let _ = if self.has_colours {
                write!(frame, "{end}{CLEAR_LINE}{style}{line}{style:#}")
            } else {
                write!(frame, "{end}{CLEAR_LINE}{line}")
            };
        }
        frame.push_str(CLEAR_BELOW);
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = self.out.write_all(LEAVE.as_bytes()).and_then(|()| self.out.flush());
    }
}
