//! From an address to a conversation: which dialect does the peer speak?
//!
//! RPyC negotiates nothing. A peer that hears another dialect than its own drops the connection, so
//! the question can only be tried: a first request (for the root, which is needed anyway) in one
//! dialect, and on a new connection in the other. What was learnt about an address is remembered.

use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::reply::Endpoint;
use rpyc_protocol::rpc::{CloseReason, Dialect, MessageError, Version};
use socket2::{SockRef, TcpKeepalive};
use tokio::time::{Instant, timeout_at};

use super::{Connection, ConnectionBuilder};
use crate::connect::dial;
use crate::finder::{Finder, open_one};
use crate::race::first_success;
use crate::resolver::Record;
use crate::{
    CallError, ConnectError, Disconnect, Peer, Registrar, ServiceStream, Socket, Unreached,
};

/// How many addresses are remembered.
const REMEMBERED: usize = 1024;

/// How long a peer may be silent before another dialect is tried beside.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The least time for a server that accepts a connection, if there are others to be tried after it:
/// enough for both dialects.
const LEAST_SHARE: Duration = Duration::from_secs(3);

/// The dialects of the servers that were connected to.
static DIALECTS: LazyLock<Mutex<HashMap<Endpoint, Dialect>>> = LazyLock::new(Mutex::default);

fn remembered(endpoint: &Endpoint) -> Option<Dialect> {
    DIALECTS.lock().unwrap_or_else(PoisonError::into_inner).get(endpoint).copied()
}

fn remember(endpoint: &Endpoint, dialect: Dialect) {
    let mut dialects = DIALECTS.lock().unwrap_or_else(PoisonError::into_inner);
    // Forgetting costs a round trip, so there is no need to be clever about whom to forget.
    if dialects.len() >= REMEMBERED {
        dialects.clear();
    }
    dialects.insert(endpoint.clone(), dialect);
}

impl ConnectionBuilder {
    /// Connects to the server at `address`: `host:port`, or the path of a unix socket, which has a
    /// `/` in it.
    ///
    /// # Errors
    /// [`ConnectError::Address`] if it is none, [`ConnectError::Unreached`] if there is no RPyC
    /// server.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn connect(self, address: impl Display) -> Result<Connection, ConnectError> {
        let address = address.to_string();
        let endpoint = endpoint(&address).ok_or_else(|| ConnectError::Address(address.into()))?;
        let deadline = Instant::now() + self.connect_timeout;
        let stream = dial(endpoint, self.connect_timeout).await.map_err(ConnectError::Unreached)?;
        self.converse(stream, deadline).await.map_err(ConnectError::Unreached)
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
        let finder = through.into();
        let deadline = Instant::now() + self.connect_timeout;
        let timed_out =
            || ConnectError::TimedOut { target: name.as_str().into(), after: self.connect_timeout };
        let found = timeout_at(deadline, finder.find(name)).await;
        let mut candidates = found.map_err(|_elapsed| timed_out())??;
        let mut failures = Vec::new();
        loop {
            let opened = open_one(&candidates, finder.connect_timeout());
            let (stream, record) = match timeout_at(deadline, opened).await {
                Ok(Ok((candidate, stream))) => (stream, candidate.record.clone()),
                Err(_elapsed) if failures.is_empty() => return Err(timed_out()),
                ended => {
                    failures.extend(ended.ok().and_then(Result::err).unwrap_or_default());
                    return Err(ConnectError::AllFailed { name: name.clone(), failures });
                }
            };
            candidates.retain(|candidate| !candidate.endpoints.contains(stream.endpoint()));
            let deadline = share_until(deadline, candidates.len());
            let mut builder = self.clone();
            builder.seat = record.as_ref().map(Record::seat);
            match builder.converse(stream, deadline).await {
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

    /// Finds the dialect of a server, unless it was told, and speaks it.
    ///
    /// Most servers hang up when they hear a dialect that is not theirs. Thread pools of rpyc 5 say
    /// nothing instead, so the other dialect is tried beside after a while.
    async fn converse(
        self,
        stream: ServiceStream,
        deadline: Instant,
    ) -> Result<Connection, Unreached> {
        self.keep_alive_on(&stream);
        if self.dialect.is_some() {
            let endpoint = stream.endpoint().clone();
            let dressed = timeout_at(deadline, self.over_socket(stream)).await;
            return match dressed {
                Ok(Ok(connection)) => Ok(connection),
                Ok(Err(error)) => Err(Unreached { endpoint, error }),
                Err(_elapsed) => Err(Unreached { endpoint, error: late() }),
            };
        }
        let endpoint = stream.endpoint().clone();
        let first = remembered(&endpoint).unwrap_or(Dialect::V6);
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
                return Ok(connection);
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
        let connection = self.clone().dialect(dialect).over_socket(stream).await;
        let connection = connection.map_err(Fault::Lost)?;
        match greet(&connection).await {
            Err(Fault::Spoke(found)) if found != dialect => {
                let stream = open().await?;
                let connection = self.dialect(found).over_socket(stream).await;
                let connection = connection.map_err(Fault::Lost)?;
                greet(&connection).await.map(|()| (connection, found))
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
    #[error("it does not answer: {0}")]
    Silent(CallError),
    #[error("it speaks {0}")]
    Spoke(Dialect),
}

/// Says the first words and waits for an answer, of whatever kind.
async fn greet(connection: &Connection) -> Result<(), Fault> {
    match connection.root().await {
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

/// Reads an address.
fn endpoint(address: &str) -> Option<Endpoint> {
    if address.contains('/') {
        let path = address.strip_prefix("unix:").unwrap_or(address);
        return Some(Endpoint { host: "localhost".into(), port: Port::path(path).ok()? });
    }
    let (host, port) = address.rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.or_else(|| (!host.contains(':')).then_some(host))?;
    let port = Port::tcp(port.parse().ok()?).ok()?;
    (!host.is_empty()).then(|| Endpoint { host: host.into(), port })
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

    #[test]
    fn addresses() {
        let check = |address: &str, expected: Option<&str>| {
            assert_eq!(endpoint(address).map(|found| found.to_string()).as_deref(), expected);
        };
        check("localhost:18861", Some("localhost:18861"));
        check("[::1]:18861", Some("[::1]:18861"));
        check("/run/payroll.sock", Some("localhost:/run/payroll.sock"));
        check("unix:/run/payroll.sock", Some("localhost:/run/payroll.sock"));
        check("localhost", None);
        check("::1", None);
        check("localhost:0", None);
        check(":18861", None);
    }
}
