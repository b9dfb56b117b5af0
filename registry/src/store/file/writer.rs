//! The store's thread after it has read the file.

use tokio::sync::watch;
use tracing::{error, info};

use super::RETRY_INTERVAL;
use super::database::Database;
use super::pending::{Group, Pending};
use crate::store::Progress;

/// Writes groups until the queue ends, and then closes the file. While it writes one group, the
/// next gathers: the busier the registry, the larger the groups.
pub(super) fn run(mut database: Database, pending: &Pending, progress: &watch::Sender<Progress>) {
    while let Some(group) = pending.next_group() {
        if !write(&mut database, pending, progress, &group) {
            return;
        }
    }
    if let Err(fault) = database.commit(&pending.last_group()) {
        // All acknowledged changes are durable; the next start only skips some revisions.
        info!(why = database.explain(&fault), "the file could not be closed in order");
    }
}

/// Writes one group, retrying until the queue ends; returns whether it was written.
fn write(
    database: &mut Database,
    pending: &Pending,
    progress: &watch::Sender<Progress>,
    group: &Group,
) -> bool {
    let mut is_last_try = false;
    loop {
        let fault = match database.commit(group) {
            Ok(()) => break,
            Err(fault) => database.explain(&fault),
        };
        let is_logged = progress.borrow().failure.as_deref() == Some(&*fault);
        if !is_logged {
            error!("{fault}; until then no change is acknowledged");
            progress.send_modify(|progress| progress.failure = Some(fault.into()));
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
    let had_failed = progress.borrow().failure.is_some();
    progress.send_replace(Progress { committed: group.ticket, failure: None });
    if had_failed {
        info!("changes are written again");
    }
    true
}
