//! The shared state of all requests.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::legacy::LegacyAnswers;
use super::native::NotificationCache;
use crate::access::{Access, Cookies};
use crate::admission::Admission;
use crate::counters::Counters;
use crate::store::{Progress, Ticket};
use crate::table::{Directory, Failure, Instance, Registry};

/// Selects the addresses of a new registration to probe before the answer.
pub(crate) trait CheckPlan: fmt::Debug + Send + Sync {
    /// The addresses to probe; none if the answer need not wait.
    fn addresses(&self, directory: &Directory, instance: &Arc<Instance>) -> Vec<SocketAddr>;
}

/// Performs the operations of all faces.
///
/// Pure: reads no clock and no socket. All workers share it. An operation that needs the owner of
/// the table holds its lock for one change in memory.
#[derive(Debug)]
pub struct Dispatcher {
    pub(super) directory: Arc<Directory>,
    registry: Mutex<Registry>,
    pub(super) access: Access,
    pub(super) checks: Option<Arc<dyn CheckPlan>>,
    pub(super) progress: tokio::sync::watch::Receiver<Progress>,
    pub(super) counters: Arc<Counters>,
    pub(super) cookies: Cookies,
    pub(super) notifications: Arc<NotificationCache>,
    pub(super) legacy: LegacyAnswers,
    pub(super) admission: Admission,
    pub(super) names_per_instance: usize,
    pub(super) start: Instant,
    /// The path of the socket for operators, if there is one.
    pub(super) operator_socket: Option<PathBuf>,
}

impl Dispatcher {
    /// Serves `registry`.
    #[must_use]
    pub fn new(now: Instant, registry: Registry, access: Access, counters: Arc<Counters>) -> Self {
        let limits = registry.limits();
        let names_per_instance = limits.names_per_instance;
        let admission = Admission::new(now, limits);
        Self {
            directory: registry.directory(),
            progress: registry.progress(),
            registry: Mutex::new(registry),
            access,
            checks: None,
            counters,
            cookies: Cookies::new(now),
            notifications: Arc::default(),
            legacy: LegacyAnswers::default(),
            admission,
            names_per_instance,
            start: now,
            operator_socket: None,
        }
    }

    /// Names the socket for operators to askers on this machine.
    pub(crate) fn with_operator_socket(self, operator_socket: Option<PathBuf>) -> Self {
        Self { operator_socket, ..self }
    }

    /// Probes the addresses that `plan` selects before it answers a new registration.
    pub(crate) fn with_checks(self, plan: Arc<dyn CheckPlan>) -> Self {
        Self { checks: Some(plan), ..self }
    }

    /// Ends the leases that have expired, and logs the answers that left something out. Returns
    /// when to call it again.
    pub fn expire(&self, now: Instant) -> Instant {
        self.legacy.log(now);
        self.with_registry(|registry| registry.expire(now))
    }

    /// Whether a lease may have ended by `now`.
    pub(crate) fn has_overdue(&self, now: Instant) -> bool {
        let next = self.with_registry(|registry| registry.next_expiry());
        next.is_some_and(|next| next <= now)
    }

    /// Records that the process runs, and that the next such record comes within `interval`. If
    /// this one comes more than 200 ms late, the process stood still: every lease is
    /// extended by that time, which is returned.
    pub(crate) fn is_alive(&self, now: Instant, interval: Duration) -> Option<Duration> {
        self.directory.is_alive(now, interval)
    }

    /// Follows the progress of the store.
    #[must_use]
    pub fn progress(&self) -> tokio::sync::watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// The latest change that is durable.
    pub(crate) fn committed(&self) -> Ticket {
        self.progress.borrow().committed
    }

    /// The number of the latest change.
    #[must_use]
    pub fn last_ticket(&self) -> Ticket {
        self.with_registry(|registry| registry.last_ticket())
    }

    /// Records that probes of an instance fail, or with `None` that they fail no longer.
    pub(crate) fn probed(&self, instance: &Arc<Instance>, failure: Option<Failure>) {
        self.with_registry(|registry| registry.probed(instance, failure));
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many answers in RPyC's protocol have left something out.
    pub(crate) fn answers_cut(&self) -> u64 {
        self.legacy.cut()
    }

    /// The number of instances.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.with_registry(|registry| registry.instances())
    }

    /// The half of the table that answers and renews.
    #[must_use]
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    pub(super) fn with_registry<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        change(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
