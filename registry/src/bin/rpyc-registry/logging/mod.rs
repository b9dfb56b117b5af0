//! The log of the daemon: its destination and format.
//!
//! Logging never blocks. One thread writes the lines; a line that finds no room in its queue is
//! dropped and counted. So a pipe without a reader, or a disk that hangs, costs lines of the log
//! and never a request.

mod escape;
mod queue;
mod writer;

use std::io::{self, IsTerminal};
use std::panic;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tracing::level_filters::LevelFilter;
use tracing::{error, warn};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::debug_fn;

use self::queue::Queue;
use self::writer::{Destination, Writer};
use crate::cli::{LogFormat, LogLevel};
use crate::{advice, output};

/// How long the start waits for the log file to open.
const OPEN_PATIENCE: Duration = Duration::from_secs(2);

/// How long the end waits until the lines are written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// The running log.
#[derive(Debug)]
pub(crate) struct Log {
    queue: Queue,
    /// Receives a message when every line has been written after [`Queue::end`].
    flushed: Receiver<()>,
    is_file: bool,
}

/// Reopens the log file.
#[derive(Clone, Debug)]
pub(crate) struct Reopener(Queue);

/// Starts logging to `file`, or to standard error without one.
///
/// # Errors
/// The system cannot open the file.
pub(crate) fn start(
    level: LogLevel,
    format: LogFormat,
    file: Option<&Path>,
) -> anyhow::Result<Log> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let (queue, messages) = Queue::new(format);
    let (tell_flushed, flushed) = sync_channel(1);
    let destination = file.map_or(Destination::StandardError, |path| path.to_owned().into());
    // Without a buffer, the thread knows whether its message has arrived.
    let (opened, is_open) = sync_channel(0);
    let shared = queue.shared();
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            // Opening can hang like writing, so this thread opens the file too.
            if let Some(writer) = Writer::open(destination, &opened) {
                writer.run(&shared, &messages, &tell_flushed);
            }
        })
        .context("cannot start the thread of the log")?;
    let is_open = match is_open.recv_timeout(OPEN_PATIENCE) {
        Err(RecvTimeoutError::Timeout) => false,
        opened => opened.context("the thread of the log ended")?.map(|()| true)?,
    };
    subscribe(level, format, file.is_none(), queue.clone());
    panic::set_hook(Box::new(|panic| error!(%panic, "a task of the registry panicked")));
    if !is_open {
        let waited = humantime::format_duration(OPEN_PATIENCE);
        warn!(%waited, "the log file does not open; its lines wait until it does");
    }
    Ok(Log { queue, flushed, is_file: file.is_some() })
}

fn subscribe(level: LevelFilter, format: LogFormat, is_standard_error: bool, queue: Queue) {
    let colours = is_standard_error
        && io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .log_internal_errors(false)
        .with_writer(queue);
    match format {
        LogFormat::Text => {
            let fields = debug_fn(escape::field).delimited(" ");
            log.fmt_fields(fields).with_ansi(colours).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

impl Log {
    /// A handle that reopens the log file, as after a rotation.
    pub(crate) fn reopener(&self) -> Reopener {
        Reopener(self.queue.clone())
    }

    /// Logs an error that ends the program. If the log is a file, standard error gets it too.
    pub(crate) fn fail(&self, error: &anyhow::Error) {
        let message = advice::message(error);
        error!("{message}");
        if self.is_file {
            // Standard error may be a pipe without a reader.
            let (tell, is_told) = sync_channel(1);
            thread::spawn(move || {
                output::problem(&message);
                let _ = tell.send(());
            });
            let _ = is_told.recv_timeout(FLUSH_PATIENCE);
        }
    }

    /// Waits for a short time until all lines are written.
    pub(crate) fn finish(self) {
        self.queue.end();
        let _ = self.flushed.recv_timeout(FLUSH_PATIENCE);
    }
}

impl Reopener {
    /// Asks the thread of the log to open the file by its name again. Later lines go there; if it
    /// cannot be opened, they go on to the old file, and the log says so.
    pub(crate) fn reopen(&self) {
        self.0.reopen();
    }
}
