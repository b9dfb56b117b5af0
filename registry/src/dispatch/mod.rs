//! One request in, one answer out: the way of every message through the registry.

mod check;
mod cookie;
mod legacy;
mod lines;
mod native;
mod not_ready;
mod registration;
mod watch;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rpyc_protocol::registry::native::{StoreId, is_native};

use crate::admission::Admission;
use crate::counters::Counters;
use crate::refusal::Refusal;
use crate::store::{Progress, Ticket};
use crate::table::{Asker, Directory, Failure, Instance, Registry};
pub use check::Check;
use cookie::Cookies;
use lines::Lines;
pub(crate) use not_ready::not_ready;
pub use registration::{MAX_ADDRESSES, MAX_KEY_BYTES};
pub use watch::Watch;

/// Who may list the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the switch has three positions")]
pub enum Listing {
    /// Askers on this machine.
    #[default]
    ThisMachine,
    /// Every asker.
    Everyone,
    /// No asker.
    Nobody,
}

/// What is to be done about a request.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "faces must handle every outcome")]
pub enum Outcome<'b> {
    /// Send this answer.
    Reply(&'b [u8]),
    /// Send this answer once the store has committed the ticket.
    AfterCommit(Ticket, &'b [u8]),
    /// Try the addresses of a registration, if that can be done now, and then [`Check::finish`] it.
    AfterCheck(Box<Check>),
    /// Over TCP: tell what happens, for as long as the asker stays.
    Watch(Box<Watch>),
    /// Send nothing; over TCP, close the connection.
    Refused(Refusal),
}

/// Who may do what only operators may.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..Default::default()` stays valid")]
pub struct Access {
    /// Who may list the names.
    pub listing: Listing,
    /// The networks besides this machine whose askers are operators.
    pub operators: Vec<ipnet::IpNet>,
}

impl Access {
    fn may_list(&self, asker: &Asker) -> bool {
        match self.listing {
            Listing::ThisMachine => self.is_operator(asker),
            Listing::Everyone => true,
            Listing::Nobody => false,
        }
    }

    fn is_operator(&self, asker: &Asker) -> bool {
        let ip = asker.host.ip();
        asker.is_here || self.operators.iter().any(|network| network.contains(&ip))
    }
}

/// Names the addresses of a new registration that are tried before it is answered.
pub(crate) trait CheckPlan: fmt::Debug + Send + Sync {
    /// The addresses to try; none if the registration is answered at once.
    fn addresses(&self, directory: &Directory, instance: &Arc<Instance>) -> Vec<SocketAddr>;
}

/// Turns the bytes of a request into the bytes of an answer, for every face.
///
/// Pure: reads no clock and no socket. Shared by all workers; what needs the owner of the table takes
/// its lock for as long as a change in memory takes.
#[derive(Debug)]
pub struct Dispatcher {
    directory: Arc<Directory>,
    registry: Mutex<Registry>,
    access: Access,
    checks: Option<Arc<dyn CheckPlan>>,
    progress: tokio::sync::watch::Receiver<Progress>,
    counters: Arc<Counters>,
    cookies: Cookies,
    lines: Arc<Lines>,
    requests: Admission,
    renewals: Admission,
    rate: u32,
    names_per_instance: usize,
    start: Instant,
}

impl Dispatcher {
    /// Serves `registry`.
    #[must_use]
    pub fn new(now: Instant, registry: Registry, access: Access, counters: Arc<Counters>) -> Self {
        let limits = registry.limits();
        let (rate, names_per_instance) = (limits.requests_per_second, limits.names_per_instance);
        let admission = || Admission::new(now, rate);
        Self {
            directory: registry.directory(),
            progress: registry.progress(),
            registry: Mutex::new(registry),
            access,
            checks: None,
            counters,
            cookies: Cookies::new(now),
            lines: Arc::default(),
            requests: admission(),
            renewals: admission(),
            rate,
            names_per_instance,
            start: now,
        }
    }

    /// Tries the addresses that `plan` names before it answers a new registration.
    pub(crate) fn with_checks(self, plan: Arc<dyn CheckPlan>) -> Self {
        Self { checks: Some(plan), ..self }
    }

    /// Serves one request, using `buffer` for the answer.
    pub fn handle<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
    ) -> Outcome<'b> {
        self.handle_under_load(now, asker, message, buffer, &mut || true)
    }

    /// Like [`Dispatcher::handle`]; a registration that is no renewal is served only if `may_add`, asked
    /// once for each such, says so.
    pub(crate) fn handle_under_load<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
        may_add: &mut dyn FnMut() -> bool,
    ) -> Outcome<'b> {
        let outcome = match message.first() {
            Some(&first) if is_native(first) => self.native(now, asker, message, buffer, may_add),
            _ => self.legacy(now, asker, message, buffer, may_add),
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }

    /// Ends the leases whose time has come, and logs what else is due; tells when to call again.
    pub fn expire(&self, now: Instant) -> Instant {
        self.directory.cuts.log(now);
        self.with_registry(|registry| registry.expire(now))
    }

    /// Follows how far the store has come.
    #[must_use]
    pub fn progress(&self) -> tokio::sync::watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// How far the store has come.
    pub(crate) fn stored(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// The number of the change that was made last.
    #[must_use]
    pub fn last_ticket(&self) -> Ticket {
        self.with_registry(|registry| registry.last_ticket())
    }

    /// Takes note of what probes say against an instance, or that they say nothing any more.
    pub(crate) fn probed(&self, instance: &Arc<Instance>, failure: Option<Failure>) {
        self.with_registry(|registry| registry.probed(instance, failure));
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many servers there are.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.with_registry(|registry| registry.instances())
    }

    /// The half of the table that answers and renews.
    #[must_use]
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    fn admit(&self, tokens: &Admission, now: Instant, asker: &Asker) -> Result<(), Refusal> {
        if asker.is_here || tokens.admit(now, asker.host) {
            return Ok(());
        }
        Err(Refusal::TooOften { source_host: asker.host, limit: self.rate })
    }

    fn with_registry<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        change(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A store's name that no other has, by `random` numbers.
#[must_use]
pub fn random_store_id(random: u128) -> StoreId {
    StoreId::new(u32::try_from(random & u128::from(u32::MAX)).unwrap_or(0))
}
