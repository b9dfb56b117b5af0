//! Attempts to connect to several servers, the next before the last has failed.

use std::time::Duration;

use tokio::time::Instant;

use super::ServiceStream;
use super::dial::dial;
use crate::Unreached;
use crate::net::first_success;
use crate::resolver::{Candidate, Feedback};

/// The time between trying one server and trying the next beside it.
const STAGGER: Duration = Duration::from_millis(250);

impl Candidate {
    /// Connects to it by whichever of its addresses is there first.
    async fn dial(&self, limit: Duration) -> Result<(&Self, ServiceStream), Vec<Unreached>> {
        let trial =
            Trial { feedback: self.feedback.as_ref(), started: Instant::now(), is_over: false };
        let dials = self.endpoints.iter().map(|endpoint| dial(endpoint.clone(), limit));
        let dials: Vec<_> = dials.collect();
        let dialled = first_success(dials, STAGGER).await;
        trial.end(dialled.is_ok());
        dialled.map(|stream| (self, stream))
    }
}

/// An attempt to connect, of which is remembered how it ends.
struct Trial<'a> {
    feedback: Option<&'a Feedback>,
    started: Instant,
    is_over: bool,
}

impl Trial<'_> {
    fn end(mut self, is_success: bool) {
        self.is_over = true;
        if let Some(feedback) = self.feedback.filter(|_| !is_success) {
            feedback.failed(Instant::now().into_std());
        }
    }
}

impl Drop for Trial<'_> {
    /// The attempt was abandoned because another came first: this server may swallow packets.
    fn drop(&mut self) {
        if let Some(feedback) = self.feedback
            && !self.is_over
            && self.started.elapsed() >= STAGGER
        {
            feedback.failed(Instant::now().into_std());
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
