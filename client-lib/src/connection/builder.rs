//! The options of a connection.

use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rpyc_protocol::rpc::{Config, Dialect, Session, SessionLimits};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::shared::Shared;
use super::{Connection, DEFAULT_TIMEOUT, Driver, Handle};
use crate::Local;
use crate::local::Object;
use crate::resolver::Seat;

/// Numbers connections, to tell their objects apart.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// How long connecting may take, unless told otherwise.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a TCP connection may be silent, unless told otherwise.
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The options of a connection, and the ways to make one.
#[derive(Clone, Debug)]
#[must_use]
pub struct ConnectionBuilder {
    pub(super) dialect: Option<Dialect>,
    pub(super) connect_timeout: Duration,
    pub(super) keep_alive: Option<Duration>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<crate::Tls>,
    root: Option<Local>,
    timeout: Option<Duration>,
    config: Config,
    pub(super) peer_addr: Option<SocketAddr>,
    /// Counts the connection at the server that a resolver chose.
    pub(super) seat: Option<Arc<Seat>>,
}

impl Default for ConnectionBuilder {
    fn default() -> Self {
        Self {
            dialect: None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            keep_alive: Some(DEFAULT_KEEP_ALIVE),
            #[cfg(feature = "tls")]
            tls: None,
            root: None,
            timeout: Some(DEFAULT_TIMEOUT),
            config: Config::server(),
            peer_addr: None,
            seat: None,
        }
    }
}

impl ConnectionBuilder {
    /// Tells which dialect the peer speaks.
    ///
    /// Default: [`Dialect::V6`] over a stream that is given; where this library connects, it finds
    /// out, at the price of one more round trip and, with an old peer, one more connection. A server
    /// that takes only one connection needs to be told.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    /// Offers `root` to the peer as the first object: its `conn.root`. Default: an empty object.
    pub fn serving(mut self, root: Local) -> Self {
        self.root = Some(root);
        self
    }

    /// How long calls wait for their answers; `None` for ever. Default 30 s. Too short, and slow
    /// calls fail although they run; `None`, and a peer that hangs is noticed by nobody.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// How long connecting may take, the search for the dialect included. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a TCP connection may be silent before the system asks whether the other machine is
    /// still there; `None` never asks. Default 60 s. A machine that does not answer is given up after
    /// some more minutes, and the connection ends.
    pub fn keep_alive(mut self, silence: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = silence.into();
        self
    }

    /// Connects over TLS. Over a stream that is given it has no effect. Default: in the clear.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What the connection may cost. Default [`SessionLimits::DEFAULT`].
    pub fn limits(mut self, limits: SessionLimits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Compresses messages that are longer than this, in bytes; `None` never does. Default 3000, as
    /// RPyC does. On a fast network `None` is faster.
    pub fn compress_above(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.config.compress_above = bytes.into();
        self
    }

    /// Remembers where the peer is, for [`Connection::peer_addr`]. Default: it is not known, unless
    /// this library connects.
    pub fn peer_addr(mut self, addr: SocketAddr) -> Self {
        self.peer_addr = Some(addr);
        self
    }

    /// Speaks over `stream`, as the side that connected. Starts a task on the current runtime, which
    /// ends with the connection.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use = "a connection that nobody holds is closed"]
    pub fn over<S>(self, stream: S) -> Connection
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (connection, driver) = self.pair(stream);
        tokio::spawn(driver);
        connection
    }

    /// Starts a program and speaks over its standard input and output, for instance
    /// `rpyc_classic -m stdio`. The program is killed when the [`Child`] is dropped.
    ///
    /// # Errors
    /// What the system says about starting it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(self, mut program: Command) -> io::Result<(Connection, Child)> {
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = program.spawn()?;
        match (child.stdout.take(), child.stdin.take()) {
            (Some(stdout), Some(stdin)) => Ok((self.over(tokio::io::join(stdout, stdin)), child)),
            _ => Err(io::Error::other("the program has no standard input or output")),
        }
    }

    /// As [`over`](Self::over), without starting the task: nothing happens unless the driver runs.
    pub fn pair<S>(self, stream: S) -> (Connection, Driver<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let dialect = self.dialect.unwrap_or(Dialect::V6);
        self.build(stream, Some(dialect))
    }

    /// Speaks over `stream`, as the side that was connected to: unless it was told, the dialect is
    /// that of the peer's first message, and calls of this side wait for that. Nothing happens unless
    /// the driver runs.
    pub fn accept<S>(self, stream: S) -> (Connection, Driver<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let dialect = self.dialect;
        self.build(stream, dialect)
    }

    fn build<S>(self, stream: S, dialect: Option<Dialect>) -> (Connection, Driver<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let config = Config { dialect, ..self.config };
        let session = Session::new(Instant::now().into_std(), config);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let root = self.root.unwrap_or_else(|| Local::new(Nothing));
        let handle = Arc::new_cyclic(|handle| {
            let shared = Shared::new(number, session, root, self.timeout, handle.clone());
            Handle { shared: Arc::new(shared), number, peer_addr: self.peer_addr }
        });
        let driver = Driver::new(handle.shared.clone(), stream);
        (Connection::from_handle(handle), driver)
    }
}

/// What a side offers that offers nothing.
#[derive(Debug)]
struct Nothing;

impl Object for Nothing {}
