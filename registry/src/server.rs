//! The registry as a whole: its sockets, its tasks, and how they end.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rpyc_protocol::registry::{MULTICAST_GROUP, REGISTRY_PORT};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::access::Access;
use crate::counters::{Counters, Loss};
use crate::dispatch::Dispatcher;
use crate::face::tcp::{Lines, Places};
use crate::face::{Reception, tcp, udp};
use crate::limits::Limits;
use crate::net::{self, BindError, Interfaces, Plan, UdpEar};
use crate::probe::{self, ProbeConfig};
use crate::random;
use crate::store::{MemoryStore, Opened, Origin, Store, StoreError};
use crate::table::{Registry, TableConfig};

/// How often the machine's addresses are read again.
const INTERFACES_INTERVAL: Duration = Duration::from_secs(2);

/// Descriptors kept for everything that is not a connection.
const DESCRIPTOR_RESERVE: usize = 64;

/// How a registry is set up. The default is a working one.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Config::default()` stays valid")]
pub struct Config {
    /// Addresses to listen on. Empty, the default, means all addresses of both families.
    pub hosts: Vec<IpAddr>,
    /// The port, the same for all. Default 18811; 0 lets the system choose.
    pub port: u16,
    /// Fail rather than do without IPv6. Default false.
    pub needs_ipv6: bool,
    /// Whether to serve UDP. Default true.
    pub udp: bool,
    /// How many sockets share out the datagrams that are sent to one address, each served by a task of
    /// its own, so that as many cores can be busy with them; at most 8, and one where the system cannot
    /// share them out (all but Linux). Default: one for each core that this process may use.
    pub udp_sockets: usize,
    /// Whether to serve TCP. Default true.
    pub tcp: bool,
    /// Leases, their protection, and what is taken from everybody and from each.
    pub table: TableConfig,
    /// Who may do what only some may.
    pub access: Access,
    /// What is probed, and how. Default: nothing.
    pub probes: ProbeConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            port: REGISTRY_PORT,
            needs_ipv6: false,
            udp: true,
            udp_sockets: std::thread::available_parallelism().map_or(1, usize::from),
            tcp: true,
            table: TableConfig::default(),
            access: Access::default(),
            probes: ProbeConfig::default(),
        }
    }
}

/// A socket that a registry listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "those are the transports there are")]
pub enum Listener {
    /// For datagrams.
    Udp(SocketAddr),
    /// For connections.
    Tcp(SocketAddr),
}

impl Listener {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Udp(address) | Self::Tcp(address) => *address,
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// A store that is being opened.
type Opening = Pin<Box<dyn Future<Output = Result<Opened, StoreError>> + Send>>;

/// A registry that listens but does not serve yet.
pub struct Server {
    reception: Arc<Reception>,
    setup: Setup,
    /// What is yet to be read, if anything is.
    opening: Option<Opening>,
    udp: Vec<Vec<UdpEar>>,
    tcp: Vec<TcpListener>,
    listeners: Vec<Listener>,
    places: Arc<Places>,
}

impl Server {
    /// Binds the sockets, so that their addresses are known and requests begin to queue.
    ///
    /// Call it within a tokio runtime. Starts no task.
    ///
    /// # Errors
    /// [`BindError`] if a socket cannot be had; whoever configured it or runs another registry is at
    /// fault. No socket stays open.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let origin = Origin::empty(random::store_id(random::number()));
        Self::with_store(config, Box::new(MemoryStore::new()), origin)
    }

    /// Like [`Server::bind`], with a store of choice and what it kept.
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

    /// Like [`Server::bind`], with a store that takes its time to be opened. Until it is, native
    /// askers are told that the registry is not ready, and legacy ones nothing, which would mean
    /// "nobody" to them: a restart never turns "found" into "not found".
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
        let plan = Plan {
            hosts: config.hosts.clone(),
            port: config.port,
            needs_ipv6: config.needs_ipv6,
            udp: config.udp,
            udp_sockets: config.udp_sockets,
            tcp: config.tcp,
        };
        let bound = net::bind(&plan, &interfaces)?;
        let primary = bound.udp.iter().flatten().filter(|ear| ear.is_primary());
        let udp = primary.filter_map(|ear| ear.hears.local_addr().ok()).map(Listener::Udp);
        let tcp = bound.tcp.iter().filter_map(|it| it.local_addr().ok()).map(Listener::Tcp);
        let listeners = udp.chain(tcp).collect();
        let places = Arc::new(Places::new(limits.connections));
        let counters = Arc::new(Counters::new(Instant::now().into_std()));
        let setup = Setup {
            table: TableConfig { limits, ..config.table.clone() },
            access: config.access.clone(),
            counters: Arc::clone(&counters),
            probes: Arc::new(config.probes.clone()),
            networks: interfaces.networks(),
        };
        let reception = Arc::new(Reception::new(counters, interfaces));
        Ok(Self { reception, setup, opening, udp: bound.udp, tcp: bound.tcp, listeners, places })
    }

    /// What it listens on, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Completes when requests are answered, that is, once the store has been read; not at all if that
    /// fails.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let reception = Arc::clone(&self.reception);
        async move {
            reception.ready().await;
        }
    }

    /// Serves until `shutdown` completes, then finishes what is under way for at most `grace`, and
    /// waits for the store to keep what it has been told for as long again; tells whether everything
    /// was finished.
    ///
    /// No task that this started is alive when it returns.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be opened. Then nothing was served.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future ends everything at once.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<bool, StoreError> {
        let stop = CancellationToken::new();
        let mut background = JoinSet::new();
        background.spawn(sweep(Arc::clone(&self.reception)));
        background.spawn(follow_interfaces(Arc::clone(&self.reception), self.udp.concat()));
        if !self.setup.probes.rules.is_empty() {
            let (reception, probes) = (Arc::clone(&self.reception), Arc::clone(&self.setup.probes));
            background.spawn(async move {
                let dispatcher = Arc::clone(reception.ready().await);
                probe::run(dispatcher, probes).await;
            });
        }
        let mut faces = JoinSet::new();
        for ears in self.udp {
            let (reception, stop) = (Arc::clone(&self.reception), stop.clone());
            let serving = udp::serve(ears, reception, stop, grace);
            faces.spawn(async move {
                serving.await;
                true
            });
        }
        let lines = Arc::new(Lines::default());
        for listener in self.tcp {
            let reception = Arc::clone(&self.reception);
            let order = (Arc::clone(&self.places), Arc::clone(&lines));
            faces.spawn(tcp::serve(listener, reception, order, stop.clone(), grace));
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
        for loss in Loss::ALL {
            let total = self.reception.counters.total(loss);
            if total > 0 {
                info!(kind = loss.as_str(), total, "messages that were not served");
            }
        }
        let cuts = self.reception.dispatcher().map_or(0, |it| it.directory().cuts.total());
        if cuts > 0 {
            info!(total = cuts, "answers that left something out");
        }
        has_drained &= end_of_store(self.reception, grace).await;
        failure.map_or(Ok(has_drained), Err)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

/// What a dispatcher is made of, besides a store.
struct Setup {
    table: TableConfig,
    access: Access,
    counters: Arc<Counters>,
    probes: Arc<ProbeConfig>,
    /// The networks that this machine is in.
    networks: Vec<IpNet>,
}

impl Setup {
    /// The table with what was kept. With a million instances this takes a second.
    fn dispatcher(&self, now: std::time::Instant, opened: Opened) -> Arc<Dispatcher> {
        let Self { table, access, counters, probes, networks } = self;
        let table = TableConfig { wall_clock: seconds_of_wall_clock(), ..table.clone() };
        let Opened { store, origin } = opened;
        let registry = Registry::new(now, table, store, origin, random::entropy());
        registry.directory().set_own_addresses(networks.clone());
        let dispatcher = Dispatcher::new(now, registry, access.clone(), Arc::clone(counters));
        Arc::new(dispatcher.with_probes(Arc::clone(probes)))
    }
}

/// Opens the store and makes the table, which is served from then on; completes only if that fails.
async fn open(opening: Option<Opening>, setup: Setup, reception: &Reception) -> StoreError {
    if let Some(opening) = opening {
        let opened = match opening.await {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        let now = Instant::now().into_std();
        let made = tokio::task::spawn_blocking(move || setup.dispatcher(now, opened)).await;
        reception.open(made.expect("making the table does not panic"));
        info!("serving");
    }
    std::future::pending().await
}

/// Lets go of the store and waits until it has kept all that it can; tells whether that was everything.
async fn end_of_store(reception: Arc<Reception>, grace: Duration) -> bool {
    let Some(dispatcher) = reception.dispatcher() else { return true };
    let (mut progress, last) = (dispatcher.progress(), dispatcher.last_ticket());
    // The tasks have ended, so this is the last to hold it.
    drop(reception);
    let end = async { while progress.changed().await.is_ok() {} };
    let has_ended = tokio::time::timeout(grace, end).await.is_ok();
    has_ended && progress.borrow().committed >= last
}

/// The seconds of the wall clock. They are told to people and decide nothing.
#[expect(clippy::disallowed_methods, reason = "told to people, and decides nothing")]
fn seconds_of_wall_clock() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |since| since.as_secs())
}

/// Never promises more connections than there can be descriptors.
fn limits_for_system(limits: Limits) -> Limits {
    let Some(open_files) = net::raise_open_files() else { return limits };
    let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
    let connections = limits.connections.min(open_files.saturating_sub(DESCRIPTOR_RESERVE)).max(1);
    debug!(open_files, connections, "limits of the system");
    Limits { connections, ..limits }
}

async fn sweep(reception: Arc<Reception>) {
    let dispatcher = reception.ready().await;
    let mut next = Instant::now();
    loop {
        tokio::time::sleep_until(next).await;
        next = Instant::from_std(dispatcher.expire(Instant::now().into_std()));
        // A long sweep comes in parts, so that others get their turn between them.
        tokio::task::yield_now().await;
    }
}

/// Keeps the machine's addresses fresh, and joins the multicast group on links that appear.
async fn follow_interfaces(reception: Arc<Reception>, udp: Vec<UdpEar>) {
    let mut joined = std::collections::BTreeSet::new();
    loop {
        // The multicast group is heard where a wildcard socket can hear it.
        let links = reception.interfaces.get().ipv6_links();
        joined.retain(|link| links.contains(link));
        let mut fresh = Vec::new();
        let wildcards = || udp.iter().filter(|ear| ear.hears.is_ipv6_wildcard());
        for link in links.iter().filter(|link| !joined.contains(*link)) {
            // Each lane serves the multicasts of its hosts.
            let join = |ear: &UdpEar| ear.hears.join(MULTICAST_GROUP, *link);
            match wildcards().try_for_each(join) {
                Ok(()) => fresh.push(*link),
                Err(error) => debug!(link, %error, "cannot hear multicasts there"),
            }
        }
        joined.extend(fresh);
        tokio::time::sleep(INTERFACES_INTERVAL).await;
        let interfaces = Interfaces::read();
        if let Some(dispatcher) = reception.dispatcher() {
            dispatcher.directory().set_own_addresses(interfaces.networks());
        }
        reception.interfaces.set(interfaces);
    }
}
