//! Linux: uses packet information, so that an answer leaves from the address that was asked.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll};
use std::time::Duration;

use arrayvec::ArrayVec;
use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrLike,
    SockaddrStorage, recvmmsg, recvmsg, sendmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::Socket;
use tokio::io::Interest;
use tokio::net::{TcpStream, UdpSocket};

use super::batch::{BATCH, Inbox, Outbox, Source, send_all};
use super::interfaces::Interfaces;
use super::{Incoming, Outgoing};
use crate::limits::MAX_REQUEST;

/// A bound UDP socket that reports the local address and interface of each datagram.
#[derive(Debug)]
pub(crate) struct DatagramSocket {
    socket: UdpSocket,
    /// The one IPv4 address that it is bound to, if any: every answer leaves from there.
    bound_to: Option<IpAddr>,
    is_ipv6: bool,
}

impl DatagramSocket {
    /// Takes over a bound socket.
    pub(crate) fn new(socket: StdUdpSocket) -> io::Result<Self> {
        let ip = socket.local_addr()?.ip();
        let is_ipv6 = ip.is_ipv6();
        let bound_to = Some(ip).filter(|ip| ip.is_ipv4() && !ip.is_unspecified());
        // A dual-stack socket reports an IPv4 datagram in the form of IPv4.
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        if is_ipv6 {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, bound_to, is_ipv6 })
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
        inbox.came.clear();
        let mut is_empty = true;
        let received = self.socket.try_io(Interest::READABLE, || {
            self.recv(inbox)?;
            is_empty = inbox.close();
            // A short batch has emptied the socket, so the task must wait for new datagrams.
            // Another system call would only confirm that.
            if is_empty { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match received {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(is_empty),
        }
    }

    /// Like [`DatagramSocket::try_recv`], but asks the system even if it has announced no datagram.
    pub(crate) fn recv_now(&self, inbox: &mut Inbox) -> io::Result<bool> {
        inbox.came.clear();
        match self.recv(inbox) {
            Ok(()) => Ok(inbox.close()),
            Err(nix::errno::Errno::EAGAIN) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn recv(&self, inbox: &mut Inbox) -> nix::Result<()> {
        // Allocated for each call: a system call writes into them how much of the control buffer
        // was used, and nix takes that for its size in the next call.
        let control = cmsg_space!(u32, in_pktinfo, in6_pktinfo, TimeSpec);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(inbox.ready, Some(control));
        let mut came = std::mem::take(&mut inbox.came);
        let mut dropped = None;
        let mut left = inbox.rooms();
        let mut rooms: [_; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(left.next().unwrap_or_default())]);
        drop(left);
        let fd = self.socket.as_raw_fd();
        let received = recvmmsg(fd, &mut headers, &mut rooms, MsgFlags::empty(), None);
        let received = received.map(|messages| {
            came.extend(messages.map(|message| to_incoming(&message, &mut dropped)));
        });
        inbox.came = came;
        if let Some(dropped) = dropped {
            inbox.note_dropped(dropped);
        }
        received
    }

    /// Sends and empties the outbox; reports the answers that could not be sent.
    pub(crate) fn send(&self, outbox: &mut Outbox, mut failed: impl FnMut(Outgoing, &io::Error)) {
        outbox.drain(|source, answers, bytes| {
            // Setting a source that the socket has anyway costs a twentieth of a datagram's time.
            let is_given = source.0.is_some() && source.0 == self.bound_to;
            let source = if is_given { (None, 0) } else { source };
            let parts: ArrayVec<[IoSlice<'_>; 1], BATCH> =
                answers.iter().map(|answer| [IoSlice::new(answer.bytes(bytes))]).collect();
            let goals: ArrayVec<Option<SockaddrStorage>, BATCH> =
                answers.iter().map(|answer| Some(self.goal(answer.way.to))).collect();
            let send_from = |at| {
                let parts = parts.get(at..).unwrap_or_default();
                let goals = goals.get(at..).unwrap_or_default();
                HEADERS.with_borrow_mut(|headers| {
                    headers.send(self.socket.as_raw_fd(), source, parts, goals)
                })
            };
            send_all(answers.len(), send_from, |at, error| {
                if let Some(answer) = answers.get(at) {
                    failed(answer.way, error);
                }
            });
        });
    }

    fn goal(&self, to: SocketAddr) -> SockaddrStorage {
        match to {
            SocketAddr::V4(to) if self.is_ipv6 => {
                SocketAddr::from((to.ip().to_ipv6_mapped(), to.port())).into()
            }
            to => to.into(),
        }
    }
}

thread_local! {
    /// Headers for everything that this thread sends, because allocating them is slow. They belong
    /// to a thread and not to a socket, because they contain pointers.
    static HEADERS: RefCell<Headers> = RefCell::new(Headers::new());
}

/// The headers of the sending system calls, for each kind of source address.
struct Headers {
    v4: MultiHeaders<SockaddrStorage>,
    v6: MultiHeaders<SockaddrStorage>,
    /// For answers whose source the system chooses.
    any: MultiHeaders<SockaddrStorage>,
}

impl Headers {
    fn new() -> Self {
        Self {
            v4: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(in_pktinfo))),
            v6: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(in6_pktinfo))),
            any: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Sends from one address; returns how many were sent before the first failure.
    fn send(
        &mut self,
        fd: RawFd,
        (from, link): Source,
        parts: &[[IoSlice<'_>; 1]],
        goals: &[Option<SockaddrStorage>],
    ) -> io::Result<usize> {
        let flags = MsgFlags::empty();
        let sent = match from {
            Some(IpAddr::V4(ip)) => {
                let none = in_addr { s_addr: 0 };
                let from = in_addr { s_addr: u32::from(ip).to_be() };
                let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: none };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmmsg(fd, &mut self.v4, parts, goals, control, flags)?.count()
            }
            Some(IpAddr::V6(ip)) => {
                let from = in6_addr { s6_addr: ip.octets() };
                let info = in6_pktinfo { ipi6_addr: from, ipi6_ifindex: link };
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                sendmmsg(fd, &mut self.v6, parts, goals, control, flags)?.count()
            }
            None => sendmmsg(fd, &mut self.any, parts, goals, [], flags)?.count(),
        };
        Ok(sent)
    }
}

/// Waits for the first bytes of a connection, without reading them. Returns when the system
/// received them, by the wall clock, if [`stamp_connections`] was called for the listener.
///
/// Cancel safe.
pub(crate) async fn stamp_of_first_bytes(stream: &TcpStream) -> Option<Duration> {
    let peek = || {
        let mut byte = [0];
        let mut room = [IoSliceMut::new(&mut byte)];
        let mut control = cmsg_space!(TimeSpec);
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let peeked = recvmsg::<()>(stream.as_raw_fd(), &mut room, Some(&mut control), flags)?;
        let stamp = peeked.cmsgs()?.find_map(|info| match info {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp.into()),
            _ => None,
        });
        Ok(stamp.filter(|_| peeked.bytes > 0))
    };
    stream.async_io(Interest::READABLE, peek).await.ok()?
}

/// Makes the system stamp the bytes that a listener's connections receive.
pub(crate) fn stamp_connections(listener: &Socket) {
    // Without stamps, a request counts as received when it is read.
    let _ = setsockopt(listener, sockopt::ReceiveTimestampns, &true);
}

/// Converts a received datagram. Sets `dropped` to the system's count of dropped datagrams, if it
/// reports one.
fn to_incoming(message: &RecvMsg<'_, '_, SockaddrStorage>, dropped: &mut Option<u32>) -> Incoming {
    let source = message.address.as_ref().and_then(to_socket_addr);
    let was_cut = message.flags.contains(MsgFlags::MSG_TRUNC);
    let mut incoming = Incoming {
        len: if was_cut { MAX_REQUEST + 1 } else { message.bytes },
        // A UDP socket always reports a source; an answer to this one would go nowhere.
        source: source.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into()),
        reached: None,
        link: 0,
        is_for_all: false,
        stamp: Duration::ZERO,
    };
    for info in message.cmsgs().into_iter().flatten() {
        match info {
            ControlMessageOwned::RxqOvfl(count) => *dropped = Some(count),
            ControlMessageOwned::ScmTimestampns(stamp) => incoming.stamp = stamp.into(),
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                incoming.reached = Some(to_ipv4(info.ipi_spec_dst).into());
                incoming.link = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                incoming.is_for_all = info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
                // IPv6 also describes this datagram, but less exactly.
                break;
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                incoming.reached = (!ip.is_multicast()).then_some(ip.into());
                incoming.link = info.ipi6_ifindex;
                incoming.is_for_all = ip.is_multicast();
            }
            _ => {}
        }
    }
    incoming
}

fn to_socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    let v6 = address.as_sockaddr_in6().filter(|v6| v6.len() > 0)?;
    let v6 = std::net::SocketAddrV6::from(*v6);
    match v6.ip().to_ipv4_mapped() {
        Some(v4) => Some(SocketAddr::from((v4, v6.port()))),
        None => Some(SocketAddr::V6(v6)),
    }
}

fn to_ipv4(address: in_addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from_be(address.s_addr))
}

/// The addresses to bind in addition to `ip` in order to receive broadcasts on its network: a
/// socket bound to one address receives only datagrams for that address. Each comes with the
/// interface whose broadcasts count.
pub(crate) fn broadcast_addresses(ip: IpAddr, interfaces: &Interfaces) -> Vec<(Ipv4Addr, u32)> {
    match interfaces.broadcast_of(ip) {
        Some((broadcast, link)) => vec![(broadcast, link), (Ipv4Addr::BROADCAST, link)],
        None => Vec::new(),
    }
}

/// Enlarges the receive buffer to `bytes`, or as far as the system allows: it exceeds
/// `net.core.rmem_max` only with privileges.
pub(crate) fn enlarge_receive_buffer(socket: &Socket, bytes: usize) {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        // Linux limits this to the allowed maximum.
        let _ = socket.set_recv_buffer_size(bytes);
    }
}

/// The remedy for a small receive buffer.
pub(crate) const RECEIVE_BUFFER_REMEDY: &str = "raise the limit with `sysctl net.core.rmem_max`";

/// Allows further sockets of this process to bind the address of this one.
pub(crate) fn share_address(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

pub(crate) use super::steering::steer;

/// The most sockets that serve one address.
pub(crate) const MOST_SOCKETS: usize = 8;

/// Raises the limit of open files as far as the system allows; returns the new limit.
pub(crate) fn raise_open_files() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Some(hard);
    }
    Some(soft)
}
