//! Where clients come in.

use std::io;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use rpyc_client::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use super::BoundAddr;

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
                let socket = TcpListener::bind(addr).await?;
                let addr = BoundAddr::Tcp(socket.local_addr()?);
                Ok(Self { addr, socket: Socket::Tcp(socket) })
            }
            #[cfg(unix)]
            ListenAddr::Unix(path) => bind_unix(path).await,
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

/// Binds a unix socket; where one is left of a server that is gone, it is replaced.
#[cfg(unix)]
async fn bind_unix(path: &Path) -> io::Result<Listener> {
    let bound = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            match tokio::net::UnixStream::connect(path).await {
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path)?;
                    UnixListener::bind(path)?
                }
                _ => return Err(error),
            }
        }
        bound => bound?,
    };
    let socket = Socket::Unix(bound, SocketFile(path.to_owned()));
    Ok(Listener { addr: BoundAddr::Unix(path.to_owned()), socket })
}

/// The file of a unix socket, removed with it.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already, and if it stays the next server replaces it.
        let _ = std::fs::remove_file(&self.0);
    }
}
