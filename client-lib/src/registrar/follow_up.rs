//! Further questions to the registry that has answered.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rpyc_protocol::registry::native::{self, Operation};
use rpyc_protocol::registry::reply::Endpoint;
use tokio::time::Instant;

use super::exchange::{Asking, Failure, Reply};
use super::question::Question;
use super::route::Route;
use super::{Instance, Registrar, Service, complete_zones, page};
use crate::{Attempt, Attempts, Fault, RegistryAddr, Transport};

/// How many questions a legacy registry is asked at a time.
const IN_FLIGHT: usize = 16;

/// A registry that has answered, for further questions over the same way.
pub(super) struct FollowUp<'a> {
    pub(super) registrar: &'a Registrar,
    pub(super) registry: &'a RegistryAddr,
    pub(super) reply_from: SocketAddr,
    pub(super) local: SocketAddr,
}

impl<'a> FollowUp<'a> {
    pub(super) fn by<A>(
        registrar: &'a Registrar,
        registry: &'a RegistryAddr,
        reply: &Reply<A>,
    ) -> Self {
        Self { registrar, registry, reply_from: reply.from, local: reply.local }
    }

    /// Reads on from the first page to the last. An instance that over UDP does not even fit its
    /// own page is asked for over TCP.
    pub(super) async fn all_pages(
        &self,
        operation: Operation,
        first: native::Reply,
    ) -> Result<Vec<Service>, Attempts> {
        let mut services = Vec::new();
        let mut page = first;
        let mut place = None;
        let mut transport = self.registry.transport();
        loop {
            self.append(&mut services, page.services.unwrap_or_default());
            let next = match page.next {
                None if !page.truncated => break,
                Some(next) if Some(next) > place => next,
                // A registry that does not get on would be asked for ever.
                _ if transport != Transport::Udp => {
                    return Err(self.not_a_reply());
                }
                _ => {
                    transport = Transport::Tcp;
                    place.unwrap_or_default()
                }
            };
            place = Some(next);
            page = self.ask_on(transport, &Question::more(operation.clone(), next)).await?.answer;
        }
        services.retain(|service| !service.instances.is_empty());
        Ok(services)
    }

    /// Adds a page; the first name of it may be the last of the page before.
    fn append(&self, services: &mut Vec<Service>, page: Vec<native::Service>) {
        for native::Service { name, instances } in page {
            let instances =
                instances.into_iter().map(|instance| Instance::received(instance, self.local));
            match services.last_mut() {
                Some(last) if last.name == name => last.instances.extend(instances),
                _ => services.push(Service { name, instances: instances.collect() }),
            }
        }
    }

    pub(super) fn without_details(&self, mut endpoints: Vec<Endpoint>) -> Vec<Instance> {
        complete_zones(endpoints.iter_mut().map(|endpoint| &mut endpoint.host), self.local);
        endpoints.into_iter().map(Instance::at).collect()
    }

    /// Asks a legacy registry for each of `names`; names that have lost their servers are left out.
    pub(super) async fn query_each(
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
        let question = Question::query(&name);
        let endpoints = match self.ask_on(self.registry.transport(), &question).await {
            Ok(reply) => reply.answer,
            Err(failed) if failed.any(|fault| matches!(fault, Fault::Unknown)) => return Ok(None),
            Err(failed) => return Err(failed),
        };
        let mut instances = self.without_details(endpoints);
        instances
            .retain(|one| host.is_none_or(|host| host.is_empty() || one.endpoint.host == host));
        Ok((!instances.is_empty()).then_some(Service { name, instances }))
    }

    /// Asks the same registry again, from the same address.
    pub(super) async fn ask_on<A>(
        &self,
        transport: Transport,
        question: &Question<A>,
    ) -> Result<Reply<A>, Attempts> {
        let started = Instant::now();
        let asking = Asking::new(question, started + self.registrar.inner.timeout);
        let asked = match self.registry.socket_path() {
            Some(path) => self.registrar.ask_at_path(path, &asking).await,
            None => self.registrar.ask_by(transport, self.route(), &asking).await,
        };
        asked.map_err(|failure| {
            let registry = match RegistryAddr::new(transport, self.reply_from) {
                Ok(other) if transport != self.registry.transport() => other,
                _ => self.registry.clone(),
            };
            let Failure { fault, responder } = failure;
            Attempts::new(vec![Attempt { registry, responder, fault }], started.elapsed())
        })
    }

    /// The way to it by which it has answered.
    pub(super) fn route(&self) -> Route {
        let mut from = self.local;
        from.set_port(0);
        Route { to: self.reply_from, from: Some(from), to_many: false }
    }

    /// The failure of a registry that returned an invalid answer.
    pub(super) fn not_a_reply(&self) -> Attempts {
        let (registry, responder) = (self.registry.clone(), Some(self.reply_from));
        let attempt = Attempt { registry, responder, fault: page::not_a_reply() };
        Attempts::new(vec![attempt], Duration::ZERO)
    }

    pub(super) fn remember_legacy(&self) {
        self.registrar.inner.protocols.set_legacy(self.registry.transport(), self.reply_from);
    }
}
