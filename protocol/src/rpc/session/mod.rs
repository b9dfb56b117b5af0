//! One conversation, from the first byte to the last, without any I/O.
//!
//! The protocol is the same in both directions, so one [`Session`] serves both ends of a
//! connection. It owns the numbers of messages, the calls in flight with their deadlines, and the
//! counts of references to the objects of both sides. It does not own the objects, or know what
//! they are.

mod config;
mod event;
mod in_flight;
mod objects;
mod progress;
mod receive;
mod send;

use std::collections::VecDeque;
use std::time::Instant;

pub use config::Config;
pub use event::{CallFailure, CloseReason, Event, PeerThread, Request, RequestId};
pub use in_flight::CallId;
pub use send::{CallOptions, RequestError};

use self::in_flight::InFlight;
use self::objects::ObjectTables;
use self::progress::Progress;
use super::{Boxed, Class, Dialect, FrameDecoder, IdPack, ObjectId};

/// An output buffer that grew beyond this is not kept.
const KEPT: usize = 256 << 10;

/// One end of an RPyC connection.
///
/// ```text
///                  handle_bytes, handle_eof, handle_timeout
///                                   |
///   request, reply, raise, ...      v
///   ----------------------->  +-----------+  --> poll_event     requests, results, the end
///                             |  Session  |  --> poll_transmit  bytes for the peer
///                             +-----------+  --> poll_timeout   when to call handle_timeout
/// ```
///
/// After any input, the outputs are polled: events until none is left, bytes when those
/// handed out before have been sent.
///
/// ```
/// use std::time::Instant;
/// use rpyc_protocol::rpc::{
///     Action, Boxed, CallOptions, Class, Config, Dialect, Event, Request, Session,
/// };
///
/// let now = Instant::now();
/// let mut client = Session::new(now, Config::client(Dialect::V6));
/// let mut server = Session::new(now, Config::server());
/// let mut wire = Vec::new();
///
/// // The client asks for the root; the server offers one.
/// let call = client.get_root(CallOptions::default())?;
/// client.poll_transmit(&mut wire);
/// server.handle_bytes(now, &wire);
/// let Some(Event::Request { id, request: Request::Root }) = server.poll_event() else { panic!() };
/// let root = server.export(&Class::new("payroll.Payroll", 1)).expect("there is room");
/// server.reply(id, &root.into())?;
///
/// // The client holds it now.
/// wire.clear();
/// server.poll_transmit(&mut wire);
/// client.handle_bytes(now, &wire);
/// let Some(Event::Completed { outcome: Ok(Boxed::Remote(root)), .. }) = client.poll_event() else {
///     panic!()
/// };
/// assert_eq!(root.class_name(), "payroll.Payroll");
/// let call = client.request(&root, &Action::Repr, CallOptions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    frames: FrameDecoder,
    /// How the frame that has begun goes on, in bytes of it.
    incoming: Option<Progress>,
    /// How what the system does not take goes on, in bytes sent since the beginning.
    outgoing: Option<Progress>,
    state: State,
}

/// All but the cutting of frames.
#[derive(Debug)]
struct State {
    config: Config,
    is_closed: bool,
    dialect: Option<Dialect>,
    next_seq: u64,
    calls: InFlight,
    /// Requests of the peer's that the layer above has not answered.
    serving: usize,
    serving_bytes: usize,
    objects: ObjectTables,
    events: VecDeque<Event>,
    out: Vec<u8>,
    /// How many of the bytes in `out` are of the session's own making, on account of the peer.
    unasked: usize,
    /// How many bytes have been handed out to be sent.
    handed_out: u64,
    /// Something has happened since the last look at [`State::idle_at`].
    is_active: bool,
    has_heard: bool,
    idle_at: Option<Instant>,
}

/// How much a session holds at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls of ours that wait for an answer.
    pub calls: usize,
    /// Requests of the peer's that wait for an answer.
    pub requests: usize,
    /// Objects that are offered to the peer.
    pub exports: usize,
    /// Objects of the peer's that are held.
    pub imports: usize,
    /// Bytes that wait to be sent.
    pub unsent: usize,
}

impl Session {
    /// Starts a conversation. Nothing is sent until something is asked.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let limits = &config.limits;
        Self {
            frames: FrameDecoder::new(limits.frame, limits.message.bytes),
            incoming: None,
            outgoing: None,
            state: State {
                is_closed: false,
                dialect: config.dialect,
                next_seq: 0,
                calls: InFlight::default(),
                serving: 0,
                serving_bytes: 0,
                objects: ObjectTables::new(limits.exports),
                events: VecDeque::new(),
                out: Vec::new(),
                unasked: 0,
                handed_out: 0,
                is_active: false,
                has_heard: false,
                idle_at: limits.idle.and_then(|idle| now.checked_add(idle)),
                config,
            },
        }
    }

    /// Takes bytes from the peer, in pieces of any length.
    ///
    /// Bytes that are not a frame or a message close the session at once; a message that makes no
    /// sense does not.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        let mut input = bytes;
        while !self.state.is_closed {
            let taken = match self.frames.next_payload(&mut input) {
                Ok(Some(payload)) => {
                    self.incoming = None;
                    self.state.on_payload(payload)
                }
                Ok(None) => break,
                Err(error) => Err(error.into()),
            };
            if let Err(reason) = taken {
                self.state.close(reason);
            }
        }
        self.state.is_active = true;
        let limits = &self.state.config.limits;
        let arrived = self.frames.partial_len() as u64;
        self.incoming = if arrived == 0 || self.state.is_closed {
            None
        } else {
            Progress::next(self.incoming, now, arrived, limits.stall, limits.progress)
        };
        self.abandon_if_closed();
    }

    /// Records that the system takes no more bytes for now; of those that were handed out,
    /// `unsent` are left.
    ///
    /// It need not be called, but then a peer that never reads keeps its memory.
    pub fn handle_blocked(&mut self, now: Instant, unsent: usize) {
        let limits = &self.state.config.limits;
        let sent = self.state.handed_out.saturating_sub(unsent as u64);
        self.outgoing = Progress::next(self.outgoing, now, sent, limits.unread, limits.progress);
    }

    /// Records that no more bytes will come from the peer, or that none can be sent.
    pub fn handle_eof(&mut self) {
        self.state.close(match self.frames.is_partial() {
            true => CloseReason::Truncated,
            false => CloseReason::Ended,
        });
        self.abandon_if_closed();
    }

    /// Advances the time; to be called when [`Session::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.incoming.is_some_and(|stretch| stretch.deadline <= now) {
            self.state.close(CloseReason::Stalled);
        }
        if self.outgoing.is_some_and(|stretch| stretch.deadline <= now) {
            self.state.close(CloseReason::Unread);
        }
        self.state.on_timeout(now);
        self.abandon_if_closed();
    }

    /// Moves all bytes that wait for the peer to the end of `out`; returns whether there were any.
    ///
    /// An empty `out` is exchanged for the session's own buffer, so nothing is copied. To be called
    /// when the bytes handed out before have been sent, so that [`Stats::unsent`] is right.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        self.outgoing = None;
        self.state.hand_out(out)
    }

    /// The next thing to act on.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.state.events.pop_front()
    }

    /// When to call [`Session::handle_timeout`], unless something else happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state.is_closed {
            return None;
        }
        let stretches =
            [self.incoming, self.outgoing].map(|stretch| stretch.map(|stretch| stretch.deadline));
        let others = [self.state.calls.next_deadline(), self.state.idle_at];
        stretches.into_iter().chain(others).flatten().min()
    }

    /// Offers an object to the peer, to be sent as [`Boxed::Local`] in the next request or answer.
    ///
    /// Once the peer has released every reference that it was sent, [`Event::Dropped`] reports it;
    /// also if the message that should have carried the only one could not be sent.
    ///
    /// # Errors
    /// [`ExportError`] if too many objects are offered already.
    pub fn export(&mut self, class: &Class) -> Result<ObjectId, ExportError> {
        let limit = self.state.config.limits.exports;
        self.state.objects.export(class).ok_or(ExportError { limit })
    }

    /// Takes back an object that was exported for a message that is not sent after all; returns
    /// whether it did. [`Event::Dropped`] comes for it. An object that the peer holds stays.
    ///
    /// Not needed if the message was handed over: [`Session::request`] and [`Session::reply`] take
    /// back what they cannot send.
    pub fn withdraw(&mut self, object: ObjectId) -> bool {
        self.state.withdraw(object)
    }

    /// Whether an object is still offered, so that it may be sent again.
    #[must_use]
    pub fn is_exported(&self, object: ObjectId) -> bool {
        self.state.objects.is_exported(object)
    }

    /// Releases one reference to an object of the peer's.
    ///
    /// Every [`Boxed::Remote`] that an event brings is one reference. When all that came for an
    /// object are gone, the peer is notified.
    pub fn release(&mut self, object: &IdPack) {
        self.state.release(object);
    }

    /// Releases all references in an unwanted result.
    pub fn discard(&mut self, unwanted: &Boxed) {
        unwanted.for_each_object(&mut |object| self.state.release_object(object));
    }

    /// Releases all references in a request that is answered without looking at its arguments.
    pub fn discard_request(&mut self, unwanted: &Request) {
        if let Request::Object { action, .. } = unwanted {
            action.for_each_object(&mut |object| self.state.release_object(object));
        }
    }

    /// Says goodbye and ends the conversation: what waits to be sent may still be sent, the answers
    /// are not awaited. Does nothing if it is over.
    pub fn close(&mut self) {
        self.state.say_goodbye(CloseReason::Local);
        self.abandon_if_closed();
    }

    /// Ends the conversation without a goodbye, and frees what waits to be sent.
    pub fn abort(&mut self) {
        self.state.close(CloseReason::Unread);
        self.abandon_if_closed();
    }

    /// Frees the memory of a frame that will not be read to its end.
    fn abandon_if_closed(&mut self) {
        if self.state.is_closed {
            self.frames.abandon();
        }
    }

    /// Whether the conversation is over. Nothing that goes in has an effect any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.is_closed
    }

    /// How many bytes the requests being served take, as
    /// [`SessionLimits::request_bytes`](super::SessionLimits::request_bytes) counts them.
    #[must_use]
    pub fn serving_bytes(&self) -> usize {
        self.state.serving_bytes
    }

    /// How many bytes have been handed out to be sent, since the beginning.
    #[must_use]
    pub fn handed_out(&self) -> u64 {
        self.state.handed_out
    }

    /// How many bytes of memory a frame takes that has arrived in part.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.frames.partial_size()
    }

    /// Whether the peer has sent a whole valid message.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        self.state.has_heard
    }

    /// The dialect, once it is known.
    #[must_use]
    pub fn dialect(&self) -> Option<Dialect> {
        self.state.dialect
    }

    /// Settles the dialect if it is not known yet; for a server that must speak first.
    pub fn assume_dialect(&mut self, dialect: Dialect) {
        self.state.dialect.get_or_insert(dialect);
    }

    /// How much the session holds at the moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = &self.state;
        Stats {
            calls: state.calls.len(),
            requests: state.serving,
            exports: state.objects.exports_len(),
            imports: state.objects.imports_len(),
            unsent: state.out.len(),
        }
    }
}

impl State {
    fn on_timeout(&mut self, now: Instant) {
        while let Some((call, pending)) = self.calls.pop_expired(now) {
            let may_have_run = pending.begins_at < self.handed_out;
            let outcome = Err(CallFailure::Expired { may_have_run });
            self.events.push_back(Event::Completed { call, outcome });
        }
        if self.idle_at.is_some_and(|deadline| deadline <= now) {
            // Looking at what happened since the last time costs less than a new deadline with
            // every message.
            if self.is_active || self.calls.len() > 0 || self.serving > 0 {
                self.is_active = false;
                self.idle_at = self.config.limits.idle.and_then(|idle| now.checked_add(idle));
            } else {
                self.say_goodbye(CloseReason::Idle);
            }
        }
    }

    fn close(&mut self, reason: CloseReason) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        for (call, pending) in self.calls.drain() {
            let may_have_run = pending.begins_at < self.handed_out;
            let outcome = Err(CallFailure::Closed { may_have_run });
            self.events.push_back(Event::Completed { call, outcome });
        }
        self.objects = ObjectTables::new(0);
        // These requests need no answers any more.
        (self.serving, self.serving_bytes) = (0, 0);
        if !matches!(reason, CloseReason::Local | CloseReason::Idle) {
            self.out = Vec::new();
        }
        self.events.push_back(Event::Closed { reason });
    }

    fn hand_out(&mut self, out: &mut Vec<u8>) -> bool {
        if self.out.is_empty() {
            return false;
        }
        self.unasked = 0;
        self.handed_out = self.handed_out.saturating_add(self.out.len() as u64);
        if out.is_empty() {
            std::mem::swap(out, &mut self.out);
        } else {
            out.append(&mut self.out);
        }
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
        true
    }
}

/// Too many objects are offered at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} objects are offered to one peer")]
#[non_exhaustive]
pub struct ExportError {
    /// The limit.
    pub limit: usize,
}
