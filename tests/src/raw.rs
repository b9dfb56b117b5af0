//! Raw bytes on the wire, for tests that check every one of them.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::eventually::PATIENCE;
use crate::namespace::Host;

/// Decodes `text` from hexadecimal.
pub fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.unwrap_or_else(|| panic!("not hexadecimal: {text}"))
}

/// The bytes in hexadecimal, for messages of failures.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A UDP socket that sends and receives raw datagrams.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
}

impl Datagrams {
    /// Binds to `address` on this machine: loopback, with port 0.
    pub fn bind(address: SocketAddr) -> Self {
        assert!(address.ip().is_loopback(), "outside a namespace traffic stays on loopback");
        Self { socket: UdpSocket::bind(address).expect("loopback can be bound") }
    }

    /// Binds to `address` on `host`, and allows broadcasts.
    pub fn bind_on(host: &Host, address: SocketAddr) -> Self {
        let socket = host.enter(|| {
            let socket = UdpSocket::bind(address)?;
            socket.set_broadcast(true)?;
            io::Result::Ok(socket)
        });
        Self { socket: socket.unwrap_or_else(|error| panic!("cannot bind {address}: {error}")) }
    }

    /// The address the socket is bound to.
    pub fn local_address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// Sends one datagram.
    pub fn send(&self, bytes: &[u8], to: SocketAddr) {
        let sent = self.socket.send_to(bytes, to);
        assert!(sent.is_ok_and(|n| n == bytes.len()), "cannot send to {to}");
    }

    /// Returns the next datagram and its source, or `None` if none arrives `within` that time.
    pub fn receive(&self, within: Duration) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = vec![0; 65_536];
        self.socket.set_read_timeout(Some(within)).expect("a timeout above zero");
        let (n, source) = self.socket.recv_from(&mut buffer).ok()?;
        buffer.truncate(n);
        Some((buffer, source))
    }

    /// Sends `request` and waits for the reply and its source.
    #[track_caller]
    pub fn ask(&self, request: &[u8], to: SocketAddr) -> (Vec<u8>, SocketAddr) {
        self.send(request, to);
        let reply = self.receive(PATIENCE);
        reply.unwrap_or_else(|| panic!("no reply from {to} to {}", to_hex(request)))
    }
}

/// Sends `request` over a new TCP connection to loopback and reads until the peer closes it.
#[track_caller]
pub fn ask_tcp(request: &[u8], to: SocketAddr) -> Vec<u8> {
    assert!(to.ip().is_loopback(), "outside a namespace traffic stays on loopback");
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        io::Result::Ok(reply)
    };
    exchange().unwrap_or_else(|error| panic!("no reply from {to}, closed after it: {error}"))
}
