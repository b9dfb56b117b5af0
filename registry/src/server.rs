//! The registry as a whole: its sockets, its tasks, and how they end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rpyc_protocol::registry::{MULTICAST_GROUP, REGISTRY_PORT};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::counters::{Counters, Loss};
use crate::dispatch::{Access, Dispatcher, random_store_id};
use crate::face::tcp::Places;
use crate::face::{Shared, tcp, udp};
use crate::limits::Limits;
use crate::net::{self, BindError, Interfaces, Plan, SharedInterfaces, UdpEar};
use crate::probe::{self, Checks, ProbeConfig};
use crate::store::{MemoryStore, Origin, Store};
use crate::table::{Entropy, Registry, TableConfig};

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

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// A registry that listens but does not serve yet.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    udp: Vec<UdpEar>,
    tcp: Vec<TcpListener>,
    listeners: Vec<Listener>,
    places: Arc<Places>,
    probes: Arc<ProbeConfig>,
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
        let origin = Origin::empty(random_store_id(os_entropy()()));
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
        let limits = limits_for_system(config.table.limits.clone());
        let interfaces = Interfaces::read();
        let plan = Plan {
            hosts: config.hosts.clone(),
            port: config.port,
            needs_ipv6: config.needs_ipv6,
            udp: config.udp,
            tcp: config.tcp,
        };
        let bound = net::bind(&plan, &interfaces)?;
        let primary = bound.udp.iter().filter(|ear| ear.is_primary());
        let udp = primary.filter_map(|ear| ear.hears.local_addr().ok()).map(Listener::Udp);
        let tcp = bound.tcp.iter().filter_map(|it| it.local_addr().ok()).map(Listener::Tcp);
        let listeners = udp.chain(tcp).collect();
        let now = Instant::now().into_std();
        let progress = store.progress();
        let table = TableConfig {
            limits: limits.clone(),
            wall_clock: seconds_of_wall_clock(),
            ..config.table.clone()
        };
        let registry = Registry::new(now, table, store, origin, os_entropy());
        registry.directory().set_own_addresses(interfaces.networks());
        let counters = Arc::new(Counters::new(now));
        let dispatcher =
            Dispatcher::new(now, registry, config.access.clone(), Arc::clone(&counters));
        let probes = Arc::new(config.probes.clone());
        let dispatcher = Arc::new(dispatcher.with_probes(Arc::clone(&probes)));
        let interfaces = SharedInterfaces::new(interfaces);
        let checks = Checks::default();
        let shared = Arc::new(Shared { dispatcher, counters, interfaces, progress, checks });
        let places = Arc::new(Places::new(limits.connections));
        Ok(Self { shared, udp: bound.udp, tcp: bound.tcp, listeners, places, probes })
    }

    /// What it listens on, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Serves until `shutdown` completes, then finishes what is under way for at most `grace`; tells
    /// whether everything was finished.
    ///
    /// No task that this started is alive when it returns.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future ends everything at once.
    pub async fn serve(self, shutdown: impl Future<Output = ()>, grace: Duration) -> bool {
        let stop = CancellationToken::new();
        let mut background = JoinSet::new();
        background.spawn(sweep(Arc::clone(&self.shared)));
        background.spawn(follow_interfaces(Arc::clone(&self.shared), self.udp.clone()));
        if !self.probes.rules.is_empty() {
            let dispatcher = Arc::clone(&self.shared.dispatcher);
            background.spawn(probe::run(dispatcher, self.probes));
        }
        let mut faces = JoinSet::new();
        for ear in self.udp {
            let serving = udp::serve(ear, Arc::clone(&self.shared), stop.clone());
            faces.spawn(async move {
                serving.await;
                true
            });
        }
        for listener in self.tcp {
            let (shared, places) = (Arc::clone(&self.shared), Arc::clone(&self.places));
            faces.spawn(tcp::serve(listener, shared, places, stop.clone(), grace));
        }
        shutdown.await;
        info!(instances = self.shared.dispatcher.instances(), "shutting down");
        stop.cancel();
        let mut has_drained = true;
        while let Some(face) = faces.join_next().await {
            has_drained &= face.unwrap_or(false);
        }
        background.shutdown().await;
        for loss in Loss::ALL {
            let total = self.shared.counters.total(loss);
            if total > 0 {
                info!(kind = loss.as_str(), total, "messages that were not served");
            }
        }
        has_drained
    }
}

/// Numbers that nobody can guess, from the system.
fn os_entropy() -> Entropy {
    Box::new(|| {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("a system that runs programs has random numbers");
        u128::from_be_bytes(bytes)
    })
}

/// The seconds of the wall clock. They are told to people and decide nothing.
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

async fn sweep(shared: Arc<Shared>) {
    let mut next = Instant::now();
    loop {
        tokio::time::sleep_until(next).await;
        next = Instant::from_std(shared.dispatcher.expire(Instant::now().into_std()));
        // A long sweep comes in parts, so that others get their turn between them.
        tokio::task::yield_now().await;
    }
}

/// Keeps the machine's addresses fresh, and joins the multicast group on links that appear.
async fn follow_interfaces(shared: Arc<Shared>, udp: Vec<UdpEar>) {
    let mut joined = std::collections::BTreeSet::new();
    loop {
        // The multicast group is heard where a wildcard socket can hear it.
        let links = shared.interfaces.get().ipv6_links();
        joined.retain(|link| links.contains(link));
        for ear in udp.iter().filter(|ear| ear.is_primary() && ear.hears.is_ipv6_wildcard()) {
            for link in &links {
                if !joined.contains(link) {
                    match ear.hears.join(MULTICAST_GROUP, *link) {
                        Ok(()) => {
                            joined.insert(*link);
                        }
                        Err(error) => debug!(link, %error, "cannot hear multicasts there"),
                    }
                }
            }
        }
        tokio::time::sleep(INTERFACES_INTERVAL).await;
        let interfaces = Interfaces::read();
        shared.dispatcher.directory().set_own_addresses(interfaces.networks());
        shared.interfaces.set(interfaces);
    }
}
