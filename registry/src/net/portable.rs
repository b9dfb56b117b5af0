//! Every other system: the system chooses the source address of an answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};

use super::batch::{Inbox, Outbox, send_all};
use super::clocks::wall_clock;
use super::interfaces::Interfaces;
use super::{Incoming, Outgoing};
use crate::limits::MAX_REQUEST;

/// A bound UDP socket.
#[derive(Debug)]
pub(crate) struct DatagramSocket {
    socket: UdpSocket,
    /// The one address that it is bound to, if any.
    bound_to: Option<IpAddr>,
    is_ipv6: bool,
}

impl DatagramSocket {
    /// Takes over a bound socket.
    pub(crate) fn new(socket: StdUdpSocket) -> io::Result<Self> {
        let ip = socket.local_addr()?.ip();
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            bound_to: (!ip.is_unspecified()).then_some(ip),
            is_ipv6: ip.is_ipv6(),
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Whether it receives datagrams for every IPv6 address of this machine.
    pub(crate) fn is_ipv6_wildcard(&self) -> bool {
        self.local_addr().is_ok_and(|address| address.is_ipv6() && address.ip().is_unspecified())
    }

    /// Joins the multicast group `group` on the interface `link`.
    pub(crate) fn join(&self, group: Ipv6Addr, link: u32) -> io::Result<()> {
        self.socket.join_multicast_v6(&group, link)
    }

    /// Completes when there may be a datagram. Wakes the last task that polled.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(cx)
    }

    /// Receives waiting datagrams, as many as fit; returns whether none are left.
    pub(crate) fn try_recv(&self, inbox: &mut Inbox) -> io::Result<bool> {
        let mut came = std::mem::take(&mut inbox.came);
        came.clear();
        let ready = inbox.ready;
        let mut failure = None;
        for room in inbox.rooms().take(ready) {
            match self.recv(room) {
                Ok(incoming) => came.push(incoming),
                Err(error) => {
                    failure = Some(error).filter(|it| it.kind() != io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        // Datagrams before an error are served; a lasting error recurs in the next call.
        let failure = failure.filter(|_| came.is_empty());
        inbox.came = came;
        let is_empty = inbox.close();
        failure.map_or(Ok(is_empty), Err)
    }

    /// Like [`DatagramSocket::try_recv`].
    pub(crate) fn recv_now(&self, inbox: &mut Inbox) -> io::Result<bool> {
        self.try_recv(inbox)
    }

    fn recv(&self, buffer: &mut [u8]) -> io::Result<Incoming> {
        let (len, source) = match self.socket.try_recv_from(buffer) {
            Ok(received) => received,
            // Some systems report an earlier answer that was rejected as an error of receiving.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(error) => return Err(error),
        };
        // A full buffer may have been too small.
        let len = if len == buffer.len() { MAX_REQUEST + 1 } else { len };
        let source = match source {
            SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
                Some(v4) => SocketAddr::from((v4, v6.port())),
                None => source,
            },
            SocketAddr::V4(_) => source,
        };
        let reached = self.bound_to.or_else(|| {
            // The route back is the best guess at the local address.
            if source.ip().is_loopback() { Some(source.ip()) } else { route_source(source) }
        });
        let link = match source {
            SocketAddr::V6(source) => source.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        Ok(Incoming { len, source, reached, link, is_for_all: false, stamp: wall_clock() })
    }

    /// Sends and empties the outbox; reports the answers that could not be sent.
    pub(crate) fn send(&self, outbox: &mut Outbox, mut failed: impl FnMut(Outgoing, &io::Error)) {
        let socket = socket2::SockRef::from(&self.socket);
        outbox.drain(|_, answers, bytes| {
            let send_one = |at: usize| {
                let Some(answer) = answers.get(at) else { return Ok(0) };
                let to = match answer.way.to {
                    SocketAddr::V4(to) if self.is_ipv6 => {
                        SocketAddr::from((to.ip().to_ipv6_mapped(), to.port()))
                    }
                    to => to,
                };
                socket.send_to(answer.bytes(bytes), &to.into()).map(|_| 1)
            };
            send_all(answers.len(), send_one, |at, error| {
                if let Some(answer) = answers.get(at) {
                    failed(answer.way, error);
                }
            });
        });
    }
}

/// When the first bytes of a connection arrived; not available here.
pub(crate) fn stamp_of_first_bytes(_: &TcpStream) -> impl Future<Output = Option<Duration>> {
    std::future::ready(None)
}

/// Makes the system stamp the bytes of a listener's connections, where it can.
pub(crate) fn stamp_connections(_: &socket2::Socket) {}

/// The addresses to bind in order to receive broadcasts: not every system can bind them.
pub(crate) fn broadcast_addresses(_: IpAddr, _: &Interfaces) -> Vec<(Ipv4Addr, u32)> {
    Vec::new()
}

/// Enlarges the receive buffer to `bytes`, if the system allows.
pub(crate) fn enlarge_receive_buffer(socket: &socket2::Socket, bytes: usize) {
    // Some systems reject a large size instead of limiting it.
    let halves = std::iter::successors(Some(bytes), |bytes| Some(bytes / 2));
    let _ = halves.take(6).find(|bytes| socket.set_recv_buffer_size(*bytes).is_ok());
}

/// The remedy for a small receive buffer.
pub(crate) const RECEIVE_BUFFER_REMEDY: &str =
    "raise the system's limit for the buffer of a socket";

/// Allows several sockets to share an address; not supported here.
pub(crate) fn share_address(_: &socket2::Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Steers each host's datagrams to one of the sockets that share an address; not supported here.
pub(crate) fn steer(_: &socket2::Socket, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The most sockets that serve one address.
pub(crate) const MOST_SOCKETS: usize = 1;

/// Raises the limit of open files; not supported here.
pub(crate) fn raise_open_files() -> Option<u64> {
    None
}

/// The address from which this machine would send to `peer`; sends no packet.
fn route_source(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = StdUdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|address| address.ip().to_canonical())
}
