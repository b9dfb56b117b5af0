//! How long a call may take as a whole.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::CallError;

/// The end of the time that a call has, however many round trips it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl TimeLimit {
    /// Starts now; `None` is unlimited.
    pub(crate) fn from_now(timeout: Option<Duration>) -> Self {
        let now = Instant::now();
        // A deadline that the clock cannot hold is none.
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        Self { timeout, deadline }
    }

    pub(crate) fn deadline(self) -> Option<Instant> {
        self.deadline
    }

    /// The time that is left.
    pub(crate) fn left(self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The error of a call that has taken all its time.
    pub(crate) fn expired(self, may_have_run: bool) -> CallError {
        CallError::Timeout { after: self.timeout.unwrap_or_default(), may_have_run }
    }

    /// Waits for `future`; none if the time ends before. The future is dropped then.
    pub(crate) async fn bound<T>(self, future: impl Future<Output = T>) -> Option<T> {
        match self.deadline {
            Some(deadline) => timeout_at(deadline, future).await.ok(),
            None => Some(future.await),
        }
    }
}
