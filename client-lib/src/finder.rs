//! From the name of a service to its servers, and to a stream to one of them.

use std::time::Duration;

use rpyc_protocol::ServiceName;
use rpyc_protocol::registry::native::{Filter, Target};
use rpyc_protocol::registry::reply::Endpoint;
use rpyc_protocol::rpc::Dialect;
use tokio::time::{Instant, timeout};

use crate::connect::dial;
use crate::race::first_success;
use crate::resolver::Record;
use crate::{ConnectError, Instance, Registrar, Resolver, ServiceStream, Unreached, blocking};

/// The time between trying one server and trying the next beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// How long to wait for what a registry knows about dialects, which RPyC's own does not answer.
const HINT_PATIENCE: Duration = Duration::from_millis(50);

/// How long to wait until a registry has taken note of a dialect.
const TELL_PATIENCE: Duration = Duration::from_millis(250);

/// What finds the servers of a name: a [`Registrar`], which asks each time, or a [`Resolver`], which
/// keeps what it is asked for.
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

impl From<&blocking::Resolver> for Finder {
    fn from(resolver: &blocking::Resolver) -> Self {
        Self::from(resolver.as_async())
    }
}

impl From<&Resolver> for Finder {
    fn from(resolver: &Resolver) -> Self {
        Self::Resolver(resolver.clone())
    }
}

impl Finder {
    /// The servers of a name in the order in which they are to be tried; at least one.
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

    /// Asks what the registry knows about the dialects of servers of `name`, unless it has told.
    ///
    /// RPyC's own registry says nothing, so it is not waited for long.
    pub(crate) async fn add_hints(&self, name: &ServiceName, candidates: &mut [Candidate]) {
        let Self::Registrar(registrar) = self else { return };
        let native = registrar.native();
        let asked = native.resolve(name, Filter::default());
        let Ok(Ok(answer)) = timeout(HINT_PATIENCE, asked).await else { return };
        for candidate in candidates {
            let is_it = |instance: &&Instance| {
                instance.endpoints().any(|endpoint| candidate.endpoints.contains(endpoint))
            };
            candidate.told = answer.value.iter().find(is_it).and_then(Hint::of);
        }
    }

    /// Tells the registry which dialect a server was found to speak, if it told otherwise.
    pub(crate) async fn tell_dialect(&self, told: Hint, found: Dialect) {
        if told.dialect.unwrap_or(Dialect::V6) == found {
            return;
        }
        let registrar = match self {
            Self::Registrar(registrar) => registrar,
            Self::Resolver(resolver) => resolver.registrar(),
        };
        let target = Target { instance: Some(told.instance), ..Target::default() };
        // It is a hint for others: this connection does not depend on it.
        let native = registrar.native();
        if let Ok(Err(error)) = timeout(TELL_PATIENCE, native.speaks(target, found)).await {
            tracing::debug!(%error, "the registry does not take note of a dialect");
        }
    }

    pub(crate) async fn open(&self, name: &ServiceName) -> Result<ServiceStream, ConnectError> {
        let candidates = self.find(name).await?;
        let opened = open_one(&candidates, self.connect_timeout()).await;
        let failed = |failures| ConnectError::AllFailed { name: name.clone(), failures };
        let (candidate, mut stream) = opened.map_err(failed)?;
        if let Some(record) = &candidate.record {
            record.succeeded();
            stream.take_seat(record.seat());
        }
        Ok(stream)
    }
}

/// A server that may be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Its addresses, the best first.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Where is written down how it went.
    pub(crate) record: Option<Record>,
    /// What a registry of this project tells about it.
    pub(crate) told: Option<Hint>,
}

/// What a registry of this project knows about the dialect of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// The registry's number for the server.
    pub(crate) instance: u64,
    /// The dialect that somebody found it to speak.
    pub(crate) dialect: Option<Dialect>,
}

impl Hint {
    pub(crate) fn of(instance: &Instance) -> Option<Self> {
        Some(Self { instance: instance.id?, dialect: instance.dialect })
    }
}

impl From<Endpoint> for Candidate {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoints: vec![endpoint], record: None, told: None }
    }
}

impl Candidate {
    /// Connects to it by whichever of its addresses is there first.
    async fn dial(&self, limit: Duration) -> Result<(&Self, ServiceStream), Vec<Unreached>> {
        let trial = Trial { record: self.record.as_ref(), started: Instant::now(), is_over: false };
        let dials = self.endpoints.iter().map(|endpoint| dial(endpoint.clone(), limit));
        let dials: Vec<_> = dials.collect();
        let dialled = first_success(dials, STAGGER).await;
        trial.end(dialled.is_ok());
        dialled.map(|stream| (self, stream))
    }
}

/// An attempt to connect, of which is remembered how it ends.
struct Trial<'a> {
    record: Option<&'a Record>,
    started: Instant,
    is_over: bool,
}

impl Trial<'_> {
    fn end(mut self, is_success: bool) {
        self.is_over = true;
        if let Some(record) = self.record.filter(|_| !is_success) {
            record.failed(Instant::now().into_std());
        }
    }
}

impl Drop for Trial<'_> {
    /// Given up, since another was there first: this one may swallow packets.
    fn drop(&mut self) {
        if let Some(record) = self.record
            && !self.is_over
            && self.started.elapsed() >= STAGGER
        {
            record.failed(Instant::now().into_std());
        }
    }
}

/// The most servers of one name that are tried at a time.
const MAX_TRIED: usize = 64;

/// Connects to whichever of several servers is there first.
pub(crate) async fn open_one(
    candidates: &[Candidate],
    limit: Duration,
) -> Result<(&Candidate, ServiceStream), Vec<Unreached>> {
    let tried = candidates.iter().take(MAX_TRIED);
    let dials: Vec<_> = tried.map(|candidate| candidate.dial(limit)).collect();
    let opened = first_success(dials, STAGGER).await;
    opened.map_err(|failures| failures.into_iter().flatten().collect())
}
