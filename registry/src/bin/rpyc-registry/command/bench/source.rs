//! A socket of one of the simulated hosts.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use anyhow::Context;
use socket2::SockRef;

use super::train::Train;

/// Room for the answers of some trains; the system may give less.
const RECEIVE_BUFFER: usize = 1 << 20;

pub(super) struct Source {
    /// Its place among all sources: it speaks for every so-many-th instance from this one on.
    pub(super) number: u32,
    pub(super) socket: UdpSocket,
    pub(super) train: Train,
    /// When the first of the train was sent.
    pub(super) sent_at: Option<Instant>,
    host: Option<Ipv4Addr>,
    target: SocketAddr,
}

impl Source {
    /// A source that asks `target`, from the address `host` if one is given.
    pub(super) fn new(
        number: u32,
        host: Option<Ipv4Addr>,
        target: SocketAddr,
    ) -> anyhow::Result<Self> {
        let socket = connect(host, target).with_context(|| match host {
            Some(host) => format!("cannot ask {target} from {host}"),
            None => format!("cannot ask {target}"),
        })?;
        Ok(Self { number, socket, train: Train::default(), sent_at: None, host, target })
    }

    /// Goes on with another port, to which no late answer comes.
    pub(super) fn renew(&mut self) -> anyhow::Result<()> {
        *self = Self::new(self.number, self.host, self.target)?;
        Ok(())
    }
}

/// A socket that hears nobody but the target. The system refuses to connect it to a broadcast address.
fn connect(host: Option<Ipv4Addr>, target: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => host.unwrap_or(Ipv4Addr::UNSPECIFIED).into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => io::Error::new(
            error.kind(),
            "the system does not allow it; it is perhaps the broadcast address of a network, which is not \
             put under load",
        ),
        _ => error,
    })?;
    socket.set_nonblocking(true)?;
    // Less room costs answers at most, which are told as lost.
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket)
}
