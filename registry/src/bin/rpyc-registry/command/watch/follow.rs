//! Follows a registry through its restarts.

use std::time::Duration;

use rpyc_client::native::{Change, ChangeKind, Native, Revision, Watch};
use tokio::sync::mpsc;

/// The first and the longest delay before a retry.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// An event of a follower.
#[derive(Debug)]
pub(super) enum Update {
    /// An instance or the state of the stream changed.
    Changed(Change),
    /// The connection to the registry is lost, for this reason. The state so far is the last that
    /// is known.
    Lost(String),
    /// A registry is connected again.
    Found,
}

/// Forwards the changes of `watch` to `updates`. When the watch ends, it opens a new one that
/// continues from the last revision. It returns when the receiver is closed.
pub(super) async fn follow(
    native: Native,
    glob: Option<String>,
    mut watch: Watch,
    updates: mpsc::Sender<Update>,
) {
    let mut resume = Resume::default();
    loop {
        let update = match watch.changed().await {
            Ok(change) => {
                resume.pass(&change);
                Update::Changed(change)
            }
            Err(error) => {
                if updates.send(Update::Lost(error.to_string())).await.is_err() {
                    return;
                }
                let Some(again) =
                    find_again(&native, glob.as_deref(), resume.since, &updates).await
                else {
                    return;
                };
                watch = again;
                Update::Found
            }
        };
        if updates.send(update).await.is_err() {
            return;
        }
    }
}

/// Retries until a new watch is open; `None` if the receiver is closed.
async fn find_again(
    native: &Native,
    glob: Option<&str>,
    since: Option<Revision>,
    updates: &mpsc::Sender<Update>,
) -> Option<Watch> {
    let mut retry = FIRST_RETRY;
    loop {
        tokio::select! {
            () = updates.closed() => return None,
            () = tokio::time::sleep(retry) => {}
        }
        match native.watch(glob, since).await {
            Ok(watch) => return Some(watch),
            Err(error) => updates.send(Update::Lost(error.to_string())).await.ok()?,
        }
        retry = (retry * 2).min(LAST_RETRY);
    }
}

/// The revision from which a later watch continues.
#[derive(Debug, Default)]
struct Resume {
    /// `None` until a snapshot is complete: before that, a new watch must start from the beginning.
    since: Option<Revision>,
}

impl Resume {
    fn pass(&mut self, change: &Change) {
        self.since = match change.kind {
            ChangeKind::Reset => None,
            ChangeKind::Current => Some(change.revision),
            _ => self.since.map(|_| change.revision),
        };
    }
}
