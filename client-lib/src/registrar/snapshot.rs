//! Services and their servers, with all details that the registry knows.

use std::net::SocketAddr;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{Operation, Revision};

use super::follow_up::FollowUp;
use super::page::EitherReply;
use super::question::Question;
use super::{Instance, Registrar, Service};
use crate::{Attempts, Fault, LookupError, RegistryAddr};

/// All services that one registry knows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The registry, as configured.
    pub registry: RegistryAddr,
    /// The address that the answer came from.
    pub responder: SocketAddr,
    /// The services that have servers, in the registry's order.
    pub services: Vec<Service>,
}

impl Snapshot {
    /// The snapshot after a registry answered that it knows nothing.
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

/// The servers of a name, and the registry that returned them.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub(crate) registry: RegistryAddr,
    pub(crate) responder: SocketAddr,
    /// The address of this machine that was answered to.
    pub(crate) local: SocketAddr,
    pub(crate) revision: Option<Revision>,
    pub(crate) is_native: bool,
    pub(crate) instances: Vec<Instance>,
}

impl Registrar {
    /// Looks up every name and its servers, by anyone or on `host` alone.
    ///
    /// One registry answers, in pages if necessary; RPyC's own is asked for the names
    /// and then for each of them. Every single answer is waited for as long as
    /// [`timeout`](Self::timeout). Changes in the meantime may be missing. RPyC's own over
    /// TCP takes half a second longer, once, to be known for what it is.
    ///
    /// # Errors
    /// As [`Registrar::list`]; an error between pages drops the pages so far.
    ///
    /// # Cancel safety
    /// Cancel safe, as [`Registrar::discover`].
    pub async fn services(&self, host: Option<&str>) -> Result<Snapshot, LookupError> {
        let asked = self.ask(&self.inner.registries, &Question::services(host)).await;
        let (registry, reply) = match asked {
            Ok(answered) => answered,
            Err(attempts) => return Snapshot::of_nothing(attempts),
        };
        let follow_up = FollowUp::by(self, registry, &reply);
        let services = match reply.answer {
            EitherReply::Native(first) => follow_up.all_pages(Operation::list(host), *first).await,
            EitherReply::Legacy(names) => {
                follow_up.remember_legacy();
                follow_up.query_each(names, host).await
            }
        };
        let services = services.map_err(|failed| LookupError::new(None, failed))?;
        Ok(Snapshot { registry: registry.clone(), responder: reply.from, services })
    }

    /// Looks up the servers of `name`, with their ages where the registry knows them.
    ///
    /// As [`Registrar::discover`] otherwise, except that the order is the registration's.
    ///
    /// # Errors
    /// As [`Registrar::discover`].
    ///
    /// # Cancel safety
    /// Cancel safe, as [`Registrar::discover`].
    pub async fn resolve(&self, name: &ServiceName) -> Result<Vec<Instance>, LookupError> {
        self.find(name).await.map(|found| found.instances)
    }

    /// Looks up the servers of `name`, and returns which registry answered.
    pub(crate) async fn find(&self, name: &ServiceName) -> Result<Lookup, LookupError> {
        let fail = |attempts| LookupError::new(Some(name), attempts);
        let asked = self.ask(&self.inner.registries, &Question::resolve(name.as_str())).await;
        let (registry, reply) = asked.map_err(fail)?;
        let follow_up = FollowUp::by(self, registry, &reply);
        let (registry, responder, local) = (registry.clone(), reply.from, reply.local);
        Ok(match reply.answer {
            EitherReply::Native(first) => {
                let operation = Operation::resolve(name.as_str());
                let revision = first.revision;
                let services = follow_up.all_pages(operation, *first).await.map_err(fail)?;
                let instances = services.into_iter().flat_map(|service| service.instances);
                let instances = instances.collect();
                Lookup { registry, responder, local, revision, is_native: true, instances }
            }
            EitherReply::Legacy(endpoints) => {
                follow_up.remember_legacy();
                let instances = follow_up.without_details(endpoints);
                Lookup { registry, responder, local, revision: None, is_native: false, instances }
            }
        })
    }
}

#[cfg(test)]
mod tests;
