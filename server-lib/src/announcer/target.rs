//! Keeping one registry told, or one of several of which any will do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rpyc_client::{Acknowledgement, Port, RegisterError, Registrar, Registries, ServiceName};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::builder::AnnouncerBuilder;
use super::pace::Pace;
use super::status::{State, Status};

/// How long the end of a registration that was never acknowledged is waited to be acknowledged: a
/// registry that was silent so far hardly begins to speak now.
const BRIEF: Duration = Duration::from_millis(300);

/// One registry, or several of which one is enough, and what it knows.
#[derive(Debug)]
pub(super) struct Target {
    /// Its place in the list of statuses.
    place: usize,
    registrar: Registrar,
    names: Arc<[ServiceName]>,
    port: Port,
    pace: Pace,
    /// The registration that the registry knows of, as far as we know.
    last: Option<Acknowledgement>,
}

impl Target {
    pub(super) fn new(
        place: usize,
        registries: Registries,
        names: Arc<[ServiceName]>,
        settings: &AnnouncerBuilder,
    ) -> Self {
        let registrar = registrar(registries, settings.bind, settings.timeout);
        let pace = Pace::new(settings.interval);
        Self { place, registrar, names, port: settings.port.clone(), pace, last: None }
    }

    pub(super) async fn register(&self) -> Result<Vec<Acknowledgement>, RegisterError> {
        self.registrar.register(&self.names, &self.port).await
    }

    /// Registers, again and again, until dropped. What was acknowledged so far is remembered.
    pub(super) async fn keep(&mut self, statuses: &watch::Sender<Vec<Status>>) -> Infallible {
        loop {
            let pause = match self.register().await {
                Ok(acknowledgements) => {
                    for acknowledgement in acknowledgements {
                        self.acknowledged(acknowledgement, statuses).await;
                    }
                    self.pace.after_success(fastrand::f64())
                }
                Err(error) => {
                    self.failed(error, statuses);
                    self.pace.after_failure(fastrand::f64())
                }
            };
            sleep(pause).await;
        }
    }

    async fn acknowledged(&mut self, new: Acknowledgement, statuses: &watch::Sender<Vec<Status>>) {
        let old = self.last.replace(new.clone());
        let has_moved = old.as_ref().is_none_or(|old| !is_same(old, &new));
        if has_moved {
            let Acknowledgement { registry, source, .. } = &new;
            tracing::info!(%registry, source = %source.ip(), port = %self.port, "registered");
        }
        self.report(statuses, |status, now| status.acknowledge(now, new));
        if let Some(old) = old
            && has_moved
        {
            // The old address is stale, or served by another registry that will not hear of us
            // again. Where the address is gone, so is the way to take it back.
            let unregistered = self.unregister(&old, BRIEF).await;
            tracing::debug!(source = %old.source, ?unregistered, "took back the old registration");
        }
    }

    fn failed(&self, error: RegisterError, statuses: &watch::Sender<Vec<Status>>) {
        let is_known = statuses.borrow().get(self.place).is_some_and(Status::is_failing);
        if is_known {
            tracing::debug!(%error, "still not registered");
        } else {
            tracing::warn!(%error, port = %self.port, "not registered; trying again");
        }
        self.report(statuses, |status, now| status.fail(now, error));
    }

    /// Ends the registration, within `grace`; tells whether the registry knows.
    pub(super) async fn withdraw(
        &self,
        grace: Duration,
        statuses: &watch::Sender<Vec<Status>>,
    ) -> bool {
        let unregistered = match &self.last {
            Some(last) => self.unregister(last, grace).await,
            None => {
                // It may have been taken, and only its acknowledgement be lost or still to come.
                let limit = grace.min(BRIEF);
                let registrar = self.registrar.to_builder().timeout(limit).build();
                registrar.unregister(&self.port).await.map(drop)
            }
        };
        match unregistered {
            Ok(()) => {
                tracing::info!(port = %self.port, "unregistered");
                self.report(statuses, |status, _| status.state = State::Withdrawn);
                true
            }
            Err(error) if self.last.is_none() => {
                tracing::debug!(%error, "not unregistered, nor ever registered as far as known");
                true
            }
            Err(error) => {
                tracing::warn!(%error, port = %self.port, "not unregistered");
                self.report(statuses, |status, now| status.fail(now, error));
                false
            }
        }
    }

    /// Tells the registry that acknowledged `last` that it is over, from the same address.
    async fn unregister(
        &self,
        last: &Acknowledgement,
        limit: Duration,
    ) -> Result<(), RegisterError> {
        let registries = Registries::from(last.registry.clone());
        let registrar = registrar(registries, Some(last.source), limit);
        registrar.unregister(&self.port).await.map(drop)
    }

    fn report(
        &self,
        statuses: &watch::Sender<Vec<Status>>,
        change: impl FnOnce(&mut Status, std::time::Instant),
    ) {
        let now = Instant::now().into_std();
        statuses.send_modify(|all| {
            if let Some(status) = all.get_mut(self.place) {
                change(status, now);
            }
        });
    }
}

/// Whether two registrations are one to the registry: the port is the server's and does not change.
fn is_same(old: &Acknowledgement, new: &Acknowledgement) -> bool {
    old.registry == new.registry && old.source.ip() == new.source.ip()
}

fn registrar(registries: Registries, source: Option<SocketAddr>, timeout: Duration) -> Registrar {
    let builder = Registrar::builder(registries).timeout(timeout);
    match source {
        Some(source) => builder.source(source).build(),
        None => builder.build(),
    }
}
