//! The order of a host's connections: first accepted, first served.
//!
//! RPyC's clients open a connection for each request and do not wait for the answer to UNREGISTER.
//! RPyC's registry serves one connection at a time, which keeps their order. Here each connection
//! has a task, so the first request of a connection waits for those of the connections that its
//! host opened before.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::table::Host;

/// How long a connection that sends nothing delays the later connections of its host.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// The connections of each host whose first request has not been served yet, in the order in which
/// they were accepted.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Mutex<HashMap<Host, Line>>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    /// Each with a sender that signals that it is the first.
    waiting: BTreeMap<u64, Option<oneshot::Sender<()>>>,
}

/// A position in the line of a host, until it is dropped.
#[derive(Debug)]
pub(super) struct InLine {
    lines: Arc<Lines>,
    host: Host,
    number: u64,
    /// Completes when this is the first in the line; `None` if it is already.
    earlier: Option<oneshot::Receiver<()>>,
}

impl Lines {
    /// Takes the last position in the line of `host`.
    pub(super) fn join(self: &Arc<Self>, host: Host) -> InLine {
        let mut lines = self.lock();
        let line = lines.entry(host).or_default();
        let number = line.next;
        line.next += 1;
        let is_first = line.waiting.is_empty();
        let (call, called) = oneshot::channel();
        let (call, earlier) = if is_first { (None, None) } else { (Some(call), Some(called)) };
        line.waiting.insert(number, call);
        drop(lines);
        InLine { lines: Arc::clone(self), host, number, earlier }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Host, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InLine {
    /// Waits until every earlier connection of the host has been served or has left the line.
    ///
    /// Cancel safe.
    pub(super) async fn first(&mut self) {
        if let Some(earlier) = &mut self.earlier {
            // This cannot fail while this is in the line. Even if it did, no connection is before
            // it.
            let _ = earlier.await;
            self.earlier = None;
        }
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&self.host) else { return };
        line.waiting.remove(&self.number);
        match line.waiting.first_entry() {
            None => drop(lines.remove(&self.host)),
            Some(mut first) => {
                if let Some(call) = first.get_mut().take() {
                    // A connection that has ended removes itself.
                    let _ = call.send(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn host(last: u8) -> Host {
        Host::new([10, 0, 0, last].into(), 0)
    }

    #[test]
    fn connections_of_a_host_are_served_in_turn_and_those_of_others_beside_them() {
        let lines = Arc::new(Lines::default());
        let [mut first, mut second, mut third] = [1, 1, 1].map(|last| lines.join(host(last)));
        let mut other = lines.join(host(2));
        assert!(first.first().now_or_never().is_some());
        assert!(other.first().now_or_never().is_some());
        assert!(second.first().now_or_never().is_none());
        drop(first);
        assert!(second.first().now_or_never().is_some());
        assert!(second.first().now_or_never().is_some(), "once the first, always the first");
        assert!(third.first().now_or_never().is_none());
        drop(second);
        assert!(third.first().now_or_never().is_some());
    }

    #[test]
    fn who_leaves_from_the_middle_moves_nobody_to_the_front() {
        let lines = Arc::new(Lines::default());
        let [first, second, mut third] = [1, 1, 1].map(|last| lines.join(host(last)));
        drop(second);
        assert!(third.first().now_or_never().is_none());
        drop(first);
        assert!(third.first().now_or_never().is_some());
        drop(third);
        assert!(lines.lock().is_empty(), "nothing is kept of a host without connections");
    }
}
