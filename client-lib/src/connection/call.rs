//! One call: its request, its answer, and its cancellation.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{Action, CallFailure, CallId, CallOptions, Exception, RequestError};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::serve::serving_thread;
use super::shared::{Outcome, Shared, State};
use super::{Handle, TimeLimit};
use crate::error::RequestFailure;
use crate::{CallError, ConvertError, Parcel, RemoteObject};

/// A call that has not been made yet: await it to make it.
///
/// The result is whatever serde can make of it: numbers, text, tuples, structs, `()` if it is of no
/// interest; or a [`RemoteObject`], or a [`Parcel`], which is both. Where the peer gives a list or
/// a dict by reference and content is asked for, the content is fetched too.
///
/// ```no_run
/// # async fn example(root: rpyc_client::RemoteObject) -> Result<(), rpyc_client::CallError> {
/// use std::time::Duration;
///
/// use rpyc_client::{RemoteObject, args};
///
/// #[derive(serde::Deserialize)]
/// struct Employee {
///     last: String,
///     salary: f64,
/// }
///
/// // By value, by reference, and with more patience than usual.
/// let employee: Employee = root.call("employee", args![7]).await?;
/// let ledger: RemoteObject = root.call("ledger", ()).await?;
/// ledger.call::<()>("balance", ()).timeout(Duration::from_secs(600)).await?;
/// // Two at the same time.
/// let (count, total): (usize, f64) =
///     tokio::try_join!(ledger.len(), ledger.attr::<f64>("total"))?;
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future abandons the call. The objects that it would have returned are released. The
/// peer is not notified, because RPyC has no message to stop a request.
#[derive(Debug)]
#[must_use = "nothing is sent unless the call is awaited"]
pub struct Call<T> {
    handle: Arc<Handle>,
    request: Result<Request, ConvertError>,
    timeout: Option<Option<Duration>>,
    result: PhantomData<fn() -> T>,
}

/// A request to the peer.
#[derive(Debug)]
pub(crate) enum Request {
    /// For the object that the peer offers first.
    Root,
    /// For nothing but an answer, which brings the value back.
    Ping(Value),
    /// To an object.
    Object(RemoteObject, Action<Parcel>),
}

impl<T> Call<T> {
    pub(crate) fn new(handle: Arc<Handle>, request: Result<Request, ConvertError>) -> Self {
        Self { handle, request, timeout: None, result: PhantomData }
    }

    /// How long the whole call may take; `None` for ever. Default: the timeout of the connection,
    /// which is 30 s unless it was set.
    ///
    /// It includes the time that the request waits to be sent, and every round trip that brings the
    /// content of a list or a dict.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = Some(timeout.into());
        self
    }

    /// Writes the request down, whatever else waits to be sent, and takes no interest in the
    /// answer: for cleanup where no task can wait.
    pub(crate) fn post(self) {
        if let Err(error) = begin(&self.handle, self.request, None) {
            tracing::debug!(%error, "cannot send a request that needs no answer");
        }
    }
}

impl<T: DeserializeOwned + 'static> Call<T> {
    /// Makes the call now, as soon as there is room; gives what waits for the answer.
    ///
    /// Calls that are begun one after another reach the peer in that order.
    pub(crate) async fn begin(
        self,
    ) -> Result<impl Future<Output = Result<T, CallError>> + Send + 'static, CallError> {
        let limit = TimeLimit::from_now(self.timeout.unwrap_or(self.handle.shared.timeout));
        wait_for_room(&self.handle.shared, limit).await?;
        let begun = begin(&self.handle, self.request, limit.deadline())?;
        Ok(async move {
            match begun {
                Begun::Waiting(waiting) => {
                    crate::remote::take(waiting.outcome(limit).await?, limit).await
                }
                Begun::Closed => {
                    let reason = self.handle.shared.has_ended().await;
                    Err(CallError::Disconnected { reason, may_have_run: false })
                }
            }
        })
    }
}

impl<T: DeserializeOwned> IntoFuture for Call<T> {
    type Output = Result<T, CallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let limit = TimeLimit::from_now(self.timeout.unwrap_or(self.handle.shared.timeout));
            let parcel = perform(&self.handle, self.request, limit).await?;
            crate::remote::take(parcel, limit).await
        })
    }
}

/// Makes a call and waits for its answer.
async fn perform(
    handle: &Arc<Handle>,
    request: Result<Request, ConvertError>,
    limit: TimeLimit,
) -> Result<Parcel, CallError> {
    wait_for_room(&handle.shared, limit).await?;
    match begin(handle, request, limit.deadline())? {
        Begun::Waiting(waiting) => waiting.outcome(limit).await,
        Begun::Closed => {
            let reason = handle.shared.has_ended().await;
            Err(CallError::Disconnected { reason, may_have_run: false })
        }
    }
}

/// A call that has been written down, if the connection had not ended.
enum Begun {
    Waiting(Waiting),
    Closed,
}

/// Writes a request down.
fn begin(
    handle: &Arc<Handle>,
    request: Result<Request, ConvertError>,
    deadline: Option<tokio::time::Instant>,
) -> Result<Begun, CallError> {
    let shared = &handle.shared;
    let options = CallOptions {
        deadline: deadline.map(tokio::time::Instant::into_std),
        within: serving_thread(handle.number),
    };
    let request = request.map_err(CallError::Packing)?;
    let sent = shared.change(|state| {
        let call = request.send(state, options);
        state.withdraw_unsent();
        let call = call?;
        Ok::<_, RequestFailure>((call, state.await_outcome(call)))
    });
    match sent {
        Ok((call, outcome)) => {
            let guard = Guard { shared: shared.clone(), call: Some(call) };
            Ok(Begun::Waiting(Waiting { guard, outcome }))
        }
        Err(RequestFailure::Request(RequestError::Closed)) => Ok(Begun::Closed),
        Err(failure) => Err(failure.into()),
    }
}

/// A call that waits for its answer. Dropping it gives the call up.
struct Waiting {
    guard: Guard,
    outcome: oneshot::Receiver<Outcome>,
}

impl Waiting {
    async fn outcome(self, limit: TimeLimit) -> Result<Parcel, CallError> {
        let Self { mut guard, outcome } = self;
        let outcome = outcome.await;
        guard.call = None;
        let failure = match outcome {
            Ok(Ok(parcel)) => return Ok(parcel),
            Ok(Err(failure)) => failure,
            Err(_gone) => CallFailure::Closed { may_have_run: true },
        };
        Err(match failure {
            CallFailure::BadAnswer(refusal) => CallError::BadAnswer(refusal),
            CallFailure::Closed { may_have_run } => {
                CallError::Disconnected { reason: guard.shared.has_ended().await, may_have_run }
            }
            CallFailure::Expired { may_have_run } => limit.expired(may_have_run),
            CallFailure::Raised(exception) => CallError::Remote(exception),
            other => {
                CallError::Remote(Box::new(Exception::builtin("RuntimeError", other.to_string())))
            }
        })
    }
}

/// Waits until the peer has read enough of what it was sent, and has spoken if it must speak first.
async fn wait_for_room(shared: &Shared, limit: TimeLimit) -> Result<(), CallError> {
    // Without a timer, which costs more than the look, when there is room, as there nearly always
    // is.
    if limit.deadline().is_some() && shared.with(|state| state.is_ready()) {
        return Ok(());
    }
    limit.bound(shared.has_room()).await.ok_or_else(|| limit.expired(false))
}

/// A call that is cancelled if this is dropped.
struct Guard {
    shared: Arc<Shared>,
    call: Option<CallId>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.shared.with(|state| state.cancel(call));
        }
    }
}

impl Request {
    /// Writes the request. The object stays with the lock's garbage, whatever happens.
    fn send(self, state: &mut State, options: CallOptions) -> Result<CallId, RequestFailure> {
        let (object, action) = match self {
            Self::Root => return Ok(state.session.get_root(options)?),
            Self::Ping(data) => return Ok(state.session.ping(&data, options)?),
            Self::Object(object, action) => (object, action),
        };
        let id = object.id().clone();
        state.keep(object.into());
        let action = state.pack_action(action)?;
        Ok(state.session.request(&id, &action, options)?)
    }
}
