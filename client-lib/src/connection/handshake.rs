//! From an address to a conversation: which dialect does the peer speak?
//!
//! RPyC negotiates nothing. A peer that hears another dialect than its own drops the connection, so
//! where the dialect is not known it can only be tried: a first request in one dialect, and on a new
//! connection in the other. `dialects` knows what to try first.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::reply::Endpoint;
use rpyc_protocol::rpc::{CloseReason, Dialect, MessageError, Version};
use socket2::{SockRef, TcpKeepalive};
use tokio::time::{Instant, timeout_at};

use super::address::Address;
use super::dialects::{remember, remembered};
use super::{Connection, ConnectionBuilder, Opening};
use crate::connect::dial;
use crate::finder::{Candidate, Finder, open_one};
use crate::race::first_success;
use crate::resolver::Record;
use crate::{
    CallError, ConnectError, Disconnect, Peer, Registrar, ServiceStream, Socket, Unreached,
};

/// How long a peer may be silent before another dialect is tried beside.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The least time for a server that accepts a connection, if there are others to be tried after it:
/// enough for both dialects.
const LEAST_SHARE: Duration = Duration::from_secs(3);

impl ConnectionBuilder {
    /// Connects to the server at `address`: `host:port`, or the path of a unix socket, which has a
    /// `/` in it. Either may state the dialect, as in `payroll.example:18861?dialect=5`; that counts
    /// more than [`dialect`](Self::dialect).
    ///
    /// # Errors
    /// [`ConnectError::Address`] if it is none, [`ConnectError::Unreached`] if there is no RPyC
    /// server, [`ConnectError::Dialect`] if the environment names no dialect properly.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn connect(self, address: impl Display) -> Result<Connection, ConnectError> {
        let text = address.to_string();
        let address = Address::parse(&text).ok_or_else(|| ConnectError::Address(text.into()))?;
        let mut builder = self;
        builder.dialect = address.dialect.or(builder.dialect);
        let builder = builder.or_dialect_from_env()?;
        let started = Instant::now();
        let deadline = started + builder.connect_timeout;
        let dialled = dial(address.endpoint, builder.connect_timeout).await;
        let stream = dialled.map_err(ConnectError::Unreached)?;
        let conversed = builder.converse(stream, started.elapsed(), deadline).await;
        conversed.map_err(ConnectError::Unreached)
    }

    /// Connects to a server of `name`, found through the registries that the environment names or
    /// those nearby.
    ///
    /// # Errors
    /// [`ConnectError`] tells which of the steps failed, and how.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn connect_by_service(self, name: &str) -> Result<Connection, ConnectError> {
        let name = ServiceName::new(name)?;
        let registrar = Registrar::from_env()?;
        self.connect_through(&registrar, &name).await
    }

    /// Connects to a server of `name`, found through a [`Registrar`] or a
    /// [`Resolver`](crate::Resolver).
    ///
    /// They are tried as [`Registrar::open`] or [`Resolver::connect`](crate::Resolver::connect) do. One
    /// that can be connected to but does not speak RPyC counts as one that cannot. All of it takes no
    /// longer than [`connect_timeout`](Self::connect_timeout).
    ///
    /// # Errors
    /// [`ConnectError::Lookup`] if it is not known who serves the name, [`ConnectError::AllFailed`]
    /// if none of them could be connected to, [`ConnectError::TimedOut`] if the time ended before any
    /// of this was known.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn connect_through(
        self,
        through: impl Into<Finder>,
        name: &ServiceName,
    ) -> Result<Connection, ConnectError> {
        let builder = self.or_dialect_from_env()?;
        let finder = through.into();
        let deadline = Instant::now() + builder.connect_timeout;
        let after = builder.connect_timeout;
        let timed_out = || ConnectError::TimedOut { target: name.as_str().into(), after };
        let found = timeout_at(deadline, finder.find(name)).await;
        let mut candidates = found.map_err(|_elapsed| timed_out())??;
        if builder.dialect.is_none() && candidates.iter().any(Candidate::is_unknown) {
            // Without hints, or with some of them, a wrong dialect may be tried first.
            let _ = timeout_at(deadline, finder.add_hints(name, &mut candidates)).await;
        }
        let mut failures = Vec::new();
        loop {
            let started = Instant::now();
            let opened = open_one(&candidates, finder.connect_timeout());
            let (stream, record, told) = match timeout_at(deadline, opened).await {
                Ok(Ok((candidate, stream))) => (stream, candidate.record.clone(), candidate.told),
                Err(_elapsed) if failures.is_empty() => return Err(timed_out()),
                ended => {
                    failures.extend(ended.ok().and_then(Result::err).unwrap_or_default());
                    return Err(ConnectError::AllFailed { name: name.clone(), failures });
                }
            };
            let connect = started.elapsed();
            candidates.retain(|candidate| !candidate.endpoints.contains(stream.endpoint()));
            let deadline = share_until(deadline, candidates.len());
            let mut builder = builder.clone();
            builder.seat = record.as_ref().map(Record::seat);
            builder.hint = told.and_then(|told| told.dialect);
            let endpoint = stream.endpoint().clone();
            let conversed = builder.converse(stream, connect, deadline).await;
            if let (Some(told), Some(found)) = (told, remembered(&endpoint)) {
                finder.tell_dialect(told, found).await;
            }
            match conversed {
                Ok(connection) => {
                    record.inspect(Record::succeeded);
                    return Ok(connection);
                }
                Err(unreached) => {
                    record.inspect(|record| record.failed(Instant::now().into_std()));
                    failures.push(unreached);
                }
            }
        }
    }

    /// Finds the dialect of a server, unless it is stated, and speaks it. `connect` is how long opening
    /// the stream took.
    ///
    /// Most servers close the connection when they hear a dialect that is not theirs. Thread pools of
    /// rpyc 5 say nothing instead, so the other dialect is tried beside after a while.
    async fn converse(
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
            // The dialect that is more likely tells more.
            Ok(Err(faults)) => faults.into_iter().next().map_or_else(late, io::Error::other),
            Err(_elapsed) => late(),
        };
        Err(Unreached { endpoint, error })
    }

    /// Speaks over a stream of our own, under TLS if that was asked for.
    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_async, reason = "TLS takes time"))]
    async fn over_socket(mut self, mut stream: ServiceStream) -> io::Result<Connection> {
        if let Some(seat) = self.seat.take() {
            stream.take_seat(seat);
        }
        self.peer = match stream.socket() {
            Socket::Tcp(socket) => socket.peer_addr().map(Peer::from).unwrap_or_default(),
            #[cfg(unix)]
            Socket::Unix(socket) => Peer::from(socket),
        };
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let stream = Box::pin(tls.connect(stream)).await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            self.peer.certificate = shown.map(|certificate| certificate.to_vec());
            return Ok(self.over(stream));
        }
        Ok(self.over(stream))
    }

    /// Tells the system to notice when the other machine is gone.
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
    ) -> Result<(Connection, Dialect), Fault> {
        let open = async || {
            let left = deadline.saturating_duration_since(Instant::now());
            let stream = dial(endpoint.clone(), left).await;
            stream
                .inspect(|stream| self.keep_alive_on(stream))
                .map_err(|unreached| Fault::Lost(unreached.error))
        };
        let stream = match stream {
            Some(stream) => stream,
            None => open().await?,
        };
        let greeting = self.greeting;
        let connection = self.clone().dialect(dialect).over_socket(stream).await;
        let connection = connection.map_err(Fault::Lost)?;
        match greet(&connection, greeting).await {
            Err(Fault::Spoke(found)) if found != dialect => {
                // Whatever happens next, the next connection knows.
                remember(endpoint, found);
                let again = |error| Fault::Once { found, error };
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

/// When a server must have answered, if so many others are to be tried after it.
fn share_until(deadline: Instant, others: usize) -> Instant {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    let shares = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
    deadline.min(now + (left / shares).max(LEAST_SHARE))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer")
}

/// Why a peer could not be spoken to in one dialect.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("it does not speak RPyC: {0}")]
    Hung(Disconnect),
    #[error(transparent)]
    Lost(io::Error),
    #[error(
        "it speaks {found}, was spoken to in another dialect, and takes no second connection: {error}; \
         state its dialect"
    )]
    Once { found: Dialect, error: io::Error },
    #[error("it does not answer: {0}")]
    Silent(CallError),
    #[error("it speaks {0}")]
    Spoke(Dialect),
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Lost(error) => error,
            fault => Self::other(fault),
        }
    }
}

/// What is asked first of a server whose dialect is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Its root, which most clients need anyway.
    #[default]
    Root,
    /// Nothing but whether it answers.
    Ping,
}

/// Says the first words and waits for an answer, of whatever kind.
async fn greet(connection: &Connection, greeting: Greeting) -> Result<(), Fault> {
    let answered = match greeting {
        Greeting::Root => connection.root().await.map(drop),
        Greeting::Ping => connection.ping().await.map(drop),
    };
    match answered {
        Err(CallError::Disconnected { reason, .. }) => Err(match reason {
            Disconnect::Closed(CloseReason::Message(MessageError::OtherDialect {
                found, ..
            })) => Fault::Spoke(found),
            reason => Fault::Hung(reason),
        }),
        Err(error @ CallError::Timeout { .. }) => Err(Fault::Silent(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_leaves_time_for_those_after_it() {
        let check = |left: u64, others, expected: u64| {
            let until = share_until(Instant::now() + Duration::from_secs(left), others);
            assert_eq!(until - Instant::now(), Duration::from_secs(expected));
        };
        check(10, 0, 10);
        check(10, 1, 5);
        check(10, 9, 3);
        check(2, 9, 2);
        check(0, usize::MAX, 0);
    }
}
