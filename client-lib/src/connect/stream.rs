//! A connection to a server that was found by name.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rpyc_protocol::registry::reply::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::resolver::ConnectionGuard;

/// A connection to a server of a service, over which nothing was said yet.
///
/// It reads and writes bytes; whatever speaks RPyC is put over it, as over any [`AsyncRead`] and
/// [`AsyncWrite`]. Dropping it closes the connection.
#[derive(Debug)]
pub struct ServiceStream {
    endpoint: Endpoint,
    socket: Socket,
    /// Counts the connection among those to its server.
    guard: Option<Arc<ConnectionGuard>>,
}

/// The socket of a [`ServiceStream`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// A TCP connection, with `TCP_NODELAY` set.
    Tcp(TcpStream),
    /// A connection to a unix socket on this machine.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl ServiceStream {
    pub(crate) fn new(endpoint: Endpoint, socket: Socket) -> Self {
        Self { endpoint, socket, guard: None }
    }

    /// Counts the connection while it exists.
    pub(crate) fn count_by(&mut self, guard: Arc<ConnectionGuard>) {
        self.guard = Some(guard);
    }

    /// The server at the other end, as the registry returned it.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The socket, to look at its addresses or set its options.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Takes the connection apart. A [`Resolver`](crate::Resolver) counts it no more.
    #[must_use]
    pub fn into_parts(self) -> (Endpoint, Socket) {
        (self.endpoint, self.socket)
    }
}

impl fmt::Display for ServiceStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}

/// Calls the same method of whichever socket it is.
macro_rules! either {
    ($this:expr, $socket:ident => $call:expr) => {
        match &mut $this.get_mut().socket {
            Socket::Tcp(socket) => {
                let $socket = Pin::new(socket);
                $call
            }
            #[cfg(unix)]
            Socket::Unix(socket) => {
                let $socket = Pin::new(socket);
                $call
            }
        }
    };
}

impl AsyncRead for ServiceStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_read(cx, buf))
    }
}

impl AsyncWrite for ServiceStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, socket => socket.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, socket => socket.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_shutdown(cx))
    }
}
