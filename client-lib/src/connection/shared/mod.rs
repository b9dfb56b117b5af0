//! What the handles of a connection, its driver and its server share.

mod packing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::time::Duration;

use rpyc_protocol::rpc::{
    Action, CallFailure, CallId, CloseReason, Event, Exception, IdPack, ObjectId, Request,
    RequestId, Session,
};
use tokio::sync::{Notify, oneshot, watch};

use super::Handle;
use super::builder::Nothing;
use crate::lock::lock;
use crate::{Disconnect, Local, Parcel, RemoteObject};

/// Above this many unsent bytes, new calls and the serving of new requests wait.
const FULL: usize = 4 << 20;

/// How a call ended.
pub(super) type Outcome = Result<Parcel, CallFailure>;

/// One connection: its state, and the tasks that wait for a change.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) timeout: Option<Duration>,
    /// How long the peer may be silent before it is pinged.
    pub(super) ping_every: Option<Duration>,
    /// Woken when fewer than [`FULL`] bytes wait to be sent, and when the dialect is known.
    room: Notify,
    /// Woken when there are requests of the peer's to serve.
    pub(super) requested: Notify,
    /// Why the connection has ended, once it has.
    pub(super) ended: watch::Sender<Option<Disconnect>>,
    /// Whether the last words have been said, after the end.
    pub(super) left: watch::Sender<bool>,
    pub(super) handle: Weak<Handle>,
}

/// Nothing that is dropped while the lock is held may be an object: its end may call back here.
/// Whatever held one is moved to `garbage`, which is dropped after.
///
/// Trees, because there may be a million objects: they never stop to move to a larger table, and
/// give memory back as objects go.
#[derive(Debug)]
pub(crate) struct State {
    /// Which connection of this program it is.
    pub(crate) number: u64,
    pub(super) session: Session,
    /// How often something has come from the peer.
    pub(super) received: u64,
    waiting: BTreeMap<CallId, oneshot::Sender<Outcome>>,
    exports: BTreeMap<ObjectId, Local>,
    /// The exported objects by their addresses.
    ids: BTreeMap<usize, ObjectId>,
    /// Those of them that are objects of other connections, by what those call them.
    forwarded: BTreeMap<(u64, IdPack), ObjectId>,
    /// Those that were exported for the message that is being packed.
    fresh: Vec<ObjectId>,
    root: Local,
    /// The peer's root, to which one reference is kept.
    pub(super) peer_root: Option<IdPack>,
    /// Bounded by the session, which counts unanswered requests.
    requests: VecDeque<PeerRequest>,
    driver: Option<Waker>,
    garbage: Vec<Parcel>,
    /// Whether the connection is to end once the peer waits for nothing.
    is_finishing: bool,
}

/// A request of the peer's.
#[derive(Debug)]
pub(super) struct PeerRequest {
    pub(super) id: RequestId,
    /// The object; `None` if it is gone, which the session would have refused: never in practice.
    pub(super) object: Option<Local>,
    /// What to do with the object; `None` if the peer asks for the object itself, the root.
    pub(super) action: Option<Action<Parcel>>,
}

impl Shared {
    pub(super) fn new(
        number: u64,
        session: Session,
        root: Local,
        timeout: Option<Duration>,
        ping_every: Option<Duration>,
        handle: Weak<Handle>,
    ) -> Self {
        let state = State {
            number,
            session,
            received: 0,
            waiting: BTreeMap::new(),
            exports: BTreeMap::new(),
            ids: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            fresh: Vec::new(),
            root,
            peer_root: None,
            requests: VecDeque::new(),
            driver: None,
            garbage: Vec::new(),
            is_finishing: false,
        };
        Self {
            state: Mutex::new(state),
            timeout,
            ping_every,
            room: Notify::new(),
            requested: Notify::new(),
            ended: watch::Sender::new(None),
            left: watch::Sender::new(false),
            handle,
        }
    }

    /// Reads or changes the state, without waking the driver.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let (result, garbage) = {
            let mut state = lock(&self.state);
            let result = act(&mut state);
            (result, std::mem::take(&mut state.garbage))
        };
        drop(garbage);
        result
    }

    /// Changes the state in a way that the driver must act on.
    pub(super) fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let (result, driver) = self.with(|state| (act(state), state.driver.take()));
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    /// Waits until something can be sent: not too much waits already, and the dialect is known. Or
    /// the connection has ended, which the sender then learns.
    pub(super) async fn has_room(&self) {
        // There nearly always is, and a look costs less than to be on the list of waiting tasks.
        if self.with(|state| state.is_ready()) {
            return;
        }
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if self.with(|state| state.is_ready()) {
                return;
            }
            room.await;
        }
    }

    /// Releases one reference to an object of the peer's.
    pub(crate) fn release(&self, object: &IdPack) {
        self.change(|state| state.session.release(object));
    }

    /// Waits for the end of the connection and returns its cause.
    pub(super) async fn has_ended(&self) -> Disconnect {
        let mut ended = self.ended.subscribe();
        let reason = ended.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| reason.clone()).unwrap_or(Disconnect::Aborted)
    }

    /// Waits until the last words have been said.
    pub(super) async fn has_left(&self) {
        // The sender lives as long as this.
        let mut left = self.left.subscribe();
        let _left = left.wait_for(|left| *left).await;
    }

    /// Records why the connection ends; the first reason stands.
    fn record_end(&self, reason: Disconnect) {
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(reason);
            is_first
        });
    }

    /// Makes the driver end the connection, for a reason that it does not know.
    pub(super) fn give_up(&self, reason: Disconnect) {
        self.record_end(reason);
        self.change(|state| state.session.close());
    }

    /// Ends everything that waits for the connection; gives the objects that the peer still held.
    /// What a peer asked before it left is kept for the server, which begins it: "do this" and
    /// "goodbye" may come together.
    pub(super) fn end(&self, reason: Disconnect) -> BTreeMap<ObjectId, Local> {
        let has_left = reason.is_by_peer();
        self.record_end(reason);
        let (garbage, exports) = self.with(|state| {
            state.driver = None;
            state.session.close();
            while let Some(event) = state.session.poll_event() {
                state.on_event(event, None);
            }
            state.peer_root = None;
            state.ids = BTreeMap::new();
            state.forwarded = BTreeMap::new();
            let requests =
                if has_left { VecDeque::new() } else { std::mem::take(&mut state.requests) };
            // The root may hold another connection, whose root may hold this one.
            let root = std::mem::replace(&mut state.root, Local::new(Nothing));
            let garbage = (requests, std::mem::take(&mut state.waiting), root);
            (garbage, std::mem::take(&mut state.exports))
        });
        drop(garbage);
        self.room.notify_waiters();
        exports
    }

    pub(super) fn notify_room(&self) {
        self.room.notify_waiters();
    }
}

impl State {
    /// Registers the driver to be woken by the next change.
    pub(super) fn set_driver(&mut self, waker: &Waker) {
        match &self.driver {
            Some(known) if known.will_wake(waker) => {}
            _ => self.driver = Some(waker.clone()),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        let is_open = self.session.stats().unsent < FULL && self.session.dialect().is_some();
        is_open || self.session.is_closed()
    }

    /// Acts on an event of the session; returns why the connection is over, when it is.
    pub(super) fn on_event(
        &mut self,
        event: Event,
        handle: Option<&Arc<Handle>>,
    ) -> Option<CloseReason> {
        match event {
            Event::Request { id, request } if self.is_finishing => {
                self.session.discard_request(&request);
                let exception =
                    Exception::builtin("ConnectionError", "this side is about to leave");
                self.answer(id, Err(exception));
            }
            Event::Request { id, request } => match handle {
                Some(handle) => {
                    let request = self.unpack_request(id, request, handle);
                    self.requests.push_back(request);
                }
                // No handle is left; the connection is about to close.
                None => drop(id),
            },
            Event::Completed { call, outcome } => {
                let outcome = match (outcome, handle) {
                    (Ok(result), Some(handle)) => Ok(self.unpack(result, handle)),
                    (Ok(result), None) => {
                        self.session.discard(&result);
                        return None;
                    }
                    (Err(failure), _) => Err(failure),
                };
                let unwanted = match self.waiting.remove(&call) {
                    Some(waiting) => waiting.send(outcome).err(),
                    None => Some(outcome),
                };
                self.garbage.extend(unwanted.and_then(Result::ok));
            }
            Event::Dropped { object } => {
                if let Some(local) = self.exports.remove(&object) {
                    if self.ids.get(&local.address()) == Some(&object) {
                        self.ids.remove(&local.address());
                    }
                    if let Some(key) = local.forwarded().map(RemoteObject::key)
                        && self.forwarded.get(&key) == Some(&object)
                    {
                        self.forwarded.remove(&key);
                    }
                    self.garbage.push(local.into());
                }
            }
            Event::Closed { reason } => return Some(reason),
            _ => {}
        }
        None
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Lets something live until the lock is released.
    pub(super) fn keep(&mut self, parcel: Parcel) {
        self.garbage.push(parcel);
    }

    pub(super) fn next_request(&mut self) -> Option<PeerRequest> {
        self.requests.pop_front()
    }

    pub(super) fn await_outcome(&mut self, call: CallId) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(call, sender);
        receiver
    }

    pub(super) fn cancel(&mut self, call: CallId) {
        self.session.cancel(call);
        self.waiting.remove(&call);
    }

    /// Answers a request of the peer's.
    pub(super) fn answer(&mut self, id: RequestId, answer: Result<Parcel, Exception>) {
        let answer = answer.and_then(|result| {
            self.pack(result).map_err(|error| Exception::builtin("RuntimeError", error.to_string()))
        });
        let sent = match &answer {
            Ok(result) => self.session.reply(id, result),
            Err(exception) => self.session.raise(id, exception),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer could not be sent; the peer received an exception instead");
        }
        self.withdraw_unsent();
        if self.is_finishing {
            self.finish();
        }
    }

    /// Ends the conversation as soon as the peer waits for nothing; what it asks from now on is
    /// refused.
    pub(super) fn finish(&mut self) {
        self.is_finishing = true;
        if self.session.stats().requests == 0 {
            self.session.close();
        }
    }

    fn unpack_request(
        &mut self,
        id: RequestId,
        request: Request,
        handle: &Arc<Handle>,
    ) -> PeerRequest {
        match request {
            Request::Root => PeerRequest { id, object: Some(self.root.clone()), action: None },
            Request::Object { object, action } => {
                let action = action.map(|boxed| self.unpack(boxed, handle));
                let object = self.exports.get(&object).cloned();
                PeerRequest { id, object, action: Some(action) }
            }
        }
    }
}
