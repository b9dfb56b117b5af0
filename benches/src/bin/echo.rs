//! A bare echo over UDP, the upper bound for a registry: it does not parse requests, and answers
//! the same bytes each time, as many as a registry would. See `benches/registry.py`.
#![expect(clippy::print_stdout, reason = "it prints its port")]

use std::net::UdpSocket;

use anyhow::Context;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    /// The bytes of the answer, in hexadecimal
    #[arg(long)]
    reply: String,
    /// Receive and send many datagrams by one system call, where the system can
    #[arg(long)]
    batch: bool,
}

/// The size of the buffer for a request.
const REQUEST: usize = 2048;

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let reply: Option<Vec<u8>> = (0..cli.reply.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(cli.reply.get(at..at + 2)?, 16).ok())
        .collect();
    let reply = reply.context("the reply is not hexadecimal")?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    println!("READY {}", socket.local_addr()?.port());
    if cli.batch { batch::serve(&socket, &reply) } else { serve(&socket, &reply) }
}

fn serve(socket: &UdpSocket, reply: &[u8]) -> anyhow::Result<()> {
    let mut request = [0; REQUEST];
    loop {
        let (_, from) = socket.recv_from(&mut request)?;
        socket.send_to(reply, from)?;
    }
}

#[cfg(target_os = "linux")]
mod batch {
    use std::array::from_fn;
    use std::io::{IoSlice, IoSliceMut};
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

    /// Datagrams in one call.
    const BATCH: usize = 64;

    pub(super) fn serve(socket: &UdpSocket, reply: &[u8]) -> anyhow::Result<()> {
        let fd = socket.as_raw_fd();
        let mut buffer = vec![0; BATCH * super::REQUEST];
        let mut received = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        let mut sent = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        let replies: [[IoSlice<'_>; 1]; BATCH] = from_fn(|_| [IoSlice::new(reply)]);
        loop {
            let mut rooms = buffer.chunks_exact_mut(super::REQUEST);
            let mut parts: [[IoSliceMut<'_>; 1]; BATCH] =
                from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
            let flags = MsgFlags::MSG_WAITFORONE;
            let (mut from, mut len) = ([None; BATCH], 0);
            for message in recvmmsg(fd, &mut received, parts.iter_mut(), flags, None)? {
                if let Some(slot) = from.get_mut(len) {
                    *slot = message.address;
                    len += 1;
                }
            }
            let mut start = 0;
            while start < len {
                let to = from.get(start..len).unwrap_or_default();
                let done = sendmmsg(fd, &mut sent, replies.iter(), to, [], MsgFlags::empty())?;
                start += done.count();
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod batch {
    pub(super) fn serve(socket: &std::net::UdpSocket, reply: &[u8]) -> anyhow::Result<()> {
        super::serve(socket, reply)
    }
}
