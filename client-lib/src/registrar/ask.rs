//! How one question goes to several registries, and to each by several ways.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::exchange::{Asking, Failure, Reply};
use super::native::RegistryProtocol;
use super::question::Question;
use super::route::{self, Route};
use super::tcp::{self, Destination};
use super::{Registrar, udp};
use crate::net::first_success;
use crate::{Attempt, Attempts, Fault, Registries, RegistryAddr, Transport};

/// Longest time between asking one registry and asking the next.
const STAGGER: Duration = Duration::from_millis(250);

impl Registrar {
    /// Asks `registries` one after another, without waiting for the silent ones.
    pub(super) async fn ask<'a, A>(
        &self,
        registries: &'a Registries,
        question: &Question<A>,
    ) -> Result<(&'a RegistryAddr, Reply<A>), Attempts> {
        let started = Instant::now();
        let asking = Asking::new(question, started + self.inner.timeout);
        let stagger = self.stagger(registries.iter().len());
        // Collected, since the compiler finds no future with a lazy list of these to be `Send`.
        let attempts: Vec<_> =
            registries.iter().map(|registry| self.attempt(registry, &asking)).collect();
        let outcome = first_success(attempts, stagger).await;
        outcome.map_err(|each| Attempts::new(each, started.elapsed()))
    }

    /// Asks one registry by each way to it.
    async fn attempt<'a, A>(
        &self,
        registry: &'a RegistryAddr,
        asking: &Asking<'_, A>,
    ) -> Result<(&'a RegistryAddr, Reply<A>), Attempt> {
        if let Some(path) = registry.socket_path() {
            let outcome = self.ask_at_path(path, asking).await;
            return outcome.map(|reply| (registry, reply)).map_err(|failure| {
                let Failure { fault, responder } = failure;
                tracing::debug!(%registry, %fault, "no answer");
                Attempt { registry: registry.clone(), responder, fault }
            });
        }
        let outcome = match route::find(registry, self.inner.source, asking.deadline).await {
            Ok(routes) => {
                let stagger = self.stagger(routes.len());
                let attempts: Vec<_> = routes
                    .into_iter()
                    .map(|route| self.ask_by(registry.transport(), route, asking))
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

    pub(super) async fn ask_by<A>(
        &self,
        transport: Transport,
        route: Route,
        asking: &Asking<'_, A>,
    ) -> Result<Reply<A>, Failure> {
        let protocols = &self.inner.protocols;
        let protocol = protocols.of(transport, route.to);
        let reply = match transport {
            Transport::Udp => udp::ask(&route, asking, protocol).await,
            Transport::Tcp | Transport::Unix => {
                tcp::ask(Destination::Network(&route), asking, protocol).await
            }
        }?;
        if reply.is_native {
            protocols.set_native(transport, reply.from);
        }
        Ok(reply)
    }

    /// Asks at a unix socket, where nothing but this project's registry listens.
    pub(super) async fn ask_at_path<A>(
        &self,
        path: &Path,
        asking: &Asking<'_, A>,
    ) -> Result<Reply<A>, Failure> {
        tcp::ask(Destination::Path(path), asking, Some(RegistryProtocol::Native)).await
    }

    /// The time between one start and the next, so that the last of `n` has half the timeout left.
    fn stagger(&self, n: usize) -> Duration {
        let n = u32::try_from(n.max(1)).unwrap_or(u32::MAX);
        STAGGER.min(self.inner.timeout / n.saturating_mul(2))
    }
}

/// Of the failures on several ways to one registry, the one to report.
fn most_telling(failures: Vec<Failure>) -> Failure {
    let most = failures.into_iter().max_by_key(|failure| failure.fault.rank());
    most.unwrap_or_else(|| Fault::NoInterface.into())
}
