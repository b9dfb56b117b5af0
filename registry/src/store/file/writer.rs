//! The store's thread after it has read the file.

use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info};

use super::RETRY_INTERVAL;
use super::fault::Fault;
use super::files::Files;
use super::pending::{Group, Next, Pending};
use crate::store::Progress;

/// The time without changes after which the files are looked at: they may have been deleted.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Writes groups until the queue ends, and then closes the file. While it writes one group, the
/// next gathers: the busier the registry, the larger the groups.
pub(super) fn run(mut files: Files, pending: &Pending, progress: &watch::Sender<Progress>) {
    loop {
        match pending.next_group(LOOK_INTERVAL) {
            Next::Group(group) => {
                if !write(&mut files, pending, progress, &group) {
                    return;
                }
            }
            Next::Nothing => {
                let kept = files.rest();
                report(&files, progress, &kept);
            }
            Next::End => break,
        }
    }
    if let Err(fault) = files.close(&pending.last_group()) {
        // All acknowledged changes are durable; the next start only skips some numbers.
        info!(why = files.explain(&fault), "the file could not be closed in order");
    }
}

/// Writes one group, retrying until the queue ends; returns whether it was written.
fn write(
    files: &mut Files,
    pending: &Pending,
    progress: &watch::Sender<Progress>,
    group: &Group,
) -> bool {
    let mut is_last_try = false;
    loop {
        let committed = files.commit(group);
        report(files, progress, &committed);
        if committed.is_ok() {
            break;
        }
        if is_last_try {
            error!(
                changes = group.entries.len(),
                "the registry ends with unwritten changes; none of them was acknowledged"
            );
            return false;
        }
        is_last_try = pending.rest(RETRY_INTERVAL);
    }
    progress.send_replace(Progress { committed: group.ticket, failure: None });
    true
}

/// Publishes and logs whether the store works, when that changes.
fn report(files: &Files, progress: &watch::Sender<Progress>, outcome: &Result<(), Fault>) {
    let before = progress.borrow().failure.clone();
    let now = outcome.as_ref().err().map(|fault| files.explain(fault));
    match &now {
        Some(now) if before.as_deref() == Some(now) => return,
        Some(now) => error!("{now}; until then no change is acknowledged"),
        None if before.is_some() => info!("changes are written again"),
        None => return,
    }
    progress.send_modify(|progress| progress.failure = now.map(Into::into));
}
