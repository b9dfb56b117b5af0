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

use crate::host::Host;

/// How long a connection that sends nothing delays the later connections of its host.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// The connections of each host whose first request has not been served yet, in the order in which
/// they were accepted.
#[derive(Debug, Default)]
pub(crate) struct ArrivalOrder {
    order: Mutex<HashMap<Host, Arrivals>>,
}

#[derive(Debug, Default)]
struct Arrivals {
    next: u64,
    /// Each with a sender that signals that it is the first.
    waiting: BTreeMap<u64, Option<oneshot::Sender<()>>>,
}

/// A connection among those of its host, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    order: Arc<ArrivalOrder>,
    host: Host,
    number: u64,
    /// Completes when this connection is the first; `None` if it is already.
    earlier: Option<oneshot::Receiver<()>>,
}

impl ArrivalOrder {
    /// Adds a connection after the others of `host`.
    pub(super) fn join(self: &Arc<Self>, host: Host) -> Waiting {
        let mut order = self.lock();
        let arrivals = order.entry(host).or_default();
        let number = arrivals.next;
        arrivals.next += 1;
        let is_first = arrivals.waiting.is_empty();
        let (call, called) = oneshot::channel();
        let (call, earlier) = if is_first { (None, None) } else { (Some(call), Some(called)) };
        arrivals.waiting.insert(number, call);
        drop(order);
        Waiting { order: Arc::clone(self), host, number, earlier }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Host, Arrivals>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Waits until every earlier connection of the host has been served or has ended.
    ///
    /// Cancel safe.
    pub(super) async fn first(&mut self) {
        if let Some(earlier) = &mut self.earlier {
            // This cannot fail while this is waiting. Even if it did, no connection is before
            // it.
            let _ = earlier.await;
            self.earlier = None;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut order = self.order.lock();
        let Some(arrivals) = order.get_mut(&self.host) else { return };
        arrivals.waiting.remove(&self.number);
        match arrivals.waiting.first_entry() {
            None => drop(order.remove(&self.host)),
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
        let order = Arc::new(ArrivalOrder::default());
        let [mut first, mut second, mut third] = [1, 1, 1].map(|last| order.join(host(last)));
        let mut other = order.join(host(2));
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
        let order = Arc::new(ArrivalOrder::default());
        let [first, second, mut third] = [1, 1, 1].map(|last| order.join(host(last)));
        drop(second);
        assert!(third.first().now_or_never().is_none());
        drop(first);
        assert!(third.first().now_or_never().is_some());
        drop(third);
        assert!(order.lock().is_empty(), "nothing is kept of a host without connections");
    }
}
