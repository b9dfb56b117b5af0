//! The client side of the registry protocol: lookups and registrations.

mod ask;
mod builder;
mod exchange;
mod follow_up;
mod instance;
pub(crate) mod native;
mod page;
mod protocols;
mod question;
mod route;
mod snapshot;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::Port;
use rpyc_protocol::registry::native::Operation;
use rpyc_protocol::registry::reply::Endpoint;
use tokio::time::Instant;

pub use builder::RegistrarBuilder;
pub use instance::{Instance, Service};
pub(crate) use snapshot::Lookup;
pub use snapshot::Snapshot;

use exchange::Reply;
use follow_up::FollowUp;
use page::EitherReply;
use protocols::KnownProtocols;
use question::Question;

use crate::net::interfaces::{Interfaces, needs_zone};
use crate::{Attempts, Fault, LookupError, RegisterError, Registries, RegistryAddr};

/// Looks up servers at registries, and registers servers of this machine.
///
/// A handle that is cheap to clone; it holds settings and no socket, so dropping it does nothing.
/// Waits for an answer as long as [`timeout`](Self::timeout): 2 s by default.
///
/// # How several registries are asked
/// The first is asked; the next one too when a quarter of a second has brought no answer, at once
/// if none can come, and also if the answer is that the name has no server. The first answer with a
/// server ends it.
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
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registries: Registries,
    /// The registries that were named, of which `registries` may be one that has answered.
    configured: Registries,
    timeout: Duration,
    connect_timeout: Duration,
    source: Option<SocketAddr>,
    protocols: KnownProtocols,
}

/// A registry's word that a registration, or the end of one, was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acknowledgement {
    /// The registry, as configured.
    pub registry: RegistryAddr,
    /// The address that the acknowledgement came from.
    pub responder: SocketAddr,
    /// The address of this machine that the request left from: the one the registry returns to
    /// others, and the only one that the registration can be ended from.
    pub source: SocketAddr,
    /// How long the registration lasts without renewal, if the registry has granted a lease. It may
    /// be less or more than the server asked for.
    pub ttl: Option<Duration>,
}

impl Registrar {
    /// How long to wait for an answer by default, as in RPyC.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

    /// How long connecting to one endpoint may take by default.
    pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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

    /// The settings of this registrar, to make another with some of them changed.
    pub fn to_builder(&self) -> RegistrarBuilder {
        RegistrarBuilder::from_settings(&self.inner)
    }

    /// The registries that are asked.
    #[must_use]
    pub fn registries(&self) -> &Registries {
        &self.inner.registries
    }

    /// How long an answer is waited for.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    /// How long connecting to one endpoint may take.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.inner.connect_timeout
    }

    /// Looks up the servers of `name`.
    ///
    /// The endpoints come in the order in which the registry recommends them; there is at least
    /// one. A link-local address without a zone gets the zone of the interface that the answer came
    /// by.
    ///
    /// All endpoints are found at this project's registry, however many there are: an answer in
    /// RPyC's encoding holds some 70, so the registry is asked for the others in its own.
    ///
    /// # Errors
    /// [`LookupError::UnknownName`] if the name has no server, [`LookupError::NoReply`] and others
    /// if that cannot be known; asking again is safe.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future abandons the answer; a question leaves nothing to undo.
    pub async fn discover(&self, name: &ServiceName) -> Result<Vec<Endpoint>, LookupError> {
        let fail = |attempts| LookupError::new(Some(name), attempts);
        let (registry, reply) = self.query(name).await?;
        let may_be_cut = page::may_be_cut_query(reply.len);
        let follow_up = FollowUp::by(self, registry, &reply);
        let mut endpoints = reply.answer;
        if may_be_cut {
            let whole =
                follow_up.ask_on(registry.transport(), &Question::resolve(name.as_str())).await;
            if let EitherReply::Native(first) = whole.map_err(fail)?.answer {
                let pages = follow_up.all_pages(Operation::resolve(name.as_str()), *first).await;
                let services = pages.map_err(fail)?.into_iter();
                let all: Vec<_> =
                    services.flat_map(|it| it.instances).map(|it| it.endpoint).collect();
                endpoints = in_turn(endpoints, all);
            }
        }
        Ok(endpoints)
    }

    /// Asks for the endpoints that the registry recommends to the next client, all of them or as
    /// many as one answer in RPyC's encoding holds: enough to connect to one.
    ///
    /// # Errors
    /// As [`Registrar::discover`].
    pub(crate) async fn recommended(
        &self,
        name: &ServiceName,
    ) -> Result<Vec<Endpoint>, LookupError> {
        self.query(name).await.map(|(_, reply)| reply.answer)
    }

    async fn query(
        &self,
        name: &ServiceName,
    ) -> Result<(&RegistryAddr, Reply<Vec<Endpoint>>), LookupError> {
        let asked = self.ask(&self.inner.registries, &Question::query(name.as_str())).await;
        let (registry, mut reply) =
            asked.map_err(|attempts| LookupError::new(Some(name), attempts))?;
        let hosts = reply.answer.iter_mut().map(|endpoint| &mut endpoint.host);
        complete_zones(hosts, reply.local);
        Ok((registry, reply))
    }

    /// Asks which names are served, by anyone or from `host` alone.
    ///
    /// The names come as the registry returns them: RPyC's own includes expired ones. An empty list
    /// means that no registry knows any. All names are found, as by [`Registrar::discover`].
    ///
    /// # Errors
    /// [`LookupError::ListingForbidden`] if the registry refuses, as RPyC's own unless it was
    /// started with `--listing`; others if no answer could be had.
    ///
    /// # Cancel safety
    /// Cancel safe, as [`Registrar::discover`].
    pub async fn list(&self, host: Option<&str>) -> Result<Vec<String>, LookupError> {
        match self.list_all(host).await {
            Ok(names) => Ok(names),
            Err(attempts) if attempts.any(|fault| matches!(fault, Fault::Unknown)) => Ok(vec![]),
            Err(attempts) => Err(LookupError::new(None, attempts)),
        }
    }

    async fn list_all(&self, host: Option<&str>) -> Result<Vec<String>, Attempts> {
        let (registry, reply) = self.ask(&self.inner.registries, &Question::list(host)).await?;
        let transport = registry.transport();
        if !page::may_be_cut_list(transport, reply.len) {
            return Ok(reply.answer);
        }
        let follow_up = FollowUp::by(self, registry, &reply);
        match follow_up.ask_on(transport, &Question::services(host)).await?.answer {
            EitherReply::Legacy(names) => Ok(names),
            EitherReply::Native(first) => {
                let services = follow_up.all_pages(Operation::list(host), *first).await?;
                Ok(services.into_iter().map(|service| service.name).collect())
            }
        }
    }

    /// Registers `names` on `port` of this machine.
    ///
    /// They expire after some minutes (240 s in RPyC) unless they are registered again. A
    /// registration goes to each of [`Registries::all_of`], or to the first of
    /// [`Registries::any_of`] that acknowledges; a registry that failed beside others that did not
    /// is logged.
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
        self.send(&Question::register(names, port)).await
    }

    /// Unregisters `port` of this machine.
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
        self.send(&[Question::unregister(port)]).await
    }

    async fn send(
        &self,
        questions: &[Question<()>],
    ) -> Result<Vec<Acknowledgement>, RegisterError> {
        let started = Instant::now();
        let targets = self.inner.registries.clone().into_targets();
        let sent: Vec<_> = targets.iter().map(|target| self.send_to(target, questions)).collect();
        let mut acknowledged = Vec::new();
        let mut failed = Vec::new();
        for outcome in join_all(sent).await {
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

    /// Sends to one target; all questions must be acknowledged.
    async fn send_to(
        &self,
        target: &Registries,
        questions: &[Question<()>],
    ) -> Result<Acknowledgement, Attempts> {
        let mut target = target.clone();
        let mut last = Err(Attempts::new(Vec::new(), Duration::ZERO));
        for question in questions {
            let (registry, reply) = self.ask(&target, question).await?;
            let registry = registry.clone();
            // Where some names are known, the others must be, too.
            target = Registries::from(registry.clone());
            let (responder, source) = (reply.from, reply.local);
            last = Ok(Acknowledgement { registry, responder, source, ttl: None });
        }
        last
    }
}

/// Puts those of `all` first that are `recommended`, in that order.
fn in_turn(recommended: Vec<Endpoint>, all: Vec<Endpoint>) -> Vec<Endpoint> {
    let mut rest: HashSet<_> = all.iter().cloned().collect();
    let first: Vec<_> = recommended.into_iter().filter(|endpoint| rest.remove(endpoint)).collect();
    let others = all.into_iter().filter(|endpoint| rest.contains(endpoint));
    let others: Vec<_> = others.collect();
    first.into_iter().chain(others).collect()
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
