//! Binds the sockets, serves them, and ends.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::background;
use super::start::{Opening, Setup, end_of_store, limits_for_system, open};
use super::{Config, Listener};
use crate::counters::{Counters, Loss};
use crate::face::{Reception, tcp, udp};
use crate::net::{self, BindError, Interfaces, OperatorListener, OperatorSocket, UdpSocketPair};
use crate::random;
use crate::store::{MemoryStore, Opened, Origin, Store, StoreError};
use crate::table::TableConfig;

/// A registry that listens but does not serve yet.
pub struct Server {
    reception: Arc<Reception>,
    setup: Setup,
    /// The store that is still to be read, if any.
    opening: Option<Opening>,
    faces: Vec<Face>,
    listeners: Vec<Listener>,
    connections: tcp::Connections,
}

/// The sockets that one task serves.
enum Face {
    /// The sockets of one lane.
    Udp(Vec<UdpSocketPair>),
    Tcp(TcpListener),
    /// The socket for operators.
    Operators(OperatorListener),
    /// The socket for operators, once the disk has room for its file.
    OperatorsLater(OperatorSocket),
}

impl Server {
    /// Binds the sockets, so that their addresses are known and requests can queue.
    ///
    /// Call it within a tokio runtime. It starts no task.
    ///
    /// # Errors
    /// [`BindError`] if it cannot bind a socket: the address or port in the configuration is wrong
    /// or already in use. No socket stays open.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let origin = Origin::empty(random::store_id(random::number()));
        Self::with_store(config, Box::new(MemoryStore::new()), origin)
    }

    /// Like [`Server::bind`], with a given store and its records.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn with_store(
        config: &Config,
        store: Box<dyn Store>,
        origin: Origin,
    ) -> Result<Self, BindError> {
        let server = Self::listen(config, None)?;
        let now = Instant::now().into_std();
        let dispatcher = server.setup.dispatcher(now, Opened { store, origin });
        server.reception.open(dispatcher);
        Ok(server)
    }

    /// Like [`Server::bind`], with a store that takes time to open. Until then, a native asker gets
    /// the reply that the registry is not ready. A legacy asker gets no reply, because it would
    /// take any for "no servers". So a restart never turns "found" into "not found".
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn with_opening(
        config: &Config,
        opening: impl Future<Output = Result<Opened, StoreError>> + Send + 'static,
    ) -> Result<Self, BindError> {
        Self::listen(config, Some(Box::pin(opening)))
    }

    fn listen(config: &Config, opening: Option<Opening>) -> Result<Self, BindError> {
        let limits = limits_for_system(config.table.limits.clone());
        let interfaces = Interfaces::read();
        let bound = net::bind(&config.plan(), &interfaces)?;
        let primary = bound.udp.iter().flatten().filter(|pair| pair.is_primary());
        let udp = primary.filter_map(|pair| pair.receiver.local_addr().ok()).map(Listener::Udp);
        let tcp = bound.tcp.iter().filter_map(|it| it.local_addr().ok()).map(Listener::Tcp);
        let listeners = udp.chain(tcp).collect();
        let udp = bound.udp.into_iter().map(Face::Udp);
        let operators = config.operator_socket.as_ref().map(Face::for_operators).transpose()?;
        let tcp = bound.tcp.into_iter().map(Face::Tcp);
        let faces = udp.chain(tcp).chain(operators).collect();
        let connections = tcp::Connections::new(&limits);
        let counters = Arc::new(Counters::new(Instant::now().into_std()));
        let setup = Setup {
            table: TableConfig { limits, ..config.table.clone() },
            access: config.access.clone(),
            operator_socket: config.operator_socket.as_ref().map(|it| it.path.clone()),
            counters: Arc::clone(&counters),
            probes: Arc::new(config.probes.clone()),
            networks: interfaces.networks(),
        };
        let reception = Arc::new(Reception::new(counters, interfaces));
        Ok(Self { reception, setup, opening, faces, listeners, connections })
    }

    /// The listeners, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The path of the socket for operators, if the registry listens there. It does not yet if the
    /// disk has no room for the file.
    #[must_use]
    pub fn operator_socket(&self) -> Option<&Path> {
        self.faces.iter().find_map(|face| match face {
            Face::Operators(listener) => Some(listener.path()),
            _ => None,
        })
    }

    /// Completes when the registry answers requests, that is, once the store has been read. Never
    /// completes if that fails.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let reception = Arc::clone(&self.reception);
        async move {
            reception.ready().await;
        }
    }

    /// Serves until `shutdown` completes. Then finishes the current requests for at most `grace`,
    /// and waits for the store to commit all changes for as long again. Returns whether everything
    /// was finished.
    ///
    /// No task that this started is alive when it returns.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot open the store. Then it has served nothing.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future ends everything at once.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<bool, StoreError> {
        let stop = CancellationToken::new();
        let pairs = self.faces.iter().flat_map(Face::udp).cloned().collect();
        let mut background = background::start(&self.reception, &self.setup.probes, pairs);
        let mut faces = JoinSet::new();
        for face in self.faces {
            let (reception, stop) = (Arc::clone(&self.reception), stop.clone());
            faces.spawn(face.serve(reception, self.connections.clone(), stop, grace));
        }
        let failure = tokio::select! {
            () = shutdown => None,
            failure = open(self.opening, self.setup, &self.reception) => Some(failure),
        };
        let instances = self.reception.dispatcher().map(|dispatcher| dispatcher.instances());
        info!(instances, "shutting down");
        stop.cancel();
        let mut has_drained = true;
        while let Some(face) = faces.join_next().await {
            has_drained &= face.unwrap_or(false);
        }
        background.shutdown().await;
        log_totals(&self.reception);
        has_drained &= end_of_store(self.reception, grace).await;
        failure.map_or(Ok(has_drained), Err)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

impl Face {
    /// Listens for operators. A full disk stops nothing: the registry listens later.
    fn for_operators(socket: &OperatorSocket) -> Result<Self, BindError> {
        match OperatorListener::bind(socket) {
            Ok(listener) => Ok(Self::Operators(listener)),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let path = socket.path.display();
                warn!(%path, "the disk is full: operators have no socket until there is room");
                Ok(Self::OperatorsLater(socket.clone()))
            }
            Err(error) => Err(error),
        }
    }

    /// The UDP sockets.
    fn udp(&self) -> &[UdpSocketPair] {
        match self {
            Self::Udp(pairs) => pairs,
            Self::Tcp(_) | Self::Operators(_) | Self::OperatorsLater(_) => &[],
        }
    }

    /// Serves until `stop`. Returns whether everything was finished within `grace`.
    async fn serve(
        self,
        reception: Arc<Reception>,
        connections: tcp::Connections,
        stop: CancellationToken,
        grace: Duration,
    ) -> bool {
        match self {
            Self::Udp(pairs) => {
                udp::serve(pairs, reception, stop, grace).await;
                true
            }
            Self::Tcp(listener) => tcp::serve(listener, reception, connections, stop, grace).await,
            #[cfg(unix)]
            Self::Operators(listener) => {
                tcp::serve_operators(listener, reception, stop, grace).await
            }
            #[cfg(unix)]
            Self::OperatorsLater(socket) => {
                tcp::serve_operators_later(socket, reception, stop, grace).await
            }
            #[cfg(not(unix))]
            Self::Operators(_) | Self::OperatorsLater(_) => true,
        }
    }
}

/// Logs how many messages were not served, or only in part.
fn log_totals(reception: &Reception) {
    for loss in Loss::ALL {
        let total = reception.counters.total(loss);
        if total > 0 {
            info!(kind = loss.as_str(), total, "messages not served");
        }
    }
    let cuts = reception.dispatcher().map_or(0, |it| it.answers_cut());
    if cuts > 0 {
        info!(total = cuts, "answers cut short");
    }
}
