//! Builds the table from the store at the start, and waits for the store at the end.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::access::Access;
use crate::counters::Counters;
use crate::dispatch::Dispatcher;
use crate::face::Reception;
use crate::limits::Limits;
use crate::net;
use crate::probe::ProbeConfig;
use crate::random;
use crate::store::{Opened, StoreError};
use crate::table::{Registry, TableConfig};

/// Descriptors kept for everything that is not a connection.
const DESCRIPTOR_RESERVE: usize = 64;

/// A store that is being opened.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Opened, StoreError>> + Send>>;

/// The parts of a dispatcher, except the store.
pub(super) struct Setup {
    pub(super) table: TableConfig,
    pub(super) access: Access,
    /// The path of the socket for operators, if there is one.
    pub(super) operator_socket: Option<PathBuf>,
    pub(super) counters: Arc<Counters>,
    pub(super) probes: Arc<ProbeConfig>,
    /// The networks of this machine.
    pub(super) networks: Vec<IpNet>,
}

impl Setup {
    /// Creates a dispatcher with the stored registrations. A million instances take a second.
    pub(super) fn dispatcher(&self, now: std::time::Instant, opened: Opened) -> Arc<Dispatcher> {
        let Self { table, access, operator_socket, counters, probes, networks } = self;
        let table = TableConfig { wall_clock: seconds_of_wall_clock(), ..table.clone() };
        let Opened { store, origin } = opened;
        let registry = Registry::new(now, table, store, origin, random::entropy());
        registry.directory().set_own_addresses(networks.clone());
        let dispatcher = Dispatcher::new(now, registry, access.clone(), Arc::clone(counters));
        let dispatcher = dispatcher.with_operator_socket(operator_socket.clone());
        Arc::new(dispatcher.with_probes(Arc::clone(probes)))
    }
}

/// Opens the store and builds the table, and serves it from then on. Completes only if that fails.
pub(super) async fn open(
    opening: Option<Opening>,
    setup: Setup,
    reception: &Reception,
) -> StoreError {
    if let Some(opening) = opening {
        let opened = match opening.await {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        let now = Instant::now().into_std();
        let made = tokio::task::spawn_blocking(move || setup.dispatcher(now, opened)).await;
        reception.open(made.expect("building the table does not panic"));
        info!("serving");
    }
    std::future::pending().await
}

/// Releases the store and waits until it has committed all that it can. Returns whether that was
/// everything.
pub(super) async fn end_of_store(reception: Arc<Reception>, grace: Duration) -> bool {
    let Some(dispatcher) = reception.dispatcher() else { return true };
    let (mut progress, last) = (dispatcher.progress(), dispatcher.last_ticket());
    // The tasks have ended, so this is the last reference.
    drop(reception);
    let end = async { while progress.changed().await.is_ok() {} };
    let has_ended = tokio::time::timeout(grace, end).await.is_ok();
    has_ended && progress.borrow().committed >= last
}

/// The seconds of the wall clock, for display only: they decide nothing.
#[expect(clippy::disallowed_methods, reason = "for display only")]
fn seconds_of_wall_clock() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |since| since.as_secs())
}

/// Lowers the limit on connections to the descriptors that the system allows.
pub(super) fn limits_for_system(limits: Limits) -> Limits {
    let Some(open_files) = net::raise_open_files() else { return limits };
    let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
    let connections = limits.connections.min(open_files.saturating_sub(DESCRIPTOR_RESERVE)).max(1);
    debug!(open_files, connections, "limits of the operating system");
    Limits { connections, ..limits }
}
