//! Notifications of watchers, encoded once for all watchers that get the same.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::{Event, EventKind, Instance, Reply, Revision, VERSION};

use crate::table::{Advertised, Asker, Directory, Entry};

/// The number of changes whose encoding is kept. A later watcher gets a new encoding.
const KEPT: usize = 4096;

/// The number of encodings kept of one change. Askers that get different addresses of an instance
/// need different ones, usually one or two.
const VARIANTS: usize = 4;

/// How long an encoding is used, because it contains durations.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The encoded notifications of the latest changes, without the members that differ between
/// watchers.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct NotificationCache {
    /// By the number of the change, modulo [`KEPT`]. Allocated for the first watcher.
    slots: OnceLock<Box<[Mutex<Vec<Notification>>]>>,
}

/// One encoded change.
#[derive(Debug)]
struct Notification {
    number: u64,
    kind: EventKind,
    /// The addresses that it lists. Nothing else depends on the asker.
    addresses: Vec<Advertised>,
    at: Instant,
    /// Everything after the request number.
    rest: Box<[u8]>,
}

impl NotificationCache {
    /// Appends the notification of a change for `asker`, unless `asker` can reach no address of it.
    pub(super) fn write(
        &self,
        (now, directory): (Instant, &Directory),
        (asker, id): (&Asker, Option<u64>),
        entry: &Entry,
        out: &mut Vec<u8>,
    ) {
        let lease = &entry.lease;
        let addresses = directory.addressing.addresses_of(asker, &lease.instance);
        if addresses.is_empty() {
            return;
        }
        let Some(slot) = self.slot(entry.number) else { return };
        let is_it = |notification: &Notification| {
            (notification.number, notification.kind) == (entry.number, entry.kind)
                && notification.addresses == addresses
        };
        let is_fresh = |notification: &Notification| {
            now.saturating_duration_since(notification.at) < FRESH_FOR
        };
        {
            let notifications = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(notification) = notifications
                .iter()
                .find(|notification| is_it(notification) && is_fresh(notification))
            {
                return splice(id, &notification.rest, out);
            }
        }
        let Some(instance) = directory.view(now, asker, lease, true) else { return };
        let name = Some(lease.service.as_str().to_owned());
        let revision = directory.journal.at(entry.number);
        let rest = rest_of(revision, entry.kind, name, Some(instance));
        splice(id, &rest, out);
        // The machine's own addresses may have changed since they were read above.
        if directory.addressing.addresses_of(asker, &lease.instance) == addresses {
            let (number, kind) = (entry.number, entry.kind);
            let notification = Notification { number, kind, addresses, at: now, rest: rest.into() };
            let mut notifications = slot.lock().unwrap_or_else(PoisonError::into_inner);
            notifications.retain(|other| {
                let is_same =
                    (other.kind, &other.addresses) == (notification.kind, &notification.addresses);
                other.number == number && is_fresh(other) && !is_same
            });
            notifications.truncate(VARIANTS - 1);
            notifications.push(notification);
        }
    }

    fn slot(&self, number: u64) -> Option<&Mutex<Vec<Notification>>> {
        let slots = self.slots.get_or_init(|| (0..KEPT).map(|_| Mutex::default()).collect());
        let kept = u64::try_from(KEPT).ok()?;
        slots.get(usize::try_from(number % kept).ok()?)
    }
}

/// Appends a notification for one watcher only.
pub(super) fn write_own(
    id: Option<u64>,
    revision: Revision,
    kind: EventKind,
    content: Option<(String, Instance)>,
    out: &mut Vec<u8>,
) {
    let (name, instance) = content.unzip();
    splice(id, &rest_of(revision, kind, name, instance), out);
}

/// The beginning of every notification. The request number follows.
const HEAD: &str = r#"{"v":1"#;
const _: () = assert!(VERSION == 1, "the head states the version");

/// A notification without its head.
fn rest_of(
    revision: Revision,
    kind: EventKind,
    name: Option<String>,
    instance: Option<Instance>,
) -> Vec<u8> {
    let event = Some(Box::new(Event { kind, name, instance }));
    let mut notification = Reply { event, ..Reply::new(revision) }.to_bytes();
    notification.push(b'\n');
    notification.split_off(HEAD.len())
}

fn splice(id: Option<u64>, rest: &[u8], out: &mut Vec<u8>) {
    /// The most bytes that a request number takes.
    const ID_LEN: usize = 32;
    out.reserve(HEAD.len() + ID_LEN + rest.len());
    out.extend(HEAD.as_bytes());
    if let Some(id) = id {
        out.extend(format!(r#","id":{id}"#).as_bytes());
    }
    out.extend(rest);
}
