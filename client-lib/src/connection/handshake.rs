//! From an address to a conversation: which dialect does the peer speak?
//!
//! RPyC negotiates nothing. A peer that hears another dialect than its own drops the connection, so
//! where the dialect is not known it can only be tried: a first request in one dialect, and on a
//! new connection in the other. `dialects` knows what to try first.

use std::io;
use std::time::Duration;

use rpyc_protocol::registry::reply::Endpoint;
use rpyc_protocol::rpc::{CloseReason, Dialect, MessageError, Version};
use socket2::{SockRef, TcpKeepalive};
use tokio::time::{Instant, timeout_at};

use super::dialects::remember;
use super::{Connection, ConnectionBuilder, Opening};
use crate::connect::dial;
use crate::net::first_success;
#[cfg(feature = "tls")]
use crate::tls::Expected;
use crate::{CallError, Disconnect, Peer, ServiceStream, Socket, Unreached};

/// How long a peer may be silent before another dialect is tried beside.
const PATIENCE: Duration = Duration::from_millis(1500);

impl ConnectionBuilder {
    /// Finds the dialect of a server, unless it is stated, and speaks it. `connect` is how long
    /// opening the stream took.
    ///
    /// Most servers close the connection when they hear a dialect that is not theirs. Thread pools
    /// of rpyc 5 say nothing instead, so the other dialect is tried beside after a while.
    pub(super) async fn converse(
        self,
        stream: ServiceStream,
        connect: Duration,
        deadline: Instant,
    ) -> Result<Connection, Unreached> {
        self.keep_alive_on(&stream);
        let started = Instant::now();
        let endpoint = stream.endpoint().clone();
        if self.dialect.is_some() {
            return match timeout_at(deadline, self.over_socket(stream)).await {
                Ok(Ok(connection)) => {
                    let opening = Opening { connect, first_answer: None, not_understood: None };
                    Ok(connection.opened(opening))
                }
                Ok(Err(error)) => Err(Unreached { endpoint, error }),
                Err(_elapsed) => Err(Unreached { endpoint, error: late() }),
            };
        }
        let first = self.first_dialect(&endpoint);
        let second = match first.version {
            Version::V6 => Dialect::V5,
            Version::V5 => Dialect::V6,
        };
        let attempts = [
            Box::pin(self.clone().attempt(first, &endpoint, Some(stream), deadline)),
            Box::pin(self.attempt(second, &endpoint, None, deadline)),
        ];
        let race = first_success(attempts, PATIENCE);
        let error = match timeout_at(deadline, race).await {
            Ok(Ok((connection, dialect))) => {
                remember(&endpoint, dialect);
                let first_answer = Some(started.elapsed());
                let not_understood = Some(first).filter(|first| *first != dialect);
                return Ok(connection.opened(Opening { connect, first_answer, not_understood }));
            }
            // The dialect that is more likely has the better error.
            Ok(Err(faults)) => faults.into_iter().next().map_or_else(late, io::Error::other),
            Err(_elapsed) => late(),
        };
        Err(Unreached { endpoint, error })
    }

    /// Speaks over a stream of our own, under TLS if that was asked for.
    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_async, reason = "TLS takes time"))]
    async fn over_socket(mut self, mut stream: ServiceStream) -> io::Result<Connection> {
        if let Some(guard) = self.guard.take() {
            stream.count_by(guard);
        }
        self.peer = match stream.socket() {
            Socket::Tcp(socket) => socket.peer_addr().map(Peer::from).unwrap_or_default(),
            #[cfg(unix)]
            Socket::Unix(socket) => Peer::from(socket),
        };
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let host = stream.endpoint().host.clone();
            let expected = Expected { host: &host, service: self.service.as_ref() };
            let stream = Box::pin(tls.over(expected, stream)).await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            self.peer.certificate = shown.map(|certificate| certificate.to_vec());
            return Ok(self.over(stream));
        }
        Ok(self.over(stream))
    }

    /// Asks the system to notice when the other machine is gone.
    fn keep_alive_on(&self, stream: &ServiceStream) {
        if let (Some(silence), Socket::Tcp(socket)) = (self.keep_alive, stream.socket()) {
            let keep_alive = TcpKeepalive::new().with_time(silence);
            if let Err(error) = SockRef::from(socket).set_tcp_keepalive(&keep_alive) {
                tracing::debug!(%error, "the system does not keep connections alive");
            }
        }
    }

    /// Tries one dialect, and then whichever the peer answers in.
    async fn attempt(
        self,
        dialect: Dialect,
        endpoint: &Endpoint,
        stream: Option<ServiceStream>,
        deadline: Instant,
    ) -> Result<(Connection, Dialect), HandshakeError> {
        let open = async || {
            let left = deadline.saturating_duration_since(Instant::now());
            let stream = dial(endpoint.clone(), left).await;
            stream
                .inspect(|stream| self.keep_alive_on(stream))
                .map_err(|unreached| HandshakeError::Lost(unreached.error))
        };
        let stream = match stream {
            Some(stream) => stream,
            None => open().await?,
        };
        let greeting = self.greeting;
        let connection = self.clone().dialect(dialect).over_socket(stream).await;
        let connection = connection.map_err(HandshakeError::Lost)?;
        match greet(&connection, greeting).await {
            Err(HandshakeError::Spoke(found)) if found != dialect => {
                // Whatever happens next, the next connection knows.
                remember(endpoint, found);
                let again = |error| HandshakeError::Once { found, error };
                let stream = open().await.map_err(|fault| again(fault.into()))?;
                let connection = self.dialect(found).over_socket(stream).await;
                let connection = connection.map_err(again)?;
                let greeted = greet(&connection, greeting).await;
                greeted.map(|()| (connection, found)).map_err(|fault| again(fault.into()))
            }
            greeted => greeted.map(|()| (connection, dialect)),
        }
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer")
}

/// Why a peer could not be spoken to in one dialect.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("it does not speak RPyC: {0}")]
    Hung(Disconnect),
    #[error(transparent)]
    Lost(io::Error),
    #[error(
        "it speaks {found}, not the dialect tried first, and accepts no second connection: {error}; \
         set its dialect"
    )]
    Once { found: Dialect, error: io::Error },
    #[error("it does not answer: {0}")]
    Silent(CallError),
    #[error("it speaks {0}")]
    Spoke(Dialect),
}

impl From<HandshakeError> for io::Error {
    fn from(fault: HandshakeError) -> Self {
        match fault {
            HandshakeError::Lost(error) => error,
            fault => Self::other(fault),
        }
    }
}

/// The first request to a server whose dialect is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Its root, which most clients need anyway.
    #[default]
    Root,
    /// Nothing but whether it answers.
    Ping,
}

/// Says the first words and waits for an answer, of whatever kind.
async fn greet(connection: &Connection, greeting: Greeting) -> Result<(), HandshakeError> {
    let answered = match greeting {
        Greeting::Root => connection.root().await.map(drop),
        Greeting::Ping => connection.ping().await.map(drop),
    };
    match answered {
        Err(CallError::Disconnected { reason, .. }) => Err(match reason {
            Disconnect::Closed(CloseReason::Message(MessageError::OtherDialect {
                found, ..
            })) => HandshakeError::Spoke(found),
            reason => HandshakeError::Hung(reason),
        }),
        Err(error @ CallError::Timeout { .. }) => Err(HandshakeError::Silent(error)),
        _ => Ok(()),
    }
}
