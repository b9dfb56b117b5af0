//! Following a registry through its restarts.

use std::time::Duration;

use rpyc_client::native::{Change, ChangeKind, Native, Revision, Watch};
use tokio::sync::mpsc;

/// How soon after a loss to try again, and how seldom at the most.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// What a follower tells.
#[derive(Debug)]
pub(super) enum Told {
    /// Something happened, or is there.
    Changed(Change),
    /// The registry tells nothing at the moment, and why. What was told is the last that is known.
    Lost(String),
    /// A registry tells again.
    Found,
}

/// Tells what `watch` tells and, when that ends, what a new one tells that goes on from there; until
/// nobody listens.
pub(super) async fn follow(
    native: Native,
    glob: Option<String>,
    mut watch: Watch,
    tell: mpsc::Sender<Told>,
) {
    let mut place = Place::default();
    loop {
        let told = match watch.changed().await {
            Ok(change) => {
                place.pass(&change);
                Told::Changed(change)
            }
            Err(error) => {
                if tell.send(Told::Lost(error.to_string())).await.is_err() {
                    return;
                }
                let Some(again) = find_again(&native, glob.as_deref(), place.since, &tell).await
                else {
                    return;
                };
                watch = again;
                Told::Found
            }
        };
        if tell.send(told).await.is_err() {
            return;
        }
    }
}

/// A new watch, however long that takes; `None` if nobody listens any more.
async fn find_again(
    native: &Native,
    glob: Option<&str>,
    since: Option<Revision>,
    tell: &mpsc::Sender<Told>,
) -> Option<Watch> {
    let mut retry = FIRST_RETRY;
    loop {
        tokio::select! {
            () = tell.closed() => return None,
            () = tokio::time::sleep(retry) => {}
        }
        match native.watch(glob, since).await {
            Ok(watch) => return Some(watch),
            Err(error) => tell.send(Told::Lost(error.to_string())).await.ok()?,
        }
        retry = (retry * 2).min(LAST_RETRY);
    }
}

/// From where a later watch goes on.
#[derive(Debug, Default)]
struct Place {
    /// Only what has been told to its end counts; before that everything must be told again.
    since: Option<Revision>,
}

impl Place {
    fn pass(&mut self, change: &Change) {
        self.since = match change.kind {
            ChangeKind::Reset => None,
            ChangeKind::Current => Some(change.revision),
            _ => self.since.map(|_| change.revision),
        };
    }
}
