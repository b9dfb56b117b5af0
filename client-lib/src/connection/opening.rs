//! How long it took to open a connection, step by step.

use std::time::Duration;

use rpyc_protocol::rpc::Dialect;

use super::Connection;

/// How a connection was opened; from [`Connection::opening`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opening {
    /// How long opening the socket took: the TCP handshake and the name's resolution, or the unix
    /// socket. If several dialects were tried, this is about the first socket.
    pub connect: Duration,
    /// The time from the open socket to the first answer of the server, with TLS if there is any
    /// and with all attempts in dialects that the server does not speak. `None` if the dialect was
    /// stated, so that no answer was awaited.
    pub first_answer: Option<Duration>,
    /// A dialect that was tried first and that the server did not understand.
    pub not_understood: Option<Dialect>,
}

impl Connection {
    /// How the connection was opened; `None` unless this library connected it.
    #[must_use]
    pub fn opening(&self) -> Option<&Opening> {
        self.0.opening.get()
    }

    /// The connection, which remembers how it was opened.
    pub(super) fn opened(self, opening: Opening) -> Self {
        // A connection is opened once.
        let _ = self.0.opening.set(opening);
        self
    }
}
