//! Draining an announcer that is under way.

use std::sync::Arc;

use tokio::sync::watch;

use super::Status;

/// Drains what an [`Announcer`](super::Announcer) announces while it runs; from
/// [`Announcer::handle`](super::Announcer::handle). Cheap to clone; dropping it does nothing.
#[derive(Clone, Debug)]
pub struct AnnouncerHandle {
    pub(super) wanted: Arc<watch::Sender<bool>>,
    pub(super) statuses: watch::Receiver<Vec<Status>>,
}

impl AnnouncerHandle {
    /// Drains the server at all registries, so that new clients do not get it, and waits until each
    /// that knows the server has acknowledged that or does not answer. RPyC's own registry cannot
    /// drain; there the server is unregistered.
    ///
    /// Clients that are connected stay. [`undrain`](Self::undrain) takes it back.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting; the draining goes on.
    pub async fn drain(&self) {
        self.wanted.send_replace(true);
        self.settled(true).await;
    }

    /// Has the registries send new clients again, and waits as [`drain`](Self::drain) does.
    ///
    /// # Cancel safety
    /// As [`drain`](Self::drain).
    pub async fn undrain(&self) {
        self.wanted.send_replace(false);
        self.settled(false).await;
    }

    pub(crate) fn is_acknowledged(&self) -> bool {
        self.statuses.borrow().iter().any(Status::is_acknowledged)
    }

    async fn settled(&self, is_draining: bool) {
        let mut statuses = self.statuses.clone();
        let is_done =
            |status: &Status| !status.is_acknowledged() || status.is_draining == is_draining;
        // An error means that the announcement is over, and nothing to wait for.
        let _ = statuses.wait_for(|all| all.iter().all(is_done)).await;
    }
}
