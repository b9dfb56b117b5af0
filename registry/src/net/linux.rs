//! Linux: packet information with every datagram, so that answers leave from the address asked.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrLike, SockaddrStorage, recvmsg, sendmsg,
    setsockopt, sockopt,
};
use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::interfaces::Interfaces;
use super::{Incoming, Outgoing};

/// A bound UDP socket that tells by which way each datagram came.
#[derive(Debug)]
pub(crate) struct DatagramSocket {
    socket: UdpSocket,
    is_ipv6: bool,
}

impl DatagramSocket {
    /// Takes over a bound socket.
    pub(crate) fn new(socket: StdUdpSocket) -> io::Result<Self> {
        let is_ipv6 = socket.local_addr()?.is_ipv6();
        // An IPv6 socket that also receives IPv4 tells of those datagrams in IPv4's way.
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        if is_ipv6 {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, is_ipv6 })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Whether it takes what is sent to any IPv6 address of this machine.
    pub(crate) fn is_ipv6_wildcard(&self) -> bool {
        self.local_addr().is_ok_and(|address| address.is_ipv6() && address.ip().is_unspecified())
    }

    /// Begins to hear what is sent to `group` on the interface `link`.
    pub(crate) fn join(&self, group: Ipv6Addr, link: u32) -> io::Result<()> {
        self.socket.join_multicast_v6(&group, link)
    }

    /// Waits until there may be a datagram.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Takes the next datagram, if there is one.
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Incoming> {
        self.socket.try_io(Interest::READABLE, || {
            let mut control = cmsg_space!(in_pktinfo, in6_pktinfo);
            let room = buffer.len();
            let mut parts = [IoSliceMut::new(buffer)];
            let fd = self.socket.as_raw_fd();
            let message =
                recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::empty())?;
            let source = message.address.as_ref().and_then(to_socket_addr);
            let source = source.ok_or(io::ErrorKind::InvalidData)?;
            let was_cut = message.flags.contains(MsgFlags::MSG_TRUNC);
            let len = if was_cut { room + 1 } else { message.bytes };
            let mut incoming = Incoming { len, source, reached: None, link: 0 };
            for info in message.cmsgs()? {
                match info {
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        incoming.reached = Some(to_ipv4(info.ipi_spec_dst).into());
                        incoming.link = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                        // More exact than what IPv6 says of the same datagram.
                        break;
                    }
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                        incoming.reached = (!ip.is_multicast()).then_some(ip.into());
                        incoming.link = info.ipi6_ifindex;
                    }
                    _ => {}
                }
            }
            Ok(incoming)
        })
    }

    /// Sends a datagram, if there is room for it.
    pub(crate) fn try_send(&self, bytes: &[u8], way: Outgoing) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        let parts = [IoSlice::new(bytes)];
        let mut v4 = in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr { s_addr: 0 },
            ipi_addr: in_addr { s_addr: 0 },
        };
        let mut v6 = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: [0; 16] }, ipi6_ifindex: 0 };
        let control = match way.from {
            Some(IpAddr::V4(ip)) => {
                v4.ipi_spec_dst.s_addr = u32::from(ip).to_be();
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            Some(IpAddr::V6(ip)) => {
                v6.ipi6_addr.s6_addr = ip.octets();
                // A link-local address means something on its link only.
                if ip.is_unicast_link_local() {
                    v6.ipi6_ifindex = way.link;
                }
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
            None => None,
        };
        let to = match way.to {
            SocketAddr::V4(to) if self.is_ipv6 => {
                SocketAddr::from((to.ip().to_ipv6_mapped(), to.port()))
            }
            to => to,
        };
        let to = SockaddrStorage::from(to);
        let sent = sendmsg(fd, &parts, control.as_slice(), MsgFlags::empty(), Some(&to))?;
        debug_assert_eq!(sent, bytes.len(), "a datagram is sent whole");
        Ok(())
    }
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

/// The addresses to listen on beside `ip`, so that broadcasts on its network are heard too: a socket
/// bound to one address hears only what is sent to that very address. With each comes the interface
/// whose broadcasts count.
pub(crate) fn broadcast_addresses(ip: IpAddr, interfaces: &Interfaces) -> Vec<(Ipv4Addr, u32)> {
    match interfaces.broadcast_of(ip) {
        Some((broadcast, link)) => vec![(broadcast, link), (Ipv4Addr::BROADCAST, link)],
        None => Vec::new(),
    }
}

/// Gives the socket room for `bytes` of received datagrams, or as much as the system allows: only with
/// privileges is it more than `net.core.rmem_max`.
pub(crate) fn enlarge_receive_buffer(socket: &Socket, bytes: usize) {
    if setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        // Linux grants what it can of this, so there is nothing to tell.
        let _ = socket.set_recv_buffer_size(bytes);
    }
}

/// Raises the limit of open files as far as the system lets us; tells what it is now.
pub(crate) fn raise_open_files() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Some(hard);
    }
    Some(soft)
}
