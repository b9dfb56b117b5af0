//! From the name of a service, or an address, to a connection.

use std::fmt::Display;
use std::time::Duration;

use rpyc_protocol::ServiceName;
use tokio::time::{Instant, timeout_at};

use super::dialects::remembered;
use super::{Connection, ConnectionBuilder};
use crate::address::ServerAddr;
use crate::connect::{dial, open_one};
use crate::resolver::{Candidate, Feedback};
use crate::{ConnectError, Finder, Registrar, Resolver};

/// The least time for a server that accepts a connection, if there are others to be tried after it:
/// enough for both dialects.
const LEAST_SHARE: Duration = Duration::from_secs(3);

/// Connects to a server of `name`, found through the registries that the environment names or
/// those nearby.
///
/// It is [`Registrar::from_env`] and [`Registrar::connect_by_service`] in one. For options, see
/// [`ConnectionBuilder::connect_by_service`](crate::ConnectionBuilder::connect_by_service).
///
/// # Errors
/// [`ConnectError`] with the step that failed, and its cause.
///
/// # Cancel safety
/// Cancel safe: dropping the future closes whatever was opened.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use rpyc_client::args;
///
/// let payroll = rpyc_client::connect_by_service("PAYROLL").await?.root().await?;
/// let pay: f64 = payroll.call("get_salary", args!["Mertz", "David"]).await?;
/// # Ok(())
/// # }
/// ```
pub async fn connect_by_service(name: &str) -> Result<Connection, ConnectError> {
    Connection::builder().connect_by_service(name).await
}

/// Connects to the server at `address`: `host:port`, or the path of a unix socket, which has a `/`
/// in it. For options, see [`ConnectionBuilder::connect`](crate::ConnectionBuilder::connect).
///
/// # Errors
/// [`ConnectError`] with the reason.
///
/// # Cancel safety
/// Cancel safe: dropping the future closes whatever was opened.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = rpyc_client::connect("localhost:18861").await?;
/// let root = connection.root().await?;
/// # Ok(())
/// # }
/// ```
pub async fn connect(address: impl Display) -> Result<Connection, ConnectError> {
    Connection::builder().connect(address).await
}

impl Registrar {
    /// Looks up `name` and connects to one of its servers: [`Registrar::open`], and a conversation
    /// over it. For options, see
    /// [`ConnectionBuilder::connect_through`](crate::ConnectionBuilder::connect_through).
    ///
    /// # Errors
    /// [`ConnectError::Lookup`] if the servers of the name are not known,
    /// [`ConnectError::AllFailed`] if none of them could be connected to.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn connect_by_service(&self, name: &ServiceName) -> Result<Connection, ConnectError> {
        Connection::builder().connect_through(self, name).await
    }
}

impl Resolver {
    /// Connects to a server of `name`. For options, see
    /// [`ConnectionBuilder::connect_through`](crate::ConnectionBuilder::connect_through).
    ///
    /// The servers are tried in the order of the [`LoadBalancing`](crate::LoadBalancing), each by
    /// its addresses in their order. The next is tried beside when a quarter of a second has
    /// brought no connection, at once when one fails; the first connection is kept.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); [`ConnectError::AllDraining`] if all servers are about to go,
    /// [`ConnectError::AllFailed`] if none could be connected to.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn connect(&self, name: &str) -> Result<Connection, ConnectError> {
        let name = ServiceName::new(name)?;
        Connection::builder().connect_through(self, &name).await
    }
}

impl ConnectionBuilder {
    /// Connects to the server at `address`: `host:port`, or the path of a unix socket, which has a
    /// `/` in it. Either may state the dialect, as in `payroll.example:18861?dialect=5`; that
    /// counts more than [`dialect`](Self::dialect).
    ///
    /// # Errors
    /// [`ConnectError::Address`] if it is invalid, [`ConnectError::Unreached`] if there is no RPyC
    /// server, [`ConnectError::Dialect`] if the environment names no dialect properly.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn connect(self, address: impl Display) -> Result<Connection, ConnectError> {
        let text = address.to_string();
        let address = ServerAddr::parse(&text).ok_or_else(|| ConnectError::Address(text.into()))?;
        let mut builder = self;
        builder.dialect = address.dialect.or(builder.dialect);
        let builder = builder.or_dialect_from_env()?;
        let started = Instant::now();
        let deadline = started + builder.connect_timeout;
        let dialled = dial(address.endpoint, builder.connect_timeout).await;
        let stream = dialled.map_err(ConnectError::Unreached)?;
        let conversed = builder.converse(stream, started.elapsed(), deadline).await;
        conversed.map_err(ConnectError::Unreached)
    }

    /// Connects to a server of `name`, found through the registries that the environment names or
    /// those nearby.
    ///
    /// # Errors
    /// [`ConnectError`] with the step that failed, and its cause.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn connect_by_service(self, name: &str) -> Result<Connection, ConnectError> {
        let name = ServiceName::new(name)?;
        let registrar = Registrar::from_env()?;
        self.connect_through(&registrar, &name).await
    }

    /// Connects to a server of `name`, found through a [`Registrar`] or a
    /// [`Resolver`](crate::Resolver).
    ///
    /// They are tried as [`Registrar::open`] or [`Resolver::connect`](crate::Resolver::connect) do.
    /// One that can be connected to but does not speak RPyC counts as one that cannot. All of it
    /// takes no longer than [`connect_timeout`](Self::connect_timeout).
    ///
    /// # Errors
    /// [`ConnectError::Lookup`] if the servers of the name are not known,
    /// [`ConnectError::AllFailed`] if none of them could be connected to,
    /// [`ConnectError::TimedOut`] if the time ended before any of this was known.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future closes whatever was opened.
    pub async fn connect_through(
        self,
        through: impl Into<Finder>,
        name: &ServiceName,
    ) -> Result<Connection, ConnectError> {
        #[cfg_attr(not(feature = "tls"), expect(unused_mut, reason = "TLS expects the name"))]
        let mut builder = self.or_dialect_from_env()?;
        #[cfg(feature = "tls")]
        {
            builder.service = Some(name.clone());
        }
        let finder = through.into();
        let deadline = Instant::now() + builder.connect_timeout;
        let after = builder.connect_timeout;
        let timed_out = || ConnectError::TimedOut { target: name.as_str().into(), after };
        let found = timeout_at(deadline, finder.find(name)).await;
        let mut candidates = found.map_err(|_elapsed| timed_out())??;
        if builder.dialect.is_none() && candidates.iter().any(Candidate::is_unknown) {
            // Without hints, or with some of them, a wrong dialect may be tried first.
            let _ = timeout_at(deadline, finder.add_hints(name, &mut candidates)).await;
        }
        let mut failures = Vec::new();
        loop {
            let started = Instant::now();
            let opened = open_one(&candidates, finder.connect_timeout());
            let (stream, feedback, hint) = match timeout_at(deadline, opened).await {
                Ok(Ok((candidate, stream))) => (stream, candidate.feedback.clone(), candidate.hint),
                Err(_elapsed) if failures.is_empty() => return Err(timed_out()),
                ended => {
                    failures.extend(ended.ok().and_then(Result::err).unwrap_or_default());
                    return Err(ConnectError::AllFailed { name: name.clone(), failures });
                }
            };
            let connect = started.elapsed();
            candidates.retain(|candidate| !candidate.endpoints.contains(stream.endpoint()));
            let deadline = share_until(deadline, candidates.len());
            let mut builder = builder.clone();
            builder.guard = feedback.as_ref().map(Feedback::guard);
            builder.hint = hint.and_then(|hint| hint.dialect);
            let endpoint = stream.endpoint().clone();
            let conversed = builder.converse(stream, connect, deadline).await;
            if let (Some(hint), Some(found)) = (hint, remembered(&endpoint)) {
                finder.report_dialect(hint, found).await;
            }
            match conversed {
                Ok(connection) => {
                    feedback.inspect(Feedback::succeeded);
                    return Ok(connection);
                }
                Err(unreached) => {
                    feedback.inspect(|feedback| feedback.failed(Instant::now().into_std()));
                    failures.push(unreached);
                }
            }
        }
    }
}

/// When a server must have answered, if so many others remain after it.
fn share_until(deadline: Instant, others: usize) -> Instant {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    let shares = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
    deadline.min(now + (left / shares).max(LEAST_SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_leaves_time_for_those_after_it() {
        let check = |left: u64, others, expected: u64| {
            let until = share_until(Instant::now() + Duration::from_secs(left), others);
            assert_eq!(until - Instant::now(), Duration::from_secs(expected));
        };
        check(10, 0, 10);
        check(10, 1, 5);
        check(10, 9, 3);
        check(2, 9, 2);
        check(0, usize::MAX, 0);
    }
}
