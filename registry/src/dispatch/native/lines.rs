//! Notifications of watchers, encoded once for all watchers that get the same.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rpyc_protocol::registry::native::{Event, EventKind, Instance, Reply, Revision, VERSION};

use crate::table::{Asker, Directory, Entry, Told};

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
pub(in crate::dispatch) struct Lines {
    /// By the number of the change, modulo [`KEPT`]. Allocated for the first watcher.
    places: OnceLock<Box<[Mutex<Vec<Line>>]>>,
}

/// One encoded change.
#[derive(Debug)]
struct Line {
    number: u64,
    kind: EventKind,
    /// The addresses that it lists. Nothing else depends on the asker.
    addresses: Vec<Told>,
    at: Instant,
    /// Everything after the request number.
    rest: Box<[u8]>,
}

impl Lines {
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
        let Some(place) = self.place(entry.number) else { return };
        let is_it = |line: &Line| {
            (line.number, line.kind) == (entry.number, entry.kind) && line.addresses == addresses
        };
        let is_fresh = |line: &Line| now.saturating_duration_since(line.at) < FRESH_FOR;
        {
            let lines = place.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = lines.iter().find(|line| is_it(line) && is_fresh(line)) {
                return splice(id, &line.rest, out);
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
            let line = Line { number, kind, addresses, at: now, rest: rest.into() };
            let mut lines = place.lock().unwrap_or_else(PoisonError::into_inner);
            lines.retain(|other| {
                let is_same = (other.kind, &other.addresses) == (line.kind, &line.addresses);
                other.number == number && is_fresh(other) && !is_same
            });
            lines.truncate(VARIANTS - 1);
            lines.push(line);
        }
    }

    fn place(&self, number: u64) -> Option<&Mutex<Vec<Line>>> {
        let places = self.places.get_or_init(|| (0..KEPT).map(|_| Mutex::default()).collect());
        let kept = u64::try_from(KEPT).ok()?;
        places.get(usize::try_from(number % kept).ok()?)
    }
}

/// Appends a notification for one watcher only.
pub(super) fn write_own(
    id: Option<u64>,
    revision: Revision,
    kind: EventKind,
    told: Option<(String, Instance)>,
    out: &mut Vec<u8>,
) {
    let (name, instance) = told.unzip();
    splice(id, &rest_of(revision, kind, name, instance), out);
}

/// The beginning of every line. The request number follows.
const HEAD: &str = r#"{"v":1"#;
const _: () = assert!(VERSION == 1, "the head of a line contains the version");

/// A line without its head.
fn rest_of(
    revision: Revision,
    kind: EventKind,
    name: Option<String>,
    instance: Option<Instance>,
) -> Vec<u8> {
    let event = Some(Box::new(Event { kind, name, instance }));
    let mut line = Reply { event, ..Reply::new(revision) }.to_bytes();
    line.push(b'\n');
    line.split_off(HEAD.len())
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
