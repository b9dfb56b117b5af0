//! From the name of a service to its servers, and to a stream to one of them.

use std::time::Duration;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{Filter, Target};
use rpyc_protocol::rpc::Dialect;
use tokio::time::timeout;

use super::{ServiceStream, open_one};
use crate::resolver::{Candidate, Hint};
use crate::{ConnectError, Instance, Registrar, Resolver};

/// How long to wait for what a registry knows about dialects, which RPyC's own does not answer.
const HINT_TIMEOUT: Duration = Duration::from_millis(50);

/// How long to wait until a registry has taken note of a dialect.
const REPORT_TIMEOUT: Duration = Duration::from_millis(250);

/// What finds the servers of a name: a [`Registrar`], which asks each time, or a [`Resolver`],
/// which keeps what it is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Finder {
    /// Asks each time.
    Registrar(Registrar),
    /// Keeps what it is asked for, and chooses.
    Resolver(Resolver),
}

impl From<&Registrar> for Finder {
    fn from(registrar: &Registrar) -> Self {
        Self::Registrar(registrar.clone())
    }
}

impl From<&Resolver> for Finder {
    fn from(resolver: &Resolver) -> Self {
        Self::Resolver(resolver.clone())
    }
}

impl Finder {
    /// The servers of a name, the best first; at least one.
    pub(crate) async fn find(&self, name: &ServiceName) -> Result<Vec<Candidate>, ConnectError> {
        match self {
            Self::Registrar(registrar) => {
                let endpoints = registrar.recommended(name).await?;
                Ok(endpoints.into_iter().map(Candidate::from).collect())
            }
            Self::Resolver(resolver) => resolver.candidates(name).await,
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        match self {
            Self::Registrar(registrar) => registrar.connect_timeout(),
            Self::Resolver(resolver) => resolver.registrar().connect_timeout(),
        }
    }

    /// Asks what the registry knows about the dialects of servers of `name`, unless it has returned
    /// it.
    ///
    /// RPyC's own registry says nothing, so it is not waited for long.
    pub(crate) async fn add_hints(&self, name: &ServiceName, candidates: &mut [Candidate]) {
        let Self::Registrar(registrar) = self else { return };
        let native = registrar.native();
        let asked = native.resolve(name, Filter::default());
        let Ok(Ok(answer)) = timeout(HINT_TIMEOUT, asked).await else { return };
        for candidate in candidates {
            let is_it = |instance: &&Instance| {
                instance.endpoints().any(|endpoint| candidate.endpoints.contains(endpoint))
            };
            candidate.hint = answer.value.iter().find(is_it).and_then(Hint::of);
        }
    }

    /// Reports to the registry which dialect a server speaks, if the registry returned another one.
    pub(crate) async fn report_dialect(&self, hint: Hint, found: Dialect) {
        if hint.dialect.unwrap_or(Dialect::V6) == found {
            return;
        }
        let registrar = match self {
            Self::Registrar(registrar) => registrar,
            Self::Resolver(resolver) => resolver.registrar(),
        };
        let target = Target { instance: Some(hint.instance), ..Target::default() };
        // It is a hint for others: this connection does not depend on it.
        let native = registrar.native();
        if let Ok(Err(error)) = timeout(REPORT_TIMEOUT, native.report_dialect(target, found)).await
        {
            tracing::debug!(%error, "the registry did not accept the report of a dialect");
        }
    }

    pub(crate) async fn open(&self, name: &ServiceName) -> Result<ServiceStream, ConnectError> {
        let candidates = self.find(name).await?;
        let opened = open_one(&candidates, self.connect_timeout()).await;
        let failed = |failures| ConnectError::AllFailed { name: name.clone(), failures };
        let (candidate, mut stream) = opened.map_err(failed)?;
        if let Some(feedback) = &candidate.feedback {
            feedback.succeeded();
            stream.count_by(feedback.guard());
        }
        Ok(stream)
    }
}
