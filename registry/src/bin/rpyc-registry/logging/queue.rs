//! The queue between the threads that log and the thread that writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing_subscriber::fmt::MakeWriter;

use crate::cli::LogFormat;
use crate::output;

/// The most lines that wait to be written.
const LINES: usize = 4096;

/// The most bytes of the lines that wait.
const BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) enum Message {
    Line(Vec<u8>),
    /// A flag of [`Shared`] has changed.
    Wake,
}

/// What both ends of the queue see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The bytes of the lines that wait.
    pub(super) bytes: AtomicUsize,
    /// The lines that were lost and not yet reported.
    pub(super) lost: AtomicU64,
    /// Whether the file must be opened again.
    pub(super) reopens: AtomicBool,
    /// Whether the program ends.
    pub(super) ends: AtomicBool,
}

/// Accepts lines without waiting.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: SyncSender<Message>,
    shared: Arc<Shared>,
    format: LogFormat,
}

impl Queue {
    pub(super) fn new(format: LogFormat) -> (Self, Receiver<Message>) {
        let (sender, messages) = sync_channel(LINES);
        (Self { sender, shared: Arc::default(), format }, messages)
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(super) fn reopen(&self) {
        self.shared.reopens.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn end(&self) {
        self.shared.ends.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // If the queue is full, the thread is awake.
        let _ = self.sender.try_send(Message::Wake);
    }

    fn push(&self, line: Vec<u8>) {
        let (shared, len) = (&self.shared, line.len());
        let has_room = shared.bytes.fetch_add(len, Ordering::Relaxed) + len <= BYTES;
        if !has_room || self.sender.try_send(Message::Line(line)).is_err() {
            shared.bytes.fetch_sub(len, Ordering::Relaxed);
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl io::Write for &Queue {
    /// Takes one event, which the formatter writes at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.push(match self.format {
            LogFormat::Text => event.to_vec(),
            LogFormat::Json => {
                output::json_text(&String::from_utf8_lossy(event)).into_owned().into_bytes()
            }
        });
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_full_queue_drops_lines_and_counts_them() {
        let (queue, messages) = Queue::new(LogFormat::Text);
        for _ in 0..LINES + 7 {
            (&queue).write_all(b"line\n").unwrap();
        }
        let shared = queue.shared();
        assert_eq!(shared.lost.load(Ordering::Relaxed), 7);
        assert_eq!(messages.try_iter().count(), LINES);
        shared.bytes.store(0, Ordering::Relaxed);
        let long = vec![b'x'; BYTES / 2];
        for _ in 0..3 {
            (&queue).write_all(&long).unwrap();
        }
        assert_eq!(messages.try_iter().count(), 2);
        assert_eq!(shared.lost.load(Ordering::Relaxed), 8);
        assert_eq!(shared.bytes.load(Ordering::Relaxed), long.len() * 2);
    }
}
