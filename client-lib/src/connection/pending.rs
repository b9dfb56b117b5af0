//! A call that is under way while its caller does something else.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use tokio::task::{JoinError, JoinHandle, unconstrained};

use super::Call;
use crate::{CallError, Disconnect};

/// A call that is under way: what Python's `rpyc.async_` gives. Made by [`Call::spawn`].
///
/// It can be asked whether the result is there, and it can be awaited.
///
/// # Cancel safety
/// Dropping it gives the call up, as with every call. To await `&mut` of it is cancel safe.
#[must_use = "dropping this abandons the call"]
pub struct PendingCall<T> {
    /// None once the result was taken.
    task: Option<JoinHandle<Result<T, CallError>>>,
}

impl<T: DeserializeOwned + Send + 'static> Call<T> {
    /// Makes the call now; gives what waits for the result, while this task does something else.
    ///
    /// Calls that are spawned one after another reach the peer in that order, unless so much waits
    /// to be sent that the connection holds calls back.
    ///
    /// ```no_run
    /// # async fn example(root: rpyc_client::RemoteObject) -> Result<(), rpyc_client::CallError> {
    /// use rpyc_client::args;
    ///
    /// let mut doubled = root.call::<i64>("slowly_double", args![21]).spawn();
    /// if !doubled.is_ready() {
    ///     println!("not yet");
    /// }
    /// println!("{}", doubled.await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(self) -> PendingCall<T> {
        let mut call = self.into_future();
        // The first step of a call is to write the request down. Who drives it after is all the
        // same.
        let begun = call.as_mut().now_or_never();
        let task = tokio::spawn(async move {
            match begun {
                Some(result) => result,
                None => call.await,
            }
        });
        PendingCall { task: Some(task) }
    }
}

impl<T> PendingCall<T> {
    /// Whether the result, or the error, has come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The result, if it is there and was not taken yet.
    pub fn try_result(&mut self) -> Option<Result<T, CallError>> {
        let task = self.task.take_if(|task| task.is_finished())?;
        unconstrained(task).now_or_never().map(joined)
    }
}

/// What a task has brought.
fn joined<T>(done: Result<Result<T, CallError>, JoinError>) -> Result<T, CallError> {
    let error = match done {
        Ok(result) => return result,
        Err(error) => error,
    };
    match error.try_into_panic() {
        // Of the result's own conversion; it is the caller's.
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_ended_with_the_runtime) => {
            Err(CallError::Disconnected { reason: Disconnect::Aborted, may_have_run: true })
        }
    }
}

/// # Panics
/// If it is polled after the result was taken.
impl<T> Future for PendingCall<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.task.as_mut().expect("the result of a call is taken once");
        let done = std::task::ready!(Pin::new(task).poll(cx));
        self.task = None;
        Poll::Ready(joined(done))
    }
}

impl<T> Drop for PendingCall<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl<T> fmt::Debug for PendingCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCall").field("is_ready", &self.is_ready()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{pair, until};
    use crate::{Parcel, args};

    #[tokio::test(start_paused = true)]
    async fn a_call_runs_while_its_caller_does_something_else() {
        let (client, _server) = pair();
        let root = client.root().await.unwrap();
        let mut slow = root.call::<i64>("sleep", args![500]).spawn();
        // It has been written down, so whatever is asked from now on is asked after it.
        assert_eq!(client.stats().calls, 1);
        assert!(!slow.is_ready());
        assert!(slow.try_result().is_none());
        assert_eq!(root.call::<i64>("inc", args![10]).await.unwrap(), 10);
        assert!(!slow.is_ready());
        assert_eq!((&mut slow).await.unwrap(), 10);
        assert!(slow.is_ready() && slow.try_result().is_none());

        let mut quick = root.call::<i64>("inc", args![1]).spawn();
        until(|| quick.is_ready()).await;
        assert_eq!(quick.try_result().unwrap().unwrap(), 12);
        let failing = root.call::<()>("secret", ()).spawn();
        assert!(failing.await.unwrap_err().is("AttributeError"));
        let late = root.call::<Parcel>("sleep", args![500]).timeout(Duration::from_millis(50));
        assert!(late.spawn().await.unwrap_err().is_timeout());
    }

    #[tokio::test]
    async fn calls_reach_the_peer_in_the_order_in_which_they_were_spawned() {
        let (client, _server) = pair();
        let root = client.root().await.unwrap();
        let calls: Vec<_> = (0..100).map(|_| root.call::<i64>("inc", args![1]).spawn()).collect();
        for (call, expected) in calls.into_iter().zip(1..) {
            assert_eq!(call.await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn dropping_it_gives_the_call_up() {
        let (client, _server) = pair();
        let root = client.root().await.unwrap();
        drop(root.call::<i64>("sleep", args![60_000]).spawn());
        until(|| client.stats().calls == 0).await;
    }
}
