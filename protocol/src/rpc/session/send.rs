//! Requests and answers of this side.

use std::time::Instant;

use super::in_flight::Pending;
use super::objects::ObjectTables;
use super::{CallId, CloseReason, Event, PeerThread, RequestId, Session, State};
use crate::brine::Value;
use crate::rpc::boxed::{Object, Packer, Unsendable, check_value};
use crate::rpc::frame::encode_frame;
use crate::rpc::message::{Kind, Threads, encode_head};
use crate::rpc::{Action, Boxed, Exception, IdPack, ObjectId, Op, Seq};

/// How a request is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a literal with `..default()` stays valid")]
pub struct CallOptions {
    /// When to stop waiting. Default: never.
    pub deadline: Option<Instant>,
    /// The peer's thread whose request is served by making this one, if there is one:
    /// [`RequestId::thread`]. With bound threads, the peer serves our request on that thread.
    pub within: Option<PeerThread>,
}

/// Why a request was not made. Nothing has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The conversation is over.
    #[error("the connection is closed")]
    Closed,
    /// As many calls as [`SessionLimits::calls`](crate::rpc::SessionLimits::calls) wait for their
    /// answers.
    #[error("{limit} calls already wait for answers")]
    TooManyCalls {
        /// The limit.
        limit: usize,
    },
    /// The peer has not spoken yet, so its dialect is not known; see [`Session::assume_dialect`].
    #[error("the dialect of the peer is not known yet")]
    UnknownDialect,
    /// The request itself; the fault of this side.
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
}

impl Session {
    /// Asks for the object that the peer offers first; GETROOT.
    ///
    /// # Errors
    /// [`RequestError`]; nothing has been sent then.
    pub fn get_root(&mut self, options: CallOptions) -> Result<CallId, RequestError> {
        self.state.call(options, |packer| {
            packer.op(Op::GetRoot)?.members(&[])?;
            Ok(())
        })
    }

    /// Asks for `data` to be sent back; PING.
    ///
    /// # Errors
    /// [`RequestError`]; nothing has been sent then.
    pub fn ping(&mut self, data: &Value, options: CallOptions) -> Result<CallId, RequestError> {
        self.state.call(options, |packer| {
            packer.op(Op::Ping)?.value_argument(data)?;
            Ok(())
        })
    }

    /// Asks for something of an object of the peer's.
    ///
    /// The outcome comes as [`Event::Completed`]. The reference to `object` stays with the caller,
    /// which may release it at once: the peer reads in order.
    ///
    /// # Errors
    /// [`RequestError`]; nothing has been sent then, and objects that were exported for this
    /// request alone are dropped.
    pub fn request(
        &mut self,
        object: &IdPack,
        action: &Action,
        options: CallOptions,
    ) -> Result<CallId, RequestError> {
        let made = self.state.call(options, |packer| action.write(object, packer));
        if made.is_err() {
            action.for_each_object(&mut |object| self.state.forget_unsent(object));
        }
        made
    }

    /// Stops waiting for a call: no event will come, and its answer will be ignored. Returns
    /// whether it was still waiting. RPyC has no message to notify the peer.
    pub fn cancel(&mut self, call: CallId) -> bool {
        self.state.calls.remove(call).is_some()
    }

    /// Answers a request with a result.
    ///
    /// # Errors
    /// [`Unsendable`] if the result cannot be sent; the peer has received an exception instead,
    /// and objects that were exported for this answer alone are dropped.
    pub fn reply(&mut self, id: RequestId, result: &Boxed) -> Result<(), Unsendable> {
        self.state.served(&id);
        self.state.try_answer(&id, result)
    }

    /// Answers a request with an exception.
    ///
    /// # Errors
    /// [`Unsendable`] if a value in it cannot be sent; the peer has received another exception
    /// instead.
    pub fn raise(&mut self, id: RequestId, exception: &Exception) -> Result<(), Unsendable> {
        self.state.served(&id);
        self.state.answer_with_exception(&id, exception)
    }
}

impl State {
    fn served(&mut self, id: &RequestId) {
        self.serving = self.serving.saturating_sub(1);
        self.serving_bytes = self.serving_bytes.saturating_sub(id.bytes);
        self.is_active = true;
    }

    fn call(
        &mut self,
        options: CallOptions,
        write: impl FnOnce(&mut Packer<'_, ObjectTables>) -> Result<(), Unsendable>,
    ) -> Result<CallId, RequestError> {
        let limit = self.config.limits.calls;
        if self.is_closed {
            return Err(RequestError::Closed);
        }
        if self.calls.len() >= limit {
            return Err(RequestError::TooManyCalls { limit });
        }
        if self.dialect.is_none() {
            return Err(RequestError::UnknownDialect);
        }
        let begins_at = self.handed_out.saturating_add(self.out.len() as u64);
        let call = self.ask(options.within, write)?;
        self.calls.insert(call, Pending { deadline: options.deadline, begins_at });
        Ok(call)
    }

    /// Sends a request.
    fn ask(
        &mut self,
        within: Option<PeerThread>,
        write: impl FnOnce(&mut Packer<'_, ObjectTables>) -> Result<(), Unsendable>,
    ) -> Result<CallId, Unsendable> {
        let call = CallId(self.next_seq);
        let seq = Seq::Number(i64::try_from(self.next_seq).unwrap_or(i64::MAX));
        self.send(Kind::Request, &seq, within, write)?;
        self.next_seq += 1;
        Ok(call)
    }

    /// Sends a result that is known to be sendable, as it came from the peer or is of our making.
    pub(super) fn answer(&mut self, id: &RequestId, result: &Boxed) {
        // If it fails, the peer has been notified, and no other party needs to know.
        let _reported = self.try_answer(id, result);
    }

    fn try_answer(&mut self, id: &RequestId, result: &Boxed) -> Result<(), Unsendable> {
        let sent = self.send(Kind::Reply, &id.seq, id.thread, |packer| {
            packer.boxed(result)?;
            Ok(())
        });
        if let Err(error) = sent {
            result.for_each_object(&mut |object| self.forget_unsent(object));
            self.report_unsendable(id, error);
        }
        sent
    }

    pub(super) fn answer_with_exception(
        &mut self,
        id: &RequestId,
        exception: &Exception,
    ) -> Result<(), Unsendable> {
        let limits = self.config.limits.message;
        let version = self.dialect.map_or("", |dialect| dialect.version.reference());
        let attributes = exception.attributes.iter().map(|(_, value)| value);
        let sent = exception
            .args
            .iter()
            .chain(attributes)
            .try_for_each(|value| check_value(value, &limits))
            .and_then(|()| {
                self.send(Kind::Exception, &id.seq, id.thread, |packer| {
                    packer.exception(exception, version)
                })
            });
        if let Err(error) = sent {
            self.report_unsendable(id, error);
        }
        sent
    }

    /// Answers a request whose answer could not be sent: RPyC's own peers would break off here.
    fn report_unsendable(&mut self, id: &RequestId, error: Unsendable) {
        let version = self.dialect.map_or("", |dialect| dialect.version.reference());
        let exception = Exception::builtin("ValueError", format!("cannot be sent: {error}"));
        // A short text and a number always fit, unless the limits let nothing through.
        let _sent = self.send(Kind::Exception, &id.seq, id.thread, |packer| {
            packer.exception(&exception, version)
        });
    }

    pub(super) fn release(&mut self, object: &IdPack) {
        if let Some(count) = self.objects.release(object) {
            // The answer to a DEL is of no use to anyone, so it is not waited for.
            let _sent = self.ask(None, |packer| {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                packer.op(Op::Del)?.arguments(2)?.remote(object)?.int(count)?;
                Ok(())
            });
        }
    }

    pub(super) fn release_object(&mut self, object: Object<'_>) {
        if let Object::Remote(object) = object {
            self.release(object);
        }
    }

    pub(super) fn say_goodbye(&mut self, reason: CloseReason) {
        if !self.is_closed && self.dialect.is_some() {
            let _sent = self.ask(None, |packer| {
                packer.op(Op::Close)?.members(&[])?;
                Ok(())
            });
        }
        self.close(reason);
    }

    /// Drops an object that was exported for a message that could not be sent.
    fn forget_unsent(&mut self, object: Object<'_>) {
        if let Object::Local(object) = object {
            self.withdraw(object);
        }
    }

    pub(super) fn withdraw(&mut self, object: ObjectId) -> bool {
        let is_dropped = self.objects.drop_unreferenced(object);
        if is_dropped {
            self.events.push_back(Event::Dropped { object });
        }
        is_dropped
    }

    /// Appends one message to what waits to be sent.
    fn send(
        &mut self,
        kind: Kind,
        seq: &Seq<'_>,
        recipient: Option<PeerThread>,
        write: impl FnOnce(&mut Packer<'_, ObjectTables>) -> Result<(), Unsendable>,
    ) -> Result<(), Unsendable> {
        let Some(dialect) = self.dialect.filter(|_| !self.is_closed) else { return Ok(()) };
        let threads = dialect.bind_threads.then(|| Threads {
            sender: self.config.thread,
            recipient: recipient.map_or(0, |PeerThread(id)| id),
        });
        let Self { config, objects, out, .. } = self;
        let limits = &config.limits;
        let limit = limits.message.bytes.min(limits.frame);
        let sent = encode_frame(out, config.compress_above, limit, |out| {
            encode_head(dialect, threads, kind, seq, out)?;
            write(&mut Packer::new(out, objects, &limits.message))
        });
        match sent {
            Ok(()) => objects.commit_sent(),
            Err(_) => objects.roll_back_sent(),
        }
        sent
    }
}
