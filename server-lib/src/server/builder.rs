//! The settings of a server.

use std::fmt;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rpyc_client::{DEFAULT_TIMEOUT, Local, MemoryBudget, Peer, Registries, SessionLimits};

use super::admission::Shares;
use super::listener::{ListenAddr, Listener};
use super::{Ended, ListenError, Server};
use crate::Service;
use crate::announcer::{Advert, advert_setters};

/// Where the root of a connection comes from.
pub(super) enum RootSource<S> {
    /// All clients have the same.
    Shared(Local),
    /// Each has its own.
    Each(Arc<dyn Fn(&Peer) -> S + Send + Sync>),
}

impl<S: Service> RootSource<S> {
    pub(super) fn root(&self, peer: &Peer) -> Local {
        match self {
            Self::Shared(root) => root.clone(),
            Self::Each(make) => Local::new(make(peer)),
        }
    }
}

impl<S> Clone for RootSource<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Shared(root) => Self::Shared(root.clone()),
            Self::Each(make) => Self::Each(make.clone()),
        }
    }
}

impl<S> fmt::Debug for RootSource<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "Shared",
            Self::Each(_) => "Each",
        })
    }
}

/// The settings of every connection.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) max_connections: usize,
    pub(super) max_connections_per_address: Option<usize>,
    pub(super) reserved_connections: Option<usize>,
    pub(super) first_message_timeout: Option<Duration>,
    pub(super) memory_budget: MemoryBudget,
    pub(super) session: SessionLimits,
    pub(super) timeout: Option<Duration>,
    pub(super) compress_above: Option<usize>,
    pub(super) notice: Duration,
    pub(super) grace: Duration,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<crate::ServerTls>,
}

impl Settings {
    pub(super) fn shares(&self) -> Shares {
        let (per_address, reserved) = (self.max_connections_per_address, self.reserved_connections);
        Shares::new(self.max_connections, per_address, reserved)
    }
}

/// The registries to announce the server to.
#[derive(Clone, Debug)]
pub(super) enum Announce {
    /// Those that the environment names.
    FromEnvironment,
    These(Registries),
}

/// Settings for a [`Server`].
///
/// ```no_run
/// # struct Payroll;
/// # #[rpyc_server::service] impl Payroll {}
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use rpyc_server::{Server, SessionLimits};
///
/// let mut limits = SessionLimits::DEFAULT;
/// limits.idle = Some(Duration::from_secs(3600));
/// Server::builder(Payroll)
///     .bind("[::]:18861")
///     .bind_unix("/run/payroll.sock")
///     .register()
///     .max_connections(100)
///     .limits(limits)
///     .serve(rpyc_server::shutdown_signal())
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct ServerBuilder<S> {
    source: RootSource<S>,
    addresses: Vec<ListenAddr>,
    announce: Option<Announce>,
    advert: Advert,
    settings: Settings,
}

impl<S: Service> ServerBuilder<S> {
    pub(super) fn new(source: RootSource<S>) -> Self {
        Self {
            source,
            addresses: Vec::new(),
            announce: None,
            advert: Advert::default(),
            settings: Settings {
                max_connections: Server::<S>::DEFAULT_MAX_CONNECTIONS,
                max_connections_per_address: None,
                reserved_connections: None,
                first_message_timeout: Some(Server::<S>::DEFAULT_FIRST_MESSAGE_TIMEOUT),
                memory_budget: MemoryBudget::default(),
                session: SessionLimits::DEFAULT,
                timeout: Some(DEFAULT_TIMEOUT),
                compress_above: Some(3000),
                notice: Server::<S>::DEFAULT_NOTICE,
                grace: Server::<S>::DEFAULT_GRACE,
                #[cfg(feature = "tls")]
                tls: None,
            },
        }
    }

    /// Listens on a TCP address, `HOST:PORT`; one more with each call. Port 0 takes a free one,
    /// which [`Server::local_addr`] returns. `[::]:0` takes clients over IPv4 too, where the system
    /// allows.
    ///
    /// RPyC has no passwords: any host that reaches the port may call the exposed methods.
    pub fn bind(mut self, address: impl fmt::Display) -> Self {
        self.addresses.push(ListenAddr::Tcp(address.to_string()));
        self
    }

    /// Listens on a unix socket; one more with each call. It is not announced. The file is removed
    /// at the end. A socket on which no program listens, such as one that a killed server has left,
    /// is replaced. If another file or a symbolic link is there, [`listen`](Self::listen) fails and
    /// the file stays.
    #[cfg(unix)]
    pub fn bind_unix(mut self, path: impl AsRef<Path>) -> Self {
        self.addresses.push(ListenAddr::Unix(path.as_ref().to_owned()));
        self
    }

    /// Announces the service under its names to the registries that `RPYC_REGISTRY` names, or to
    /// those nearby. Default: not announced.
    pub fn register(mut self) -> Self {
        self.announce = Some(Announce::FromEnvironment);
        self
    }

    /// Announces the service under its names to these registries.
    pub fn register_with(mut self, registries: impl Into<Registries>) -> Self {
        self.announce = Some(Announce::These(registries.into()));
        self
    }

    advert_setters!();

    /// Speaks TLS on the TCP addresses. Default: in the clear, so that any machine on the way can
    /// read and change the traffic. Unix sockets have none.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::ServerTls) -> Self {
        self.settings.tls = Some(tls);
        self
    }

    /// How many clients may be connected at a time. Default 1024. Further clients are hung up on
    /// at once, unless a client that has sent no request yet can give way. Each may cost what
    /// [`limits`](Self::limits) allows.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.max_connections = connections;
        self
    }

    /// How many clients of one IP address may be connected at a time; over IPv6, of one network of
    /// 64 bits. Further clients are hung up on at once, unless a client of that address that has
    /// sent no request yet can give way. Over unix sockets it has no effect.
    ///
    /// Default: a quarter of [`max_connections`](Self::max_connections), or three quarters for a
    /// loopback address, but at least 16. Where all clients come from one address (behind a
    /// proxy, say), state as many as in all. A small number locks out users who share an address;
    /// a large one lets one host lock out all others.
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.settings.max_connections_per_address = Some(connections);
        self
    }

    /// How many of the [`max_connections`](Self::max_connections) are reserved for addresses that
    /// have fewer than 8 connections, so that a few hosts cannot lock out all others. Default: a
    /// quarter, or what one address may leave of all if that is less. Zero reserves none.
    pub fn reserved_connections(mut self, connections: usize) -> Self {
        self.settings.reserved_connections = Some(connections);
        self
    }

    /// How long a client may take to send its first valid request, the beginning of TLS included;
    /// `None` for ever. Default 60 s. A client that has sent one may be idle for as long as it
    /// likes, unless [`SessionLimits::idle`] bounds that.
    ///
    /// RPyC's clients send nothing when they connect, but when they first use `conn.root`. Too
    /// short, and clients that connect in advance find the connection closed. While connections are
    /// scarce, a client that has sent no request gives way earlier.
    pub fn first_message_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.first_message_timeout = timeout.into();
        self
    }

    /// How many bytes the messages of all clients may take together: unfinished frames, requests
    /// being served, and answers that are not read yet. Default: [`MemoryBudget::new`]. If they
    /// take more, the clients are disconnected that make no progress, or that take most.
    pub fn memory_budget(mut self, budget: MemoryBudget) -> Self {
        self.settings.memory_budget = budget;
        self
    }

    /// What one connection may cost: sizes of frames and of what they inflate to, requests being
    /// served, objects held, how long a half frame or silence is borne. Default
    /// [`SessionLimits::DEFAULT`].
    pub fn limits(mut self, limits: SessionLimits) -> Self {
        self.settings.session = limits;
        self
    }

    /// How long calls back to the client wait for their answers; `None` for ever. Default 30 s.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.timeout = timeout.into();
        self
    }

    /// Compresses messages that are longer than this, in bytes; `None` never does. Default 3000, as
    /// RPyC does. On a fast network `None` is faster.
    pub fn compress_above(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.settings.compress_above = bytes.into();
        self
    }

    /// How long new clients are still accepted after the registries were drained, when the
    /// server is to end. Default 500 ms; not at all where no registry knows of the server.
    ///
    /// It is for those that were sent here a moment before. Clients that watch their registry know
    /// at once; those that ask it now and then connect elsewhere when they are not accepted.
    pub fn notice(mut self, notice: Duration) -> Self {
        self.settings.notice = notice;
        self
    }

    /// How long requests may go on after the shutdown began. Default 5 s. A request that is not
    /// done by then is cut off; zero cuts off everything at once.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Binds all addresses. Clients can connect from now on; they wait until
    /// [`Server::serve`] runs.
    ///
    /// # Errors
    /// [`ListenError`]; then no address is bound.
    ///
    /// # Cancel safety
    /// Dropping the future gives back what was bound.
    pub async fn listen(self) -> Result<Server<S>, ListenError> {
        if self.addresses.is_empty() {
            return Err(ListenError::NoAddress);
        }
        let mut listeners = Vec::new();
        for address in &self.addresses {
            let bound = Listener::bind(address).await;
            listeners.push(
                bound
                    .map_err(|source| ListenError::Bind { address: address.to_string(), source })?,
            );
        }
        Server::new(self.source, listeners, self.announce, self.advert, self.settings)
    }

    /// Binds all addresses and serves until `shutdown` completes: [`listen`](Self::listen), then
    /// [`Server::serve`].
    ///
    /// # Errors
    /// [`ListenError`]; then nothing was served.
    ///
    /// # Cancel safety
    /// Dropping the future cuts off all clients.
    pub async fn serve(self, shutdown: impl Future) -> Result<Ended, ListenError> {
        Ok(self.listen().await?.serve(shutdown).await)
    }

    /// Serves one client over a stream that is there already, and until it ends or `shutdown`
    /// completes. Addresses are not bound, and nothing is announced.
    ///
    /// # Cancel safety
    /// Dropping the future cuts off the client.
    pub async fn serve_stream<T>(self, stream: T, shutdown: impl Future) -> Ended
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        super::serve_stream(self.source, self.settings, Box::new(stream), shutdown).await
    }

    /// Serves the one client that started this program and speaks through its standard input and
    /// output, as `rpyc.connect_subproc` does. Nothing else may write to standard output.
    ///
    /// # Cancel safety
    /// Dropping the future cuts off the client.
    pub async fn serve_stdio(self, shutdown: impl Future) -> Ended {
        super::serve_stream(self.source, self.settings, super::stdio::stream(), shutdown).await
    }
}
