//! Batches of datagrams with `sendmmsg` and `recvmmsg`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use arrayvec::ArrayVec;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg};

use super::ANSWER;
use crate::window::MAX_WINDOW;

/// The most replies that one call receives.
const TAKEN: usize = 64;

/// Buffers that all sockets of a thread use in turn.
pub(crate) struct Batch {
    buffer: Vec<u8>,
    received: MultiHeaders<()>,
    sent: MultiHeaders<()>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; TAKEN * ANSWER],
            received: MultiHeaders::preallocate(TAKEN, None),
            sent: MultiHeaders::preallocate(MAX_WINDOW, None),
        }
    }

    /// Sends as many datagrams as the socket accepts and returns how many.
    pub(crate) fn send<'m>(
        &mut self,
        socket: &UdpSocket,
        mut messages: impl ExactSizeIterator<Item = &'m [u8]>,
    ) -> io::Result<usize> {
        if messages.len() == 1 {
            return messages.next().map_or(Ok(0), |message| socket.send(message).map(|_| 1));
        }
        let parts: ArrayVec<[IoSlice<'_>; 1], MAX_WINDOW> =
            messages.take(MAX_WINDOW).map(|message| [IoSlice::new(message)]).collect();
        let to = [None; MAX_WINDOW];
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        Ok(sendmmsg(fd, &mut self.sent, &parts, to, [], flags)?.count())
    }

    /// Receives the datagrams that have arrived, about `expected` at most, and returns how many.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        expected: usize,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        if expected == 1 {
            let len = socket.recv(&mut self.buffer)?;
            take(self.buffer.get(..len).unwrap_or_default());
            return Ok(1);
        }
        let mut rooms = self.buffer.chunks_exact_mut(ANSWER);
        let mut parts: [[IoSliceMut<'_>; 1]; TAKEN] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let wanted = parts.iter_mut().take(expected);
        let received = recvmmsg(fd, &mut self.received, wanted, flags, None)?;
        let lens: ArrayVec<usize, TAKEN> = received.map(|message| message.bytes).collect();
        for (room, len) in self.buffer.chunks_exact(ANSWER).zip(&lens) {
            take(room.get(..*len).unwrap_or_default());
        }
        Ok(lens.len())
    }
}
