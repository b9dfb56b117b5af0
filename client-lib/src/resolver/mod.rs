//! A cache of lookups: fresh while a registry is watched, and remembered when none does.

mod builder;
mod candidate;
mod keep;
mod known;
mod load_balancing;
mod outliers;
mod shared;
mod slot;
mod status;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpyc_protocol::ServiceName;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use builder::ResolverBuilder;
pub use load_balancing::LoadBalancing;
pub use status::{Event, EventKind, Freshness, Resolved, Stats};

pub(crate) use candidate::{Candidate, ConnectionGuard, Hint};
pub(crate) use slot::Feedback;

use builder::Settings;
use known::ServerSet;
use shared::Shared;
use slot::Slot;

use crate::lock::lock;
use crate::registrar::Lookup;
use crate::{ConnectError, LookupError, Registrar, Registries, RegistryAddrError};

/// Keeps the servers of the names that it looks up, and chooses among them. A handle that is cheap
/// to clone and meant to be kept; when the last is dropped, all is over.
///
/// The first question for a name goes to the registries, as those of a [`Registrar`] do. From then
/// on the registry that answered is watched (RPyC's own is asked every quarter of a minute), and
/// further questions are answered from memory. Unused names are dropped after a while.
///
/// While no registry answers, the last good answer is used, for a bounded time and visibly
/// ([`Freshness`], [`ResolverBuilder::on_event`], `tracing`). A registry that suddenly returns an
/// empty answer, or has lost its table, is not believed at once, and one that returns an older
/// revision than before is not believed at all.
///
/// A server that could not be connected to is remembered, and tried last for a while: at most a
/// tenth of those of a name, or one.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use rpyc_client::{LoadBalancing, Registries, Resolver, args};
///
/// let resolver =
///     Resolver::builder(Registries::from_env()?).load_balancing(LoadBalancing::LeastConnections).build();
/// let payroll = resolver.connect("payroll").await?.root().await?;
/// let pay: f64 = payroll.call("get_salary", args!["Mertz", "David"]).await?;
/// for instance in &resolver.resolve("payroll").await?.instances {
///     println!("{} {}", instance.endpoint, instance.state);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Resolver(Arc<Handle>);

/// The user's handle; the tasks hold only the shared part.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

impl Resolver {
    /// How long the last good answer is used while no registry answers, by default.
    pub const DEFAULT_STALE: Duration = Duration::from_secs(600);

    /// How long servers are held back that a registry no longer returns, by default.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(75);

    /// How often to ask a registry that cannot be watched, by default.
    pub const DEFAULT_POLL: Duration = Duration::from_secs(15);

    /// How long an unused name is kept, by default.
    pub const DEFAULT_IDLE: Duration = Duration::from_secs(600);

    /// How many names are kept by default.
    pub const DEFAULT_MAX_NAMES: usize = 1024;

    /// Asks `registries`, with the default settings.
    #[must_use]
    pub fn new(registries: impl Into<Registries>) -> Self {
        Self::builder(registries).build()
    }

    /// Asks the registries that the environment names, or else those nearby.
    ///
    /// # Errors
    /// [`RegistryAddrError`] if the environment names none properly.
    pub fn from_env() -> Result<Self, RegistryAddrError> {
        Registries::from_env().map(Self::new)
    }

    /// Asks `registries`, with settings to be chosen.
    pub fn builder(registries: impl Into<Registries>) -> ResolverBuilder {
        ResolverBuilder::new(Registrar::new(registries.into()))
    }

    /// Asks as `registrar` does: the same registries, timeouts and source address.
    pub fn through(registrar: &Registrar) -> ResolverBuilder {
        ResolverBuilder::new(registrar.clone())
    }

    fn from_settings(registrar: Registrar, settings: Settings) -> Self {
        let shared = Arc::new(Shared::new(registrar, settings));
        Self(Arc::new(Handle { shared, tasks: Mutex::default() }))
    }

    /// Returns the servers of `name`: from memory if it is kept, and else from a registry. There is
    /// at least one server.
    ///
    /// # Errors
    /// [`ConnectError::Lookup`]: [`LookupError::UnknownName`] if the name has no server, others if
    /// no registry answers and no good answer is remembered; [`ConnectError::Name`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn resolve(&self, name: &str) -> Result<Arc<Resolved>, ConnectError> {
        let name = ServiceName::new(name)?;
        Ok(self.slot(&name).await?.1)
    }

    /// The current servers of `name`, and every change. The name is kept as long as the receiver.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), for the first answer; later [`Freshness`] shows failures.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn follow(&self, name: &str) -> Result<watch::Receiver<Arc<Resolved>>, ConnectError> {
        let name = ServiceName::new(name)?;
        Ok(self.slot(&name).await?.0.follow())
    }

    /// The state of each name that is kept, by name.
    #[must_use]
    pub fn status(&self) -> Vec<Arc<Resolved>> {
        let slots: Vec<_> = self.0.shared.slots().values().cloned().collect();
        let mut all: Vec<_> = slots.iter().map(|slot| slot.resolved()).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The counters so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let names = self.0.shared.slots().len();
        self.0.shared.counters.stats(names)
    }

    /// The settings by which registries are asked.
    #[must_use]
    pub fn registrar(&self) -> &Registrar {
        &self.0.shared.registrar
    }

    /// The servers of a name, the first to try first.
    pub(crate) async fn candidates(
        &self,
        name: &ServiceName,
    ) -> Result<Vec<Candidate>, ConnectError> {
        let (slot, resolved) = self.slot(name).await?;
        let candidates = slot.candidates(Instant::now().into_std(), &self.0.shared);
        if candidates.is_empty() {
            let instances = resolved.instances.len();
            return Err(ConnectError::AllDraining { name: name.clone(), instances });
        }
        Ok(candidates)
    }

    /// The slot of a name; looked up anew if it is not kept or has no server.
    async fn slot(&self, name: &ServiceName) -> Result<(Arc<Slot>, Arc<Resolved>), LookupError> {
        let shared = &self.0.shared;
        if let Some(kept) = shared.kept(name) {
            return Ok(kept);
        }
        let first = shared.first(name);
        let _one_at_a_time = first.lock().await;
        // Another task may have asked while this one waited.
        if let Some(kept) = shared.kept(name) {
            return Ok(kept);
        }
        let found = shared.ask(name).await?;
        let now = Instant::now().into_std();
        let slot = self.keep(now, name, found);
        let resolved = slot.resolved();
        Ok((slot, resolved))
    }

    /// Keeps a name that was found.
    fn keep(&self, now: std::time::Instant, name: &ServiceName, found: Lookup) -> Arc<Slot> {
        let shared = &self.0.shared;
        let servers = ServerSet::from(&found);
        let new = || Arc::new(Slot::new(now, name.clone(), shared.settings.bounds, shared));
        let (slot, is_new) = {
            let mut slots = shared.slots();
            let has_room = slots.len() < shared.settings.max_names;
            match slots.entry(name.clone()) {
                Entry::Occupied(there) => (there.get().clone(), false),
                Entry::Vacant(place) if has_room => (place.insert(new()).clone(), true),
                Entry::Vacant(_) => (new(), false),
            }
        };
        slot.learn(|known| known.replace(now, servers));
        if is_new {
            let mut tasks = lock(&self.0.tasks);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(keep::keep(Arc::clone(shared), Arc::clone(&slot), found));
        }
        slot
    }
}
