//! Following what happens, over one connection.

use std::net::SocketAddr;
use std::time::Duration;

use rpyc_protocol::registry::native::{
    CURRENT_INTERVAL, Event, EventKind, Operation, Reply, Request, Revision,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::route::Route;
use super::super::tcp::{self, Connected, Destination};
use super::super::{Registrar, page};
use crate::random::request_id;
use crate::{Attempt, Attempts, Fault, Instance, RegistryAddr, RequestError, Transport};

/// How long a registry may be silent. It sends `current` if nothing else has happened, and one of
/// these may be late.
const SILENCE: Duration = CURRENT_INTERVAL.saturating_mul(2).saturating_add(MARGIN);

/// How late the second may be.
const MARGIN: Duration = Duration::from_secs(3);

/// The longest line. The registry's own bounds on an instance keep it far below.
const MAX_LINE: usize = 64 << 10;

/// Changes as they happen; from [`Native::watch`](super::Native::watch). Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    registry: RegistryAddr,
    responder: SocketAddr,
    local: SocketAddr,
    stream: Box<dyn tcp::Stream>,
    /// The number of the request, which every line repeats.
    id: u64,
    buffer: Vec<u8>,
    /// How much of the buffer has been looked at for the end of a line.
    seen: usize,
    /// The first change, which proved that the registry watches.
    first: Option<Change>,
    silence_from: Instant,
}

/// Something that happened, or that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The revision of the table after it. A later watch can go on from here once
    /// [`ChangeKind::Current`] has come.
    pub revision: Revision,
    /// What it is.
    pub kind: ChangeKind,
}

/// The kind of a change. Changes that follow one another quickly may be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// An instance of this name is there.
    Added(String, Box<Instance>),
    /// An instance of this name, perhaps a new one, has changed.
    Updated(String, Box<Instance>),
    /// An instance of this name is gone, perhaps an unseen one; in its last state.
    Removed(String, Box<Instance>),
    /// Earlier changes no longer count: forget all instances. The present ones follow.
    Reset,
    /// All present instances have been sent. Comes again now and then while nothing happens.
    Current,
}

/// Why a watch ended. A new one from the last revision misses nothing.
#[derive(Debug, thiserror::Error)]
#[error("the watch of {registry} ended: {fault}")]
#[non_exhaustive]
pub struct WatchError {
    /// The registry.
    pub registry: RegistryAddr,
    /// What it did.
    #[source]
    pub fault: Fault,
}

/// Begins a watch at one registry.
pub(super) async fn begin(
    registrar: &Registrar,
    registry: RegistryAddr,
    to: SocketAddr,
    mut local: SocketAddr,
    operation: Operation,
) -> Result<Watch, RequestError> {
    let started = Instant::now();
    let deadline = started + registrar.timeout();
    local.set_port(0);
    let route = Route { to, from: Some(local), to_many: false };
    let failed = |fault| {
        let registry = RegistryAddr::new(Transport::Tcp, to).unwrap_or_else(|_| registry.clone());
        let attempt = Attempt { registry, responder: Some(to), fault };
        RequestError::new(Attempts::new(vec![attempt], started.elapsed()))
    };
    let id = request_id();
    let destination = match registry.socket_path() {
        Some(path) => Destination::Path(path),
        None => Destination::Network(&route),
    };
    let opening = async {
        let Connected { mut stream, local, .. } = tcp::connect(destination).await?;
        let mut line = Request::new(operation).with_id(id).to_bytes();
        line.push(b'\n');
        stream.write_all(&line).await.map_err(tcp::fault)?;
        Ok::<_, Fault>((stream, local))
    };
    let opened = timeout_at(deadline, opening).await.unwrap_or(Err(Fault::NoReply));
    let (stream, local) = opened.map_err(failed)?;
    let mut watch = Watch {
        registry: registry.clone(),
        responder: to,
        local,
        stream,
        id,
        buffer: Vec::new(),
        seen: 0,
        first: None,
        silence_from: Instant::now(),
    };
    // From a revision on no change may be pending; but a refusal comes at once.
    match timeout(FIRST_WORD, watch.receive()).await {
        Ok(Ok(first)) => watch.first = Some(first),
        Ok(Err(fault)) => return Err(failed(fault)),
        Err(_nothing_yet) => {}
    }
    Ok(watch)
}

/// How long to wait for the first message before assuming that no change is pending.
const FIRST_WORD: Duration = Duration::from_millis(200);

impl Watch {
    /// The next change.
    ///
    /// # Errors
    /// [`WatchError`] if the registry closes the connection, is silent for 33 s (twice
    /// [`CURRENT_INTERVAL`](rpyc_protocol::registry::native::CURRENT_INTERVAL) and 3 s), or sends
    /// an invalid message. The watch is over then.
    ///
    /// # Cancel safety
    /// Cancel safe: received changes are kept.
    pub async fn changed(&mut self) -> Result<Change, WatchError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let deadline = self.silence_from + SILENCE;
        let received = timeout_at(deadline, self.receive()).await;
        let received = received.unwrap_or(Err(Fault::NoReply));
        received.map_err(|fault| WatchError { registry: self.registry.clone(), fault })
    }

    /// The registry that sends the changes, as configured.
    #[must_use]
    pub fn registry(&self) -> &RegistryAddr {
        &self.registry
    }

    /// The address of that registry.
    #[must_use]
    pub fn responder(&self) -> SocketAddr {
        self.responder
    }

    async fn receive(&mut self) -> Result<Change, Fault> {
        loop {
            while let Some(line) = self.next_line() {
                if let Some(change) = self.read(&line)? {
                    return Ok(change);
                }
            }
            if self.buffer.len() > MAX_LINE {
                return Err(page::not_a_reply());
            }
            if self.stream.read_buf(&mut self.buffer).await.map_err(tcp::fault)? == 0 {
                return Err(Fault::Closed);
            }
            self.silence_from = Instant::now();
        }
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let new = self.buffer.get(self.seen..).unwrap_or_default();
        let Some(len) = new.iter().position(|byte| *byte == b'\n') else {
            self.seen = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.seen + len + 1);
        self.seen = 0;
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// The change in a line; `None` for a kind that this version does not know, and for an answer
    /// to another request.
    fn read(&self, line: &[u8]) -> Result<Option<Change>, Fault> {
        let reply = Reply::parse(line).map_err(Fault::UndecodableNative)?;
        if reply.id.is_some_and(|id| id != self.id) {
            return Ok(None);
        }
        let reply = page::accepted(reply)?;
        let (Some(event), Some(revision)) = (reply.event, reply.revision) else {
            return Err(page::not_a_reply());
        };
        let Event { kind, name, instance } = *event;
        let instance = instance.map(|instance| Box::new(Instance::received(instance, self.local)));
        let kind = match (kind, name, instance) {
            (EventKind::Reset, ..) => ChangeKind::Reset,
            (EventKind::Current, ..) => ChangeKind::Current,
            (EventKind::Added, Some(name), Some(it)) => ChangeKind::Added(name, it),
            (EventKind::Updated, Some(name), Some(it)) => ChangeKind::Updated(name, it),
            (EventKind::Removed, Some(name), Some(it)) => ChangeKind::Removed(name, it),
            (EventKind::Added | EventKind::Updated | EventKind::Removed, ..) => {
                return Err(page::not_a_reply());
            }
            _ => return Ok(None),
        };
        Ok(Some(Change { revision, kind }))
    }
}
