//! What the store's thread does once the file is open.

use tokio::sync::watch;
use tracing::{error, info};

use super::RETRY_INTERVAL;
use super::database::Database;
use super::pending::{Group, Pending};
use crate::store::Progress;

/// Writes group after group until there will be no more, and then closes the file. While one is written, the
/// next gathers: the busier the registry, the larger the groups.
pub(super) fn run(mut database: Database, pending: &Pending, progress: &watch::Sender<Progress>) {
    while let Some(group) = pending.next_group() {
        if !write(&mut database, pending, progress, &group) {
            return;
        }
    }
    if let Err(fault) = database.commit(&pending.last_group()) {
        // All that was acknowledged is durable; the next start skips some revisions, that is all.
        info!(why = database.explain(&fault), "the file could not be closed in order");
    }
}

/// Writes one group, however often it takes; gives up only at the end, and tells whether it did not.
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
        let is_told = progress.borrow().failure.as_deref() == Some(&*fault);
        if !is_told {
            error!("{fault}; until then no change is acknowledged");
            progress.send_modify(|progress| progress.failure = Some(fault.into()));
        }
        if is_last_try {
            error!(
                changes = group.entries.len(),
                "the registry ends with changes that it could not keep; none of them was acknowledged"
            );
            return false;
        }
        is_last_try = pending.rest(RETRY_INTERVAL);
    }
    let had_failed = progress.borrow().failure.is_some();
    progress.send_replace(Progress { committed: group.ticket, failure: None });
    if had_failed {
        info!("changes are kept again");
    }
    true
}
