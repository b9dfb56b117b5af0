//! The answers of all faces that wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Reception;
use crate::dispatch::{Deferred, Dispatcher};

/// The most answers that wait. Beyond it, the registry refuses to acknowledge a change.
pub(super) const LIMIT: usize = 65_536;

/// How long an answer waits for the store. RPyC's clients wait two seconds for theirs; much later
/// another program may have the port of a datagram.
const DEADLINE: Duration = Duration::from_secs(10);

/// The reason why an answer is not sent, where the protocol has no refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change is made but not durable: {0}")]
pub(crate) struct NotDurable(Arc<str>);

impl Reception {
    /// Waits until `answer` may be sent, and returns it or the refusal that it became.
    ///
    /// # Errors
    /// [`NotDurable`] if the protocol has no refusal.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future drops the answer. The change stays.
    pub(crate) fn settle(
        &self,
        dispatcher: &Dispatcher,
        deferred: Deferred,
        answer: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>, NotDurable>> + Send + use<> {
        let permit = Arc::clone(&self.waiting).try_acquire_owned();
        let (checks, deadline) = (self.checks.clone(), Instant::now() + DEADLINE);
        let (directory, mut progress) = (Arc::clone(dispatcher.directory()), dispatcher.progress());
        let mut answer = answer.to_vec();
        async move {
            let refuse =
                |why: Arc<str>| deferred.not_durable(&directory, &why).ok_or(NotDurable(why));
            let Ok(_permit) = permit else {
                return refuse("too many answers wait for the store".into());
            };
            if !deferred.addresses().is_empty() {
                let unreachable = checks.unreachable(deferred.addresses()).await;
                if let Some(told) = unreachable.and_then(|it| deferred.with_remark(it)) {
                    answer = told;
                }
            }
            let ticket = deferred.ticket();
            let settled = progress.wait_for(|progress| {
                let has_failed = progress.failure.is_some() && deferred.is_refusable();
                ticket <= progress.committed || has_failed
            });
            match timeout_at(deadline, settled).await {
                Ok(Ok(progress)) if ticket <= progress.committed => Ok(answer),
                Ok(Ok(progress)) => refuse(progress.failure.clone().unwrap_or_default()),
                Ok(Err(_closed)) => refuse("the store has ended".into()),
                Err(_elapsed) if deferred.is_datagram() => {
                    Err(NotDurable("the store does not commit in time".into()))
                }
                Err(_elapsed) => refuse("the store does not commit in time".into()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
