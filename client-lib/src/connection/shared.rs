//! What the handles of a connection, its driver and its server share.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use rpyc_protocol::brine::Value;
use rpyc_protocol::rpc::{
    Action, Arguments, Boxed, CallFailure, CallId, CloseReason, Event, Exception, ExportError,
    IdPack, ObjectId, Request, RequestId, Session,
};
use tokio::sync::{Notify, oneshot, watch};

use super::Handle;
use crate::error::RequestFailure;
use crate::local::Ask;
use crate::{Args, Disconnect, Local, Parcel, RemoteObject};

/// Above this many unsent bytes, new calls and the serving of new requests wait.
const FULL: usize = 4 << 20;

/// How a call ended.
pub(super) type Outcome = Result<Parcel, CallFailure>;

/// One connection: its state, and who waits for a change of it.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) timeout: Option<Duration>,
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
#[derive(Debug)]
pub(crate) struct State {
    /// Which connection of this program it is.
    pub(crate) number: u64,
    pub(super) session: Session,
    waiting: HashMap<CallId, oneshot::Sender<Outcome>>,
    exports: HashMap<ObjectId, Local>,
    /// The exported objects by their addresses.
    ids: HashMap<usize, ObjectId>,
    root: Local,
    /// The peer's root, to which one reference is kept.
    pub(super) peer_root: Option<IdPack>,
    /// Bounded by the session, which counts what is not answered.
    requests: VecDeque<Asked>,
    driver: Option<Waker>,
    garbage: Vec<Parcel>,
    /// Whether the connection is to end once the peer waits for nothing.
    is_finishing: bool,
}

/// A request of the peer's.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: RequestId,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// The root itself is the answer.
    Root(Local),
    Object(Local, Ask),
    /// The object is gone, which the session would have told; never in practice.
    Gone,
}

impl Shared {
    pub(super) fn new(
        number: u64,
        session: Session,
        root: Local,
        timeout: Option<Duration>,
        handle: Weak<Handle>,
    ) -> Self {
        let state = State {
            number,
            session,
            waiting: HashMap::new(),
            exports: HashMap::new(),
            ids: HashMap::new(),
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
            room: Notify::new(),
            requested: Notify::new(),
            ended: watch::Sender::new(None),
            left: watch::Sender::new(false),
            handle,
        }
    }

    /// Looks at the state or changes it, without telling the driver.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let (result, garbage) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
    /// the connection has ended, which whoever sends will be told.
    pub(super) async fn has_room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if self.with(|state| state.is_ready()) {
                return;
            }
            room.await;
        }
    }

    /// Lets go of one reference to an object of the peer's.
    pub(crate) fn release(&self, object: &IdPack) {
        self.change(|state| state.session.release(object));
    }

    /// Waits for the end of the connection; tells why it ended.
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

    /// Ends everything that waits for the connection. What a peer asked before it left is kept for
    /// the server, which begins it: "do this" and "goodbye" may come in one breath.
    pub(super) fn end(&self, reason: Disconnect) {
        let has_left = reason.is_by_peer();
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(reason);
            is_first
        });
        let garbage = self.with(|state| {
            state.driver = None;
            state.session.close();
            while let Some(event) = state.session.poll_event() {
                state.on_event(event, None);
            }
            state.peer_root = None;
            state.ids.clear();
            let requests =
                if has_left { VecDeque::new() } else { std::mem::take(&mut state.requests) };
            (requests, std::mem::take(&mut state.waiting), std::mem::take(&mut state.exports))
        });
        drop(garbage);
        self.room.notify_waiters();
    }

    pub(super) fn tell_room(&self) {
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

    /// Acts on what the session tells; gives why the conversation is over, when it is.
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
                    let what = self.ask(request, handle);
                    self.requests.push_back(Asked { id, what });
                }
                // Nobody holds the connection any more; it is about to close.
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

    pub(super) fn next_request(&mut self) -> Option<Asked> {
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
            tracing::debug!(%error, "an answer could not be sent; the peer was told so");
        }
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

    /// What the peer asks, with its arguments unpacked.
    fn ask(&mut self, request: Request, handle: &Arc<Handle>) -> What {
        let (object, action) = match request {
            Request::Root => return What::Root(self.root.clone()),
            Request::Object { object, action } => (object, action),
        };
        let ask = self.unpack_action(action, handle);
        match self.exports.get(&object) {
            Some(local) => What::Object(local.clone(), ask),
            None => What::Gone,
        }
    }

    fn unpack_action(&mut self, action: Action, handle: &Arc<Handle>) -> Ask {
        match action {
            Action::GetAttr { name } => Ask::GetAttr { name },
            Action::DelAttr { name } => Ask::DelAttr { name },
            Action::SetAttr { name, value } => {
                Ask::SetAttr { name, value: self.unpack(value, handle) }
            }
            Action::Call { args } => Ask::Call { args: self.unpack_args(args, handle) },
            Action::CallAttr { name, args } => {
                Ask::CallAttr { name, args: self.unpack_args(args, handle) }
            }
            Action::Repr => Ask::Repr,
            Action::Str => Ask::Str,
            Action::Cmp { other, comparison } => {
                Ask::Cmp { other: self.unpack(other, handle), comparison }
            }
            Action::Hash => Ask::Hash,
            Action::Dir => Ask::Dir,
            Action::Pickle { protocol } => Ask::Pickle { protocol },
            Action::Inspect => Ask::Inspect,
            Action::BuffIter { count } => Ask::BuffIter { count },
            Action::OldSlicing { name, start, stop, args, .. } => {
                let ends = [start, stop].map(|end| end.into_value());
                let slice = match ends {
                    [Ok(start), Ok(stop)] => {
                        let step = Value::None;
                        Value::Slice(Box::new([start, stop, step])).into()
                    }
                    _ => Boxed::NONE,
                };
                let positional = std::iter::once(slice).chain(args).collect();
                let args = Arguments { positional, keyword: Vec::new() };
                Ask::CallAttr { name, args: self.unpack_args(args, handle) }
            }
            Action::CtxExit { exception } => {
                Ask::CtxExit { exception: self.unpack(exception, handle) }
            }
            Action::InstanceCheck { .. } => Ask::InstanceCheck,
        }
    }

    fn unpack_args(&mut self, args: Arguments, handle: &Arc<Handle>) -> Args {
        let positional =
            args.positional.into_iter().map(|boxed| self.unpack(boxed, handle)).collect();
        let keyword = args
            .keyword
            .into_iter()
            .map(|(name, boxed)| (name, self.unpack(boxed, handle)))
            .collect();
        Args::from_parts(positional, keyword)
    }

    fn unpack(&mut self, boxed: Boxed, handle: &Arc<Handle>) -> Parcel {
        match boxed {
            Boxed::Value(value) => Parcel::Value(value),
            Boxed::Tuple(members) => Parcel::Tuple(
                members.into_iter().map(|member| self.unpack(member, handle)).collect(),
            ),
            Boxed::Local(object) => {
                self.exports.get(&object).map_or(Parcel::NONE, |local| local.clone().into())
            }
            Boxed::Remote(id) => RemoteObject::new(handle.clone(), id).into(),
        }
    }

    pub(super) fn pack_args(&mut self, args: Args) -> Result<Arguments, RequestFailure> {
        let (positional, keyword) = args.into_parts();
        let positional =
            positional.into_iter().map(|parcel| self.pack(parcel)).collect::<Result<_, _>>()?;
        let keyword = keyword
            .into_iter()
            .map(|(name, parcel)| Ok((name, self.pack(parcel)?)))
            .collect::<Result<_, ExportError>>()?;
        Ok(Arguments { positional, keyword })
    }

    /// Makes a box of a parcel, whose objects live on until the lock is released.
    pub(super) fn pack(&mut self, parcel: Parcel) -> Result<Boxed, ExportError> {
        match parcel {
            Parcel::Value(value) => Ok(Boxed::Value(value)),
            Parcel::Tuple(members) => {
                let members = members.into_iter().map(|member| self.pack(member));
                Ok(Boxed::tuple(members.collect::<Result<_, _>>()?))
            }
            Parcel::Local(local) => self.export(local).map(Boxed::Local),
            Parcel::Remote(remote) => match remote.id_on(self.number) {
                Some(id) => {
                    let boxed = Boxed::Remote(id.clone());
                    self.garbage.push(remote.into());
                    Ok(boxed)
                }
                None => self.export(Local::forwarding(remote)).map(Boxed::Local),
            },
        }
    }

    fn export(&mut self, local: Local) -> Result<ObjectId, ExportError> {
        let address = local.address();
        if let Some(&object) = self.ids.get(&address)
            && self.session.is_exported(object)
        {
            self.garbage.push(local.into());
            return Ok(object);
        }
        let object = match self.session.export(local.class()) {
            Ok(object) => object,
            Err(error) => {
                self.garbage.push(local.into());
                return Err(error);
            }
        };
        self.ids.insert(address, object);
        self.exports.insert(object, local);
        Ok(object)
    }
}
