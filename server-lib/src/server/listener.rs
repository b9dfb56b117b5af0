//! Where clients come in.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use super::peer::Peer;

/// A stream of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Where a server listens, as it was told.
#[derive(Clone, Debug)]
pub(super) enum Address {
    /// `HOST:PORT`.
    Tcp(String),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
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
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] SocketFile),
}

impl Listener {
    pub(super) async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(addr) => TcpListener::bind(addr).await.map(Self::Tcp),
            #[cfg(unix)]
            Address::Unix(path) => bind_unix(path).await,
        }
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(..) => None,
        }
    }

    pub(super) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Box<dyn Stream>, Peer)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, addr)| {
                // Only what the connection costs depends on it, and a dead one is noticed soon.
                let _ = stream.set_nodelay(true);
                (Box::new(stream) as Box<dyn Stream>, Peer::tcp(addr))
            }),
            #[cfg(unix)]
            Self::Unix(listener, _) => listener.poll_accept(cx).map_ok(|(stream, _)| {
                let peer = Peer { credentials: credentials(&stream), ..Peer::default() };
                (Box::new(stream) as Box<dyn Stream>, peer)
            }),
        }
    }
}

#[cfg(unix)]
fn credentials(stream: &tokio::net::UnixStream) -> Option<super::Credentials> {
    let told = stream.peer_cred().ok()?;
    Some(super::Credentials { user: told.uid(), group: told.gid(), process: told.pid() })
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
    Ok(Listener::Unix(bound, SocketFile(path.to_owned())))
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
