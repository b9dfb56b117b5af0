//! The options of a connection.

use std::io;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rpyc_protocol::rpc::{Config, Dialect, Session, SessionLimits};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::driver::Watched;
use super::handshake::Greeting;
use super::memory_budget::MemoryBudget;
use super::shared::Shared;
use super::{Connection, DEFAULT_TIMEOUT, Driver, FirstMessage, Handle};
use crate::local::Object;
use crate::resolver::ConnectionGuard;
use crate::{Local, Peer};

/// Numbers connections, to distinguish their objects.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// How long connecting may take by default.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a TCP connection may be silent by default.
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The options of a connection, and the ways to make one.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use rpyc_client::Connection;
///
/// let patient = Connection::builder().timeout(Duration::from_secs(300));
/// let by_name = patient.clone().connect_by_service("PAYROLL").await?;
/// let by_address = patient.clone().connect("payroll.example:18861").await?;
/// let unix_socket = patient.clone().connect("/run/payroll.sock").await?;
///
/// // A program that speaks through its standard input and output.
/// let mut program = tokio::process::Command::new("ssh");
/// program.args(["payroll.example", "rpyc_classic", "-m", "stdio"]);
/// let (over_ssh, child) = patient.spawn(program)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ConnectionBuilder {
    pub(super) dialect: Option<Dialect>,
    /// The dialect to try first if none is stated and the server is not known.
    pub(super) try_first: Option<Dialect>,
    /// The dialect of the server according to a registry.
    pub(super) hint: Option<Dialect>,
    pub(super) greeting: Greeting,
    pub(super) connect_timeout: Duration,
    pub(super) keep_alive: Option<Duration>,
    ping_every: Option<Duration>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<crate::Tls>,
    /// The service that is looked for, which its server must prove to be.
    #[cfg(feature = "tls")]
    pub(super) service: Option<rpyc_protocol::ServiceName>,
    root: Option<Local>,
    pub(crate) timeout: Option<Duration>,
    config: Config,
    is_frame_by_frame: bool,
    first_message: Option<FirstMessage>,
    memory_budget: Option<MemoryBudget>,
    pub(super) peer: Peer,
    /// Counts the connection at the server that a resolver chose.
    pub(super) guard: Option<Arc<ConnectionGuard>>,
}

impl Default for ConnectionBuilder {
    fn default() -> Self {
        Self {
            dialect: None,
            try_first: None,
            hint: None,
            greeting: Greeting::Root,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            keep_alive: Some(DEFAULT_KEEP_ALIVE),
            ping_every: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            service: None,
            root: None,
            timeout: Some(DEFAULT_TIMEOUT),
            config: Config::server(),
            is_frame_by_frame: false,
            first_message: None,
            memory_budget: None,
            peer: Peer::default(),
            guard: None,
        }
    }
}

impl ConnectionBuilder {
    /// States the dialect that the peer speaks.
    ///
    /// Default: [`Dialect::V6`] over a stream that is given; where this library connects, it tries.
    /// A server of another dialect than the one that is tried first logs an error, and sees one
    /// connection more. State the dialect of a server that takes only one connection, and of a
    /// thread pool that binds threads, which neither answers another dialect nor closes the
    /// connection.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    /// Tries this dialect first where none is stated, and then the others. Default: the one in
    /// which the server has last answered this process, else the one that a registry of this
    /// project returns (both count more than this), else that of [`DIALECT_VARIABLE`], else
    /// [`Dialect::V6`].
    ///
    /// [`DIALECT_VARIABLE`]: crate::DIALECT_VARIABLE
    pub fn try_first(mut self, dialect: Dialect) -> Self {
        self.try_first = Some(dialect);
        self
    }

    /// Finds the dialect by a ping instead of by asking for the root, so that the connection
    /// touches nothing of the service: for programs that only want to know whether a server
    /// answers.
    pub fn greet_with_ping(mut self) -> Self {
        self.greeting = Greeting::Ping;
        self
    }

    /// Offers `root` to the peer as the first object: its `conn.root`. Default: an empty object.
    pub fn serving(mut self, root: Local) -> Self {
        self.root = Some(root);
        self
    }

    /// Offers what `root` makes, unless something is offered already.
    pub(crate) fn or_serving(mut self, root: impl FnOnce() -> Local) -> Self {
        self.root.get_or_insert_with(root);
        self
    }

    /// How long each call may take as a whole, including every round trip that brings the content
    /// of its result; `None` for ever. Default 30 s. Too short, and slow calls fail although they
    /// run; `None`, and a peer that hangs is never noticed.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// How long connecting may take as a whole: asking registries, trying servers one after
    /// another, and finding the dialect. Default 10 s. Of several servers, one that accepts a
    /// connection and then says nothing gets a part of that time only, so that the others are tried
    /// as well.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a TCP connection may be silent before the system asks whether the other machine is
    /// still there; `None` never asks. Default 60 s. A machine that does not answer is abandoned
    /// after some more minutes, and the connection ends.
    pub fn keep_alive(mut self, silence: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = silence.into();
        self
    }

    /// Pings the peer whenever it says nothing for `interval`, and ends the connection with
    /// [`Disconnect::Silent`](crate::Disconnect::Silent) if it says nothing for as long again;
    /// `None` never does. Default: never.
    ///
    /// Unlike [`keep_alive`](Self::keep_alive) it works over every stream and notices a program
    /// that hangs. But Python answers pings between requests only, and a Python client only while
    /// it waits for something itself or serves in the background: an interval that is shorter than
    /// half of its longest request ends connections that are well.
    pub fn ping_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.ping_every = interval.into();
        self
    }

    /// Connects over TLS; [`Tls`](crate::Tls) says which servers are trusted. A server that is
    /// found by the name of its service must prove that name, not the host that a registry returns.
    /// Over a stream that is given it has no effect. Default: in the clear.
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

    /// Writes every frame by itself, so that none shares a record of TLS with another: RPyC waits
    /// for the socket, and does not see a second frame that has come with the first. Over TLS that
    /// this library speaks itself that is the default; over a TLS stream from outside, it must be
    /// requested. Default: pending frames are written together, which is faster.
    pub fn frame_by_frame(mut self) -> Self {
        self.is_frame_by_frame = true;
        self
    }

    /// Remembers who the peer is, for [`Connection::peer`]. Default: what this library finds out
    /// when it connects, and nothing over a stream that is given.
    pub fn peer(mut self, peer: impl Into<Peer>) -> Self {
        self.peer = peer.into();
        self
    }

    /// Records in `first_message` when the peer has sent its first valid message. A program that
    /// accepts connections can so disconnect clients that send nothing. Default: nowhere.
    pub fn first_message(mut self, first_message: FirstMessage) -> Self {
        self.first_message = Some(first_message);
        self
    }

    /// Counts the messages of the connection against `budget`, together with those of others.
    /// Default: [`SessionLimits`] alone bound them.
    pub fn memory_budget(mut self, budget: MemoryBudget) -> Self {
        self.memory_budget = Some(budget);
        self
    }

    /// Speaks over `stream`, as the side that connected. Starts a task on the current runtime,
    /// which ends with the connection.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use = "a connection closes when its last handle is dropped"]
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

    /// Speaks over `stream`, as the side that accepted the connection. Unless it was stated, the
    /// dialect is that of the peer's first message, and calls of this side wait for that. Nothing
    /// happens unless the driver runs. The server of `rpyc-server` does this for every client.
    ///
    /// ```no_run
    /// # async fn example(stream: tokio::net::TcpStream) {
    /// use rpyc_client::{Connection, Local};
    ///
    /// let greet = Local::sync_function(|_| Ok("hello"));
    /// let (connection, driver) = Connection::builder().serving(greet).accept(stream);
    /// let why_it_ended = driver.await;
    /// drop(connection);
    /// # }
    /// ```
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
        let claim = self.memory_budget.map(|budget| budget.claim(self.peer.source()));
        let handle = Arc::new_cyclic(|handle| {
            let shared =
                Shared::new(number, session, root, self.timeout, self.ping_every, handle.clone());
            Handle { shared: Arc::new(shared), number, peer: self.peer, opening: OnceLock::new() }
        });
        #[cfg(feature = "tls")]
        let is_frame_by_frame = self.is_frame_by_frame || self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let is_frame_by_frame = self.is_frame_by_frame;
        let driver = Driver::new(
            handle.shared.clone(),
            stream,
            is_frame_by_frame,
            Watched { first_message: self.first_message, claim },
        );
        (Connection::from_handle(handle), driver)
    }
}

/// What a side offers that offers nothing.
#[derive(Debug)]
pub(super) struct Nothing;

impl Object for Nothing {}
