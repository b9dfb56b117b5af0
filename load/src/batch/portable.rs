//! One datagram for each system call.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;

use super::ANSWER;

/// The buffer that all sockets of a thread use in turn.
pub(crate) struct Batch {
    buffer: Vec<u8>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; ANSWER] }
    }

    /// Sends as many datagrams as the socket accepts and returns how many.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "as on Linux, where headers are kept")]
    pub(crate) fn send<'m>(
        &mut self,
        socket: &UdpSocket,
        messages: impl ExactSizeIterator<Item = &'m [u8]>,
    ) -> io::Result<usize> {
        repeat(messages, |message| socket.send(message).map(|_| ()))
    }

    /// Receives the datagrams that have arrived, `expected` at most, and returns how many.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        expected: usize,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        repeat(0..expected, |_| {
            let len = socket.recv(&mut self.buffer)?;
            take(self.buffer.get(..len).unwrap_or_default());
            Ok(())
        })
    }
}

/// Calls `once` for each item until it fails, and returns how often it succeeded; an error only if
/// the first call fails.
fn repeat<T>(
    items: impl IntoIterator<Item = T>,
    mut once: impl FnMut(T) -> io::Result<()>,
) -> io::Result<usize> {
    let mut count = 0;
    for item in items {
        match once(item) {
            Ok(()) => count += 1,
            Err(error) if count == 0 => return Err(error),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // A lasting error returns at the next call.
            Err(_) => break,
        }
    }
    Ok(count)
}
