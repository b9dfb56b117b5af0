//! Who serves what, with the age of each registration where the registry tells it.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rpyc_protocol::ServiceName;
use rpyc_protocol::brine::{DecodeError, DecodeErrorKind};
use rpyc_protocol::registry::native::{self, Cursor, Operation};
use rpyc_protocol::registry::reply::Endpoint;
use tokio::time::Instant;

use super::ask::{Asking, Failure, Reply};
use super::page::Page;
use super::question::Question;
use super::{Registrar, complete_zones};
use crate::route::Route;
use crate::{Attempt, Attempts, Fault, LookupError, RegistryAddr, Transport};

/// What one registry tells of all services.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The registry, as it was named.
    pub registry: RegistryAddr,
    /// The address that the answer came from.
    pub responder: SocketAddr,
    /// The services that somebody serves, in the registry's order.
    pub services: Vec<Service>,
}

impl Snapshot {
    /// What is told if somebody answered that there is nothing.
    fn of_nothing(attempts: Attempts) -> Result<Self, LookupError> {
        let empty = attempts.iter().find_map(|attempt| match attempt.fault {
            Fault::Unknown => Some((attempt.registry.clone(), attempt.responder?)),
            _ => None,
        });
        match empty {
            Some((registry, responder)) => Ok(Self { registry, responder, services: Vec::new() }),
            None => Err(LookupError::new(None, attempts)),
        }
    }
}

/// One name and who serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// The name, as the registry tells it.
    pub name: String,
    /// Who serves it; at least one.
    pub instances: Vec<Instance>,
}

/// One server of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Where it can be reached.
    pub endpoint: Endpoint,
    /// How long ago it registered the name; not known where RPyC's own registry answers.
    pub age: Option<Duration>,
    /// How long the registry keeps it unless it registers again; not known where RPyC's own
    /// registry answers.
    pub left: Option<Duration>,
}

/// How many questions a legacy registry is asked at a time.
const IN_FLIGHT: usize = 16;

impl Registrar {
    /// Asks for every name and who serves it, by anyone or on `host` alone.
    ///
    /// One registry answers, in pages if there is much to tell; RPyC's own is asked for the names
    /// and then for each of them. Every single answer is waited for as long as
    /// [`timeout`](Self::timeout) tells. What changes meanwhile may be told or not. RPyC's own over
    /// TCP takes half a second longer, once, to be known for what it is.
    ///
    /// # Errors
    /// As [`Registrar::list`]; an error between pages gives up the others.
    ///
    /// # Cancel safety
    /// Cancel safe, as [`Registrar::discover`].
    pub async fn services(&self, host: Option<&str>) -> Result<Snapshot, LookupError> {
        let asked = self.ask(&self.inner.registries, &Question::services(host)).await;
        let (registry, reply) = match asked {
            Ok(told) => told,
            Err(attempts) => return Snapshot::of_nothing(attempts),
        };
        let told = Told { registrar: self, registry, reply_from: reply.from, local: reply.local };
        let services = match reply.answer {
            Page::Native(first) => told.all_pages(Operation::list(host), *first).await,
            Page::Legacy(names) => {
                told.remember_legacy();
                told.query_each(names, host).await
            }
        };
        let services = services.map_err(|failed| LookupError::new(None, failed))?;
        Ok(Snapshot { registry: registry.clone(), responder: reply.from, services })
    }

    /// Asks who serves `name`, and since when, where the registry tells.
    ///
    /// As [`Registrar::discover`] otherwise, except that the order is the registration's.
    ///
    /// # Errors
    /// As [`Registrar::discover`].
    ///
    /// # Cancel safety
    /// Cancel safe, as [`Registrar::discover`].
    pub async fn resolve(&self, name: &ServiceName) -> Result<Vec<Instance>, LookupError> {
        let fail = |attempts| LookupError::new(Some(name), attempts);
        let asked = self.ask(&self.inner.registries, &Question::resolve(name.as_str())).await;
        let (registry, reply) = asked.map_err(fail)?;
        let told = Told { registrar: self, registry, reply_from: reply.from, local: reply.local };
        match reply.answer {
            Page::Native(first) => {
                let operation = Operation::resolve(name.as_str());
                let services = told.all_pages(operation, *first).await.map_err(fail)?;
                Ok(services.into_iter().flat_map(|service| service.instances).collect())
            }
            Page::Legacy(endpoints) => {
                told.remember_legacy();
                Ok(told.without_ages(endpoints))
            }
        }
    }
}

/// A registry that has begun to tell, and goes on when asked.
struct Told<'a> {
    registrar: &'a Registrar,
    registry: &'a RegistryAddr,
    reply_from: SocketAddr,
    local: SocketAddr,
}

impl Told<'_> {
    /// Reads on from the first page to the last.
    async fn all_pages(
        &self,
        operation: Operation,
        first: native::Reply,
    ) -> Result<Vec<Service>, Attempts> {
        let mut services = Vec::new();
        let mut page = first;
        let mut place = None;
        loop {
            self.append(&mut services, page.services.unwrap_or_default());
            let Some(next) = page.next else { break };
            // A registry that does not get on would be asked for ever.
            if place.is_some_and(|place: Cursor| next <= place) {
                let error = DecodeError { kind: DecodeErrorKind::NotAReply, offset: 0 };
                return Err(self.failed(Fault::Undecodable(error).into(), Duration::ZERO));
            }
            place = Some(next);
            page = self.ask_on(&Question::more(operation.clone(), next)).await?.answer;
        }
        services.retain(|service| !service.instances.is_empty());
        Ok(services)
    }

    /// Adds a page; the first name of it may be the last of the page before.
    fn append(&self, services: &mut Vec<Service>, page: Vec<native::Service>) {
        for native::Service { name, instances } in page {
            let instances = instances.into_iter().map(|told| self.instance(told));
            match services.last_mut() {
                Some(last) if last.name == name => last.instances.extend(instances),
                _ => services.push(Service { name, instances: instances.collect() }),
            }
        }
    }

    fn instance(&self, told: native::Instance) -> Instance {
        let mut endpoint = Endpoint { host: told.host, port: told.port };
        complete_zones(std::iter::once(&mut endpoint.host), self.local);
        let age = Some(Duration::from_millis(told.age_ms));
        Instance { endpoint, age, left: Some(Duration::from_millis(told.left_ms)) }
    }

    fn without_ages(&self, mut endpoints: Vec<Endpoint>) -> Vec<Instance> {
        complete_zones(endpoints.iter_mut().map(|endpoint| &mut endpoint.host), self.local);
        let instance = |endpoint| Instance { endpoint, age: None, left: None };
        endpoints.into_iter().map(instance).collect()
    }

    /// Asks a legacy registry for each of `names`; those that nobody serves any more are left out.
    async fn query_each(
        &self,
        names: Vec<String>,
        host: Option<&str>,
    ) -> Result<Vec<Service>, Attempts> {
        // Collected, since the compiler finds no future with a lazy list of these to be `Send`.
        let queries: Vec<_> = names.into_iter().map(|name| self.query(name, host)).collect();
        let mut answers = stream::iter(queries).buffered(IN_FLIGHT);
        let mut services = Vec::new();
        while let Some(service) = answers.next().await {
            services.extend(service?);
        }
        Ok(services)
    }

    async fn query(&self, name: String, host: Option<&str>) -> Result<Option<Service>, Attempts> {
        let endpoints = match self.ask_on(&Question::query(&name)).await {
            Ok(reply) => reply.answer,
            Err(failed) if failed.any(|fault| matches!(fault, Fault::Unknown)) => return Ok(None),
            Err(failed) => return Err(failed),
        };
        let mut instances = self.without_ages(endpoints);
        instances
            .retain(|one| host.is_none_or(|host| host.is_empty() || one.endpoint.host == host));
        Ok((!instances.is_empty()).then_some(Service { name, instances }))
    }

    /// Asks the same registry again, from the same address.
    async fn ask_on<A>(&self, question: &Question<A>) -> Result<Reply<A>, Attempts> {
        let started = Instant::now();
        let asking = Asking::new(question, started + self.registrar.inner.timeout);
        let mut from = self.local;
        from.set_port(0);
        let route = Route { to: self.reply_from, from: Some(from), to_many: false };
        let asked = self.registrar.ask_by(self.registry.transport(), route, &asking);
        asked.await.map_err(|failure| self.failed(failure, started.elapsed()))
    }

    fn failed(&self, failure: Failure, waited: Duration) -> Attempts {
        let Failure { fault, responder } = failure;
        Attempts::new(vec![Attempt { registry: self.registry.clone(), responder, fault }], waited)
    }

    fn remember_legacy(&self) {
        if self.registry.transport() == Transport::Tcp {
            self.registrar.legacy_over_tcp().insert(self.reply_from);
        }
    }
}

#[cfg(test)]
mod tests;
