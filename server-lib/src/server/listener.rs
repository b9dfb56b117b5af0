//! Where clients come in.

use std::io;
#[cfg(unix)]
use std::path::PathBuf;
use std::task::{Context, Poll};

use rpyc_client::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::BoundAddr;
#[cfg(unix)]
use super::socket_file::{self, SocketFile};

/// A stream of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Where a server listens, as configured.
#[derive(Clone, Debug)]
pub(super) enum ListenAddr {
    /// `HOST:PORT`.
    Tcp(String),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl std::fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(addr) => f.write_str(addr),
            #[cfg(unix)]
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Listener {
    addr: BoundAddr,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] SocketFile),
}

impl Listener {
    pub(super) async fn bind(address: &ListenAddr) -> io::Result<Self> {
        match address {
            ListenAddr::Tcp(addr) => {
                let socket = bind_tcp(addr).await?;
                let addr = BoundAddr::Tcp(socket.local_addr()?);
                Ok(Self { addr, socket: Socket::Tcp(socket) })
            }
            #[cfg(unix)]
            ListenAddr::Unix(path) => {
                let (listener, file) = socket_file::bind(path).await?;
                let addr = BoundAddr::Unix(path.to_owned());
                Ok(Self { addr, socket: Socket::Unix(listener, file) })
            }
        }
    }

    pub(super) fn addr(&self) -> &BoundAddr {
        &self.addr
    }

    pub(super) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, Peer)>> {
        match &self.socket {
            Socket::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, addr)| {
                // Only what the connection costs depends on it, and a dead one is noticed soon.
                let _ = stream.set_nodelay(true);
                (Box::new(stream) as Box<dyn Stream>, Peer::from(addr))
            }),
            #[cfg(unix)]
            Socket::Unix(listener, _) => listener.poll_accept(cx).map_ok(|(stream, _)| {
                let peer = Peer::from(&stream);
                (Box::new(stream) as Box<dyn Stream>, peer)
            }),
        }
    }
}

/// How many connections the system keeps that have not been accepted yet. It drops further ones,
/// whose clients try again after a second.
const BACKLOG: u32 = 1024;

/// Binds the first of the addresses with that name which can be bound.
async fn bind_tcp(address: &str) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A server that is started again gets its port, although connections of the last one are
        // still closing. On Windows it would let two servers have the port.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
