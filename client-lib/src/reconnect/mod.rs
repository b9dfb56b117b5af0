//! A service that is connected to again when the connection is lost.

use std::fmt::{self, Display};
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rpyc_protocol::ServiceName;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::connection::TimeLimit;
use crate::lock::lock;
use crate::parcel::IntoArgs;
use crate::{
    Args, CallError, ConnectError, ConnectionBuilder, Disconnect, Finder, RemoteObject, Resolver,
};

/// How long to look for a lost service by default.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two attempts to connect: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A service that is connected to when it is needed, and again when the connection is lost. Cheap
/// to clone; all clones share one connection.
///
/// One that was found by name is looked up again each time, so it may come back elsewhere.
///
/// A call is made again only if it has surely not run. One that may have run fails, as on a plain
/// [`Connection`](crate::Connection), unless it was said to be harmless to do twice
/// ([`ReconnectingCall::idempotent`]). What a lost connection has brought, other objects above all,
/// is lost with it.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use rpyc_client::{Connection, args};
///
/// let payroll = Connection::builder().reconnecting_by_service("PAYROLL")?;
/// let pay: f64 = payroll.call("get_salary", args!["Mertz", "David"]).idempotent().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Reconnecting(Arc<Inner>);

struct Inner {
    builder: ConnectionBuilder,
    target: Target,
    patience: Duration,
    /// The connection of the moment; replaced when it is lost.
    current: Mutex<Arc<Current>>,
}

/// A connection, or the attempt to make one.
#[derive(Default)]
struct Current {
    /// The root of the connection, once there is one.
    root: OnceLock<RemoteObject>,
    /// At most one attempt. It is a task, so it goes on when a caller has no time left; else calls
    /// with short timeouts would never get a connection that takes longer to make.
    attempt: tokio::sync::Mutex<JoinSet<Result<RemoteObject, ConnectError>>>,
}

#[derive(Clone)]
enum Target {
    Address(String),
    Name(Finder, ServiceName),
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => f.write_str(address),
            Self::Name(_, name) => f.write_str(name.as_str()),
        }
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reconnecting").field(&format_args!("{}", self.0.target)).finish()
    }
}

impl ConnectionBuilder {
    /// A service at `address` that is connected to when it is needed, and again when it is lost.
    #[must_use]
    pub fn reconnecting(self, address: impl Display) -> Reconnecting {
        Reconnecting::new(self, Target::Address(address.to_string()))
    }

    /// A service of `name` that is looked up and connected to when it is needed, and again when it
    /// is lost; in the registries that the environment names or those nearby. It has a [`Resolver`]
    /// of its own, so it finds the service again while no registry answers.
    ///
    /// # Errors
    /// [`ConnectError`] if the name is none, or the environment is not right.
    pub fn reconnecting_by_service(self, name: &str) -> Result<Reconnecting, ConnectError> {
        let name = ServiceName::new(name)?;
        Ok(self.reconnecting_through(&Resolver::from_env()?, name))
    }

    /// A service of `name` that is looked up through a [`Registrar`](crate::Registrar) or a
    /// [`Resolver`] and connected to when it is needed, and again when it is lost.
    #[must_use]
    pub fn reconnecting_through(
        self,
        through: impl Into<Finder>,
        name: ServiceName,
    ) -> Reconnecting {
        Reconnecting::new(self, Target::Name(through.into(), name))
    }
}

impl Reconnecting {
    fn new(builder: ConnectionBuilder, target: Target) -> Self {
        let current = Mutex::default();
        Self(Arc::new(Inner { builder, target, patience: DEFAULT_PATIENCE, current }))
    }

    /// The same service, looked for so long before a call fails. Default 10 s; the timeout of a
    /// call may end it before. It has a separate connection.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        let (builder, target) = (self.0.builder.clone(), self.0.target.clone());
        Self(Arc::new(Inner { builder, target, patience, current: Mutex::default() }))
    }

    /// Calls a method of the service's root.
    pub fn call<T: DeserializeOwned>(
        &self,
        name: &str,
        args: impl IntoArgs,
    ) -> ReconnectingCall<T> {
        ReconnectingCall {
            service: self.clone(),
            name: name.to_owned(),
            args: args.into_args(),
            timeout: None,
            is_idempotent: false,
            result: PhantomData,
        }
    }

    /// The service's root on the current connection, which is made if necessary.
    ///
    /// # Errors
    /// [`ConnectError`], after looking for the service for a while.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Cancel safe: an attempt to connect goes on for later callers, as long as there is a
    /// clone of this.
    pub async fn root(&self) -> Result<RemoteObject, ConnectError> {
        self.root_until(Instant::now() + self.0.patience).await
    }

    async fn root_until(&self, deadline: Instant) -> Result<RemoteObject, ConnectError> {
        let start = Instant::now();
        let mut pause = PAUSES.0;
        let mut last = None;
        loop {
            let current = self.current();
            let error = match timeout_at(deadline, self.connected(&current)).await {
                Ok(Ok(root)) => return Ok(root),
                Ok(Err(error)) => error,
                Err(_elapsed) => {
                    let target = self.0.target.to_string().into();
                    let after = deadline.saturating_duration_since(start);
                    return Err(last.unwrap_or(ConnectError::TimedOut { target, after }));
                }
            };
            // So that not all clients of a server that comes back come at once.
            let wait = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
            if !may_pass(&error) || Instant::now() + wait >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, "no connection; trying again");
            last = Some(error);
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// The connection of the moment; a new one if that is lost.
    fn current(&self) -> Arc<Current> {
        let mut current = lock(&self.0.current);
        if current.root.get().is_some_and(|root| root.connection().is_closed()) {
            *current = Arc::default();
        }
        current.clone()
    }

    /// The root of `current`. Several tasks that find none make one connection.
    async fn connected(&self, current: &Current) -> Result<RemoteObject, ConnectError> {
        let mut attempt = current.attempt.lock().await;
        if let Some(root) = current.root.get() {
            return Ok(root.clone());
        }
        let mut done = attempt.try_join_next();
        // An attempt that failed while no task waited may have failed long ago.
        if !matches!(done, Some(Ok(Ok(_)))) {
            if attempt.is_empty() {
                attempt.spawn(connect(self.0.builder.clone(), self.0.target.clone()));
            }
            done = attempt.join_next().await;
        }
        match done {
            Some(Ok(connected)) => connected.map(|root| current.root.get_or_init(|| root).clone()),
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // It ended with its runtime.
            Some(Err(_)) | None => {
                let reason = Disconnect::Aborted;
                let error = CallError::Disconnected { reason, may_have_run: false };
                Err(no_root(&self.0.target, error))
            }
        }
    }
}

async fn connect(builder: ConnectionBuilder, target: Target) -> Result<RemoteObject, ConnectError> {
    let connection = match &target {
        Target::Address(address) => builder.connect(address).await?,
        Target::Name(finder, name) => builder.connect_through(finder.clone(), name).await?,
    };
    connection.root().await.map_err(|error| no_root(&target, error))
}

fn no_root(target: &Target, error: CallError) -> ConnectError {
    ConnectError::NoRoot { address: target.to_string().into(), error: Box::new(error) }
}

/// Whether it may be otherwise soon.
fn may_pass(error: &ConnectError) -> bool {
    !matches!(error, ConnectError::Address(_) | ConnectError::Name(_) | ConnectError::Registries(_))
}

/// A call that has not been made yet: await it to make it.
#[derive(Debug)]
#[must_use = "nothing is sent unless the call is awaited"]
pub struct ReconnectingCall<T> {
    service: Reconnecting,
    name: String,
    args: Args,
    timeout: Option<Option<Duration>>,
    is_idempotent: bool,
    result: PhantomData<fn() -> T>,
}

impl<T> ReconnectingCall<T> {
    /// How long the whole call may take: looking for the service, connecting, and every attempt
    /// together; `None` for ever, but for the patience. Default: the timeout of the connection,
    /// which is 30 s unless it was set.
    ///
    /// If the time ends without a connection, the error is why the last attempt to connect failed,
    /// or a [`CallError::Timeout`] if none had.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = Some(timeout.into());
        self
    }

    /// It does no harm to do it twice, so it is done again when the connection was lost during it.
    pub fn idempotent(mut self) -> Self {
        self.is_idempotent = true;
        self
    }

    fn may_repeat(&self, error: &CallError) -> bool {
        error.is_disconnected() && (self.is_idempotent || !error.may_have_run())
    }
}

impl<T: DeserializeOwned + 'static> IntoFuture for ReconnectingCall<T> {
    type Output = Result<T, ReconnectError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let timeout = self.timeout.unwrap_or(self.service.0.builder.timeout);
            let limit = TimeLimit::from_now(timeout);
            let patience = Instant::now() + self.service.0.patience;
            let deadline = limit.deadline().map_or(patience, |end| end.min(patience));
            let mut may_have_run = false;
            loop {
                let root = match self.service.root_until(deadline).await {
                    Ok(root) => root,
                    Err(ConnectError::TimedOut { .. }) if limit.left() == Some(Duration::ZERO) => {
                        return Err(limit.expired(may_have_run).into());
                    }
                    Err(error) => return Err(error.into()),
                };
                if limit.left() == Some(Duration::ZERO) {
                    return Err(limit.expired(may_have_run).into());
                }
                let call = root.call::<T>(&self.name, self.args.clone()).timeout(limit.left());
                match call.await {
                    Ok(result) => return Ok(result),
                    Err(error) if self.may_repeat(&error) && Instant::now() < deadline => {
                        may_have_run |= error.may_have_run();
                    }
                    // The error of the last attempt, with the time that all of them took.
                    Err(CallError::Timeout { may_have_run: this_one, .. }) => {
                        return Err(limit.expired(may_have_run || this_one).into());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        })
    }
}

/// Why a call has no result, although the service was connected to again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Connecting failed. The call has not run, or was declared harmless to repeat.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl ReconnectError {
    /// Whether the peer may have done what it was asked. An idempotent call may have run also
    /// if this is `false`.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Call(error) => error.may_have_run(),
            Self::Connect(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
