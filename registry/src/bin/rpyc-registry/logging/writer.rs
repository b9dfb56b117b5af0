//! The thread that writes the log, the only one that waits for its destination.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SendError, SyncSender, TryRecvError};

use anyhow::Context;
use tracing::{error, info};

use super::queue::{Message, Shared};

/// Where the log goes.
#[derive(Debug)]
pub(super) enum Destination {
    StandardError,
    File(PathBuf),
}

impl From<PathBuf> for Destination {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

/// Writes lines to the destination.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` for standard error.
    file: Option<(PathBuf, File)>,
    /// Whether the last write has failed.
    is_failing: bool,
    /// Whether the destination has the beginning of a line without its end.
    is_torn: bool,
}

impl Writer {
    /// Opens the destination and sends the result to `opened`. Without the file, returns nothing if
    /// the start has received the error; if it no longer waits, the log goes to standard error.
    pub(super) fn open(
        destination: Destination,
        opened: &SyncSender<anyhow::Result<()>>,
    ) -> Option<Self> {
        let file = match destination {
            Destination::StandardError => None,
            Destination::File(path) => match open(&path) {
                Ok(file) => Some((path, file)),
                Err(error) => match opened.send(Err(error)) {
                    Ok(()) => return None,
                    Err(SendError(unread)) => {
                        if let Err(error) = unread {
                            error!("{error:#}; the log goes to standard error");
                        }
                        None
                    }
                },
            },
        };
        let _ = opened.send(Ok(()));
        Some(Self { file, is_failing: false, is_torn: false })
    }

    /// Writes lines until the queue closes. Notifies `flushed` when the program ends and no
    /// line waits.
    pub(super) fn run(
        mut self,
        shared: &Shared,
        messages: &Receiver<Message>,
        flushed: &SyncSender<()>,
    ) {
        loop {
            let message = match messages.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    if self.reports_losses(shared) {
                        continue;
                    }
                    if shared.ends.load(Ordering::Acquire) {
                        let _ = flushed.try_send(());
                    }
                    let Ok(message) = messages.recv() else { return };
                    message
                }
            };
            if shared.reopens.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            if let Message::Line(line) = message {
                self.is_failing = self.write(&line).is_err();
                if self.is_failing {
                    shared.lost.fetch_add(1, Ordering::Relaxed);
                }
                shared.bytes.fetch_sub(line.len(), Ordering::Relaxed);
            }
        }
    }

    /// Logs how many lines are lost, once the destination accepts lines again. The line goes
    /// through the queue, which is empty. Returns whether there were any.
    fn reports_losses(&self, shared: &Shared) -> bool {
        let lines = if self.is_failing { 0 } else { shared.lost.swap(0, Ordering::Relaxed) };
        if lines > 0 {
            error!(lines, "lines of the log are lost, because it could not be written");
        }
        lines > 0
    }

    fn reopen(&mut self) {
        let Some((path, file)) = &mut self.file else { return };
        match open(path) {
            Ok(new) => {
                *file = new;
                self.is_torn = false;
                info!("reopened the log file");
            }
            Err(error) => error!("{error:#}; the old file stays in use"),
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().map(|(_, file)| file);
        let out: &mut dyn Write = match file {
            Some(file) => file,
            None => &mut io::stderr(),
        };
        if self.is_torn {
            out.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_torn = rest.len() < line.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("cannot open the log file {} (--logfile)", path.display()))
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::fd::OwnedFd;
    use std::sync::mpsc::sync_channel;
    use std::thread;
    use std::time::Duration;

    use tracing_subscriber::field::MakeExt;
    use tracing_subscriber::fmt::format::debug_fn;

    use super::super::escape;
    use super::super::queue::Queue;
    use super::*;
    use crate::cli::LogFormat;

    /// How long a test waits for what must happen.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn lost_lines_are_counted_and_reported_when_the_destination_accepts_lines_again() {
        let (reader, pipe) = io::pipe().unwrap();
        let (queue, messages) = Queue::new(LogFormat::Text);
        let fields = debug_fn(escape::field).delimited(" ");
        let log = tracing_subscriber::fmt().with_writer(queue.clone()).with_ansi(false);
        let log = log.fmt_fields(fields).finish();
        let (tell, flushed) = sync_channel(1);
        let shared = queue.shared();
        let file = Some((PathBuf::from("pipe"), File::from(OwnedFd::from(pipe))));
        let writer = Writer { file, is_failing: false, is_torn: false };
        // It never ends, like the thread of a program, because its own log holds the queue.
        let of_writer = queue.shared();
        thread::spawn(move || {
            tracing::subscriber::with_default(log, || writer.run(&of_writer, &messages, &tell));
        });
        let mut sent = 0;
        while shared.lost.load(Ordering::Relaxed) < 5 {
            (&queue).write_all(b"a line without a reader\n").unwrap();
            sent += 1;
        }
        let lost = shared.lost.load(Ordering::Relaxed);
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let mut read = 0;
        let report = loop {
            let line = lines.next().unwrap();
            if line.contains("ERROR") {
                break line;
            }
            read += 1;
        };
        assert!(report.ends_with(&format!("could not be written lines={lost}")), "{report}");
        assert_eq!(read + lost, sent);
        // A destination that has gone fails, which is a loss too, and stops nothing.
        drop(lines);
        (&queue).write_all(b"to nobody\n").unwrap();
        queue.end();
        flushed.recv_timeout(PATIENCE).unwrap();
        assert_eq!(shared.lost.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn text_that_others_chose_makes_no_line_and_no_control_character() {
        let (queue, messages) = Queue::new(LogFormat::Text);
        let log = tracing_subscriber::fmt().with_writer(queue).with_ansi(false);
        let log = log.fmt_fields(debug_fn(escape::field).delimited(" ")).finish();
        tracing::subscriber::with_default(log, || {
            let why = "x\n2020-01-01T00:00:00Z ERROR forged\u{1b}[2J\u{9b}2J\u{202e}\r";
            tracing::warn!(%why, name = why, other = ?why, "failing {why}");
        });
        let lines: Vec<_> = messages.try_iter().collect();
        let [Message::Line(line)] = &lines[..] else { panic!("{lines:?}") };
        let line = std::str::from_utf8(line).unwrap().strip_suffix('\n').unwrap();
        assert!(!line.contains(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
        assert_eq!(line.matches("forged\\u{1b}[2J").count(), 4, "{line:?}");
    }
}
