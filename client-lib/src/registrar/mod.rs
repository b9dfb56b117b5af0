//! The client side of the registry protocol: who serves what, and who does not any more.

mod builder;
mod question;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::reply::Endpoint;
use tokio::time::Instant;

pub use builder::RegistrarBuilder;
use question::Question;

use crate::Transport;
use crate::interfaces::{Interfaces, needs_zone};
use crate::race::first_success;
use crate::route::{self, Route};
use crate::{Attempt, Attempts, Fault, LookupError, RegisterError, Registries, RegistryAddr};

/// Asks registries who serves a name, and tells them what is served here.
///
/// A handle that is cheap to clone; it holds settings and no socket, so dropping it does nothing.
/// Every operation ends within [`timeout`](Self::timeout), 2 s unless told otherwise.
///
/// # How several registries are asked
/// The first is asked; the next one too when a quarter of a second has brought no answer, at once
/// when there can be none, and also when the answer is that nobody serves the name. The first
/// answer that tells something ends it.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use rpyc_client::{Registrar, ServiceName};
///
/// let registrar = Registrar::from_env()?;
/// for endpoint in registrar.discover(&ServiceName::new("payroll")?).await? {
///     println!("{endpoint}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Registrar {
    settings: Arc<Settings>,
}

#[derive(Debug)]
struct Settings {
    registries: Registries,
    timeout: Duration,
    source: Option<SocketAddr>,
}

/// A registry's word that a registration, or the end of one, was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acknowledgement {
    /// The registry, as it was named.
    pub registry: RegistryAddr,
    /// The address that the acknowledgement came from.
    pub responder: SocketAddr,
    /// The address of this machine that the request left from: the one the registry tells others,
    /// and the only one that the registration can be ended from.
    pub source: SocketAddr,
}

/// What was answered, and between which addresses.
#[derive(Debug)]
struct Reply<A> {
    answer: A,
    from: SocketAddr,
    local: SocketAddr,
}

/// Why one way to a registry led to nothing.
#[derive(Debug)]
struct Failure {
    fault: Fault,
    responder: Option<SocketAddr>,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { fault, responder: None }
    }
}

impl Failure {
    /// Whether a single registry that was asked has said all it will.
    fn is_final(&self) -> bool {
        matches!(self.fault, Fault::ListingForbidden | Fault::Unknown)
    }

    /// Whether another encoding of the same request could do better.
    fn may_be_the_encodings(&self) -> bool {
        self.fault.is_silence()
            || matches!(self.fault, Fault::Undecodable(_) | Fault::UndecodableNative(_))
    }
}

impl Registrar {
    /// How long an answer is waited for unless told otherwise, as in RPyC.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

    /// Longest time between asking one registry and asking the next.
    const STAGGER: Duration = Duration::from_millis(250);

    /// Asks `registries`, with the default settings.
    #[must_use]
    pub fn new(registries: Registries) -> Self {
        Self::builder(registries).build()
    }

    /// Asks the registries that the environment names, or else those nearby; see
    /// [`Registries::from_env`].
    ///
    /// # Errors
    /// [`RegistryAddrError`](crate::RegistryAddrError) if the environment names none properly.
    pub fn from_env() -> Result<Self, crate::RegistryAddrError> {
        Registries::from_env().map(Self::new)
    }

    /// Asks `registries`, with settings to be chosen.
    pub fn builder(registries: Registries) -> RegistrarBuilder {
        RegistrarBuilder::new(registries)
    }

    /// The registries that are asked.
    #[must_use]
    pub fn registries(&self) -> &Registries {
        &self.settings.registries
    }

    /// How long an answer is waited for.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Asks who serves `name`.
    ///
    /// The endpoints come in the order in which the registry recommends them; there is at least
    /// one. A link-local address without a zone gets the zone of the interface that the answer came
    /// by.
    ///
    /// # Errors
    /// [`LookupError::UnknownName`] if nobody serves it, [`LookupError::NoReply`] and others if
    /// that cannot be known; asking again is safe.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future abandons the answer; a question leaves nothing to undo.
    pub async fn discover(&self, name: &ServiceName) -> Result<Vec<Endpoint>, LookupError> {
        match self.ask(&self.settings.registries, &Question::query(name)).await {
            Ok((_, reply)) => {
                let mut endpoints = reply.answer;
                complete_zones(
                    endpoints.iter_mut().map(|endpoint| &mut endpoint.host),
                    reply.local,
                );
                Ok(endpoints)
            }
            Err(attempts) => Err(LookupError::new(Some(name), attempts)),
        }
    }

    /// Asks which names are served, by anyone or from `host` alone.
    ///
    /// The names come as the registry tells them: RPyC's own tells of the dead, too. An empty list
    /// means that no registry knows any.
    ///
    /// # Errors
    /// [`LookupError::ListingForbidden`] if the registry does not tell, as RPyC's own unless it was
    /// started with `--listing`; others if no answer could be had.
    ///
    /// # Cancel safety
    /// Cancel safe, as [`Registrar::discover`].
    pub async fn list(&self, host: Option<&str>) -> Result<Vec<String>, LookupError> {
        match self.ask(&self.settings.registries, &Question::list(host)).await {
            Ok((_, reply)) => Ok(reply.answer),
            Err(attempts) if attempts.any(|fault| matches!(fault, Fault::Unknown)) => Ok(vec![]),
            Err(attempts) => Err(LookupError::new(None, attempts)),
        }
    }

    /// Tells the registries that `names` are served on `port` of this machine.
    ///
    /// They forget it after some minutes (240 s in RPyC) unless it is told again. A registration is
    /// told to each of [`Registries::all_of`], or to the first of [`Registries::any_of`] that
    /// acknowledges; a registry that failed beside others that did not is logged.
    ///
    /// # Errors
    /// [`RegisterError`] if no registry acknowledged; registering again is safe.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the acknowledgement; the registration may have been taken.
    pub async fn register(
        &self,
        names: &[ServiceName],
        port: &Port,
    ) -> Result<Vec<Acknowledgement>, RegisterError> {
        self.tell(&Question::register(names, port)).await
    }

    /// Tells the registries that nothing is served on `port` of this machine any more.
    ///
    /// A registry knows a server by the address that it registered from, so on a machine with
    /// several addresses the [`source`](RegistrarBuilder::source) should be that of the
    /// registration's [`Acknowledgement`].
    ///
    /// # Errors
    /// [`RegisterError`] if no registry acknowledged; unregistering again is safe.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the acknowledgement; the registration may have ended.
    pub async fn unregister(&self, port: &Port) -> Result<Vec<Acknowledgement>, RegisterError> {
        self.tell(&[Question::unregister(port)]).await
    }

    async fn tell(
        &self,
        questions: &[Question<()>],
    ) -> Result<Vec<Acknowledgement>, RegisterError> {
        let started = Instant::now();
        let targets = self.settings.registries.clone().into_targets();
        let told: Vec<_> =
            targets.iter().map(|target| self.tell_target(target, questions)).collect();
        let mut acknowledged = Vec::new();
        let mut failed = Vec::new();
        for outcome in join_all(told).await {
            match outcome {
                Ok(acknowledgement) => acknowledged.push(acknowledgement),
                Err(attempts) => failed.push(attempts),
            }
        }
        if acknowledged.is_empty() {
            let attempts = failed.into_iter().flat_map(Attempts::into_each).collect();
            return Err(RegisterError::new(Attempts::new(attempts, started.elapsed())));
        }
        for attempts in failed {
            tracing::warn!(%attempts, "a registry did not acknowledge, others did");
        }
        Ok(acknowledged)
    }

    /// Tells one target; all questions must be acknowledged.
    async fn tell_target(
        &self,
        target: &Registries,
        questions: &[Question<()>],
    ) -> Result<Acknowledgement, Attempts> {
        let mut last = Err(Attempts::new(Vec::new(), Duration::ZERO));
        for question in questions {
            let (registry, reply) = self.ask(target, question).await?;
            last = Ok(Acknowledgement {
                registry: registry.clone(),
                responder: reply.from,
                source: reply.local,
            });
        }
        last
    }

    /// Asks `registries` one after another, without waiting for the silent ones.
    async fn ask<'a, A>(
        &self,
        registries: &'a Registries,
        question: &Question<A>,
    ) -> Result<(&'a RegistryAddr, Reply<A>), Attempts> {
        let started = Instant::now();
        let deadline = started + self.settings.timeout;
        let stagger = self.stagger(registries.iter().len());
        // Collected, since the compiler finds no future with a lazy list of these to be `Send`.
        let attempts: Vec<_> =
            registries.iter().map(|registry| self.attempt(registry, question, deadline)).collect();
        let outcome = first_success(attempts, stagger).await;
        outcome.map_err(|each| Attempts::new(each, started.elapsed()))
    }

    /// Asks one registry by each way to it.
    async fn attempt<'a, A>(
        &self,
        registry: &'a RegistryAddr,
        question: &Question<A>,
        deadline: Instant,
    ) -> Result<(&'a RegistryAddr, Reply<A>), Attempt> {
        let outcome = match route::find(registry, self.settings.source, deadline).await {
            Ok(routes) => {
                let stagger = self.stagger(routes.len());
                let attempts: Vec<_> = routes
                    .into_iter()
                    .map(|route| ask_by(registry.transport(), route, question, deadline))
                    .collect();
                first_success(attempts, stagger).await.map_err(most_telling)
            }
            Err(fault) => Err(fault.into()),
        };
        match outcome {
            Ok(reply) => Ok((registry, reply)),
            Err(Failure { fault, responder }) => {
                tracing::debug!(%registry, ?responder, %fault, "no answer");
                Err(Attempt { registry: registry.clone(), responder, fault })
            }
        }
    }

    /// The time between one start and the next, so that the last of `n` has half the timeout left.
    fn stagger(&self, n: usize) -> Duration {
        let n = u32::try_from(n.max(1)).unwrap_or(u32::MAX);
        Self::STAGGER.min(self.settings.timeout / n.saturating_mul(2))
    }
}

/// Of the failures on several ways to one registry, the one to tell.
fn most_telling(failures: Vec<Failure>) -> Failure {
    let most = failures.into_iter().max_by_key(|failure| failure.fault.rank());
    most.unwrap_or_else(|| Fault::NoInterface.into())
}

async fn ask_by<A>(
    transport: Transport,
    route: Route,
    question: &Question<A>,
    deadline: Instant,
) -> Result<Reply<A>, Failure> {
    match transport {
        Transport::Tcp => tcp::ask(&route, question, deadline).await,
        Transport::Udp => udp::ask(&route, question, deadline).await,
    }
}

/// Adds to link-local hosts without a zone that of the interface with the address `local`.
fn complete_zones<'a>(hosts: impl Iterator<Item = &'a mut String>, local: SocketAddr) {
    let mut incomplete = hosts.filter(|host| host.parse().is_ok_and(needs_zone)).peekable();
    if incomplete.peek().is_none() {
        return;
    }
    let Ok(interfaces) = Interfaces::read() else { return };
    let Some(zone) = interfaces.zone_at(local) else { return };
    for host in incomplete {
        host.push('%');
        host.push_str(zone);
    }
}
