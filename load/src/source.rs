//! A socket of one of the simulated hosts.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use socket2::SockRef;

use crate::error::LoadError;
use crate::window::Window;

/// The size of the receive buffer: the replies of several windows. The system may grant less.
const RECEIVE_BUFFER: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Source {
    /// Its number among all sources. It sends for every n-th instance from this one on, where n is
    /// the number of sources.
    pub(crate) number: u32,
    pub(crate) socket: UdpSocket,
    pub(crate) window: Window,
    /// When the first request of the window was sent.
    pub(crate) sent_at: Option<Instant>,
    host: Option<Ipv4Addr>,
    target: SocketAddr,
}

impl Source {
    /// A source that sends to `target`, from the address `host` if there is one.
    pub(crate) fn new(
        number: u32,
        host: Option<Ipv4Addr>,
        target: SocketAddr,
    ) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Socket { target, host, source };
        let socket = connect(host, target).map_err(failed)?;
        Ok(Self { number, socket, window: Window::default(), sent_at: None, host, target })
    }

    /// Continues from another port, which no late reply reaches.
    pub(crate) fn renew(&mut self) -> Result<(), LoadError> {
        *self = Self::new(self.number, self.host, self.target)?;
        Ok(())
    }
}

/// A socket that receives from the target only. The system refuses to connect it to a broadcast
/// address.
fn connect(host: Option<Ipv4Addr>, target: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => host.unwrap_or(Ipv4Addr::UNSPECIFIED).into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => io::Error::new(
            error.kind(),
            "the system does not allow it; it may be the broadcast address of a network",
        ),
        _ => error,
    })?;
    socket.set_nonblocking(true)?;
    // A smaller buffer may lose replies, and the report counts those as lost.
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket)
}
