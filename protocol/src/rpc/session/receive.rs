//! What to do with each message that comes.

use super::{CallFailure, CallId, CloseReason, Event, PeerThread, Request, RequestId, State};
use crate::Limits;
use crate::brine::Value;
use crate::rpc::action::Incoming;
use crate::rpc::boxed::read_box;
use crate::rpc::cursor::Cursor;
use crate::rpc::message::{Kind, Message, MessageError};
use crate::rpc::refusal::{ReadError, Refusal};
use crate::rpc::{Boxed, Dialect, Exception, Seq};

impl State {
    pub(super) fn on_payload(&mut self, payload: &[u8]) -> Result<(), CloseReason> {
        let dialect = match self.dialect {
            Some(dialect) => dialect,
            None => {
                *self.dialect.insert(Dialect::detect(payload).ok_or(MessageError::UnknownDialect)?)
            }
        };
        let message = Message::decode(payload, dialect, &self.config.limits.message)?;
        let unsent = self.out.len();
        match message.kind {
            Kind::Request => self.on_request(message, payload.len())?,
            Kind::Reply | Kind::Exception => self.on_answer(&message)?,
        }
        self.has_heard = true;
        self.unasked += self.out.len() - unsent;
        if self.unasked > self.config.limits.backlog {
            return Err(CloseReason::Backlog);
        }
        Ok(())
    }

    fn on_request(&mut self, message: Message<'_>, bytes: usize) -> Result<(), CloseReason> {
        let limits = self.config.limits;
        let mut values = 0;
        let read = Cursor::new(message.body, &limits.message).map_err(ReadError::from).and_then(
            |mut cursor| {
                let read = Incoming::read(&mut cursor, limits.message.depth, &mut self.objects);
                values = cursor.values();
                read
            },
        );
        let id = RequestId {
            seq: message.seq.into_owned(),
            thread: message.threads.map(|threads| PeerThread(threads.sender)),
            bytes: bytes.saturating_add(values.saturating_mul(size_of::<Value>())),
        };
        match read {
            Ok(Incoming::Ping(data)) => {
                self.answer(&id, &data);
                self.give_back_received();
            }
            Ok(Incoming::Close) => return Err(CloseReason::Peer),
            Ok(Incoming::Del { object, count }) => {
                if self.objects.unref(object, count) {
                    self.events.push_back(Event::Dropped { object });
                }
                self.answer(&id, &Boxed::NONE);
            }
            Ok(Incoming::Root) => self.admit(id, Request::Root),
            Ok(Incoming::Object { object, action }) => {
                self.admit(id, Request::Object { object, action });
            }
            Err(fault) => {
                let refusal = refusal(fault, message.body, &limits.message)?;
                self.refuse(&id, refusal);
            }
        }
        Ok(())
    }

    /// Hands a request to the layer above, unless that has too many already.
    fn admit(&mut self, id: RequestId, request: Request) {
        let limits = &self.config.limits;
        if self.serving >= limits.requests || self.serving_bytes >= limits.request_bytes {
            return self.refuse(&id, Refusal::TooManyRequests);
        }
        self.serving += 1;
        self.serving_bytes = self.serving_bytes.saturating_add(id.bytes);
        self.objects.commit_received();
        self.events.push_back(Event::Request { id, request });
    }

    fn refuse(&mut self, id: &RequestId, refusal: Refusal) {
        self.give_back_received();
        // A refusal quotes at most what the peer sent, which fits.
        let _sent = self.answer_with_exception(id, &refusal.into_exception());
    }

    fn on_answer(&mut self, message: &Message<'_>) -> Result<(), CloseReason> {
        let limits = self.config.limits.message;
        let read = match message.kind {
            Kind::Exception => Exception::decode(message.body, &limits)
                .map(|exception| Err(CallFailure::Raised(Box::new(exception)))),
            Kind::Request | Kind::Reply => self.read_result(message.body, &limits).map(Ok),
        };
        let outcome = match read {
            Ok(outcome) => outcome,
            Err(fault) => {
                let refusal = refusal(fault, message.body, &limits)?;
                self.give_back_received();
                Err(CallFailure::BadAnswer(refusal))
            }
        };
        let call = match message.seq {
            Seq::Number(number) => u64::try_from(number).ok().map(CallId),
            Seq::Other(_) => None,
        };
        match call.filter(|&call| self.calls.remove(call).is_some()) {
            Some(call) => {
                self.objects.commit_received();
                self.events.push_back(Event::Completed { call, outcome });
            }
            // Late, cancelled, or the answer to a DEL, which is ignored.
            None => self.give_back_received(),
        }
        Ok(())
    }

    fn read_result(&mut self, body: &[u8], limits: &Limits) -> Result<Boxed, ReadError> {
        let mut cursor = Cursor::new(body, limits)?;
        let result = read_box(&mut cursor, limits.depth, &mut self.objects)?;
        cursor.finish()?;
        Ok(result)
    }

    /// Releases the references in the message that was just read.
    fn give_back_received(&mut self) {
        for object in self.objects.take_received() {
            self.release(&object);
        }
    }
}

/// What to say about a body that makes no sense, after making sure that all of it is brine.
fn refusal(fault: ReadError, body: &[u8], limits: &Limits) -> Result<Refusal, CloseReason> {
    let refusal = match fault {
        ReadError::Refused(refusal) => refusal,
        ReadError::Malformed(error) => return Err(CloseReason::Body(error)),
    };
    let walked = Cursor::new(body, limits).and_then(|mut cursor| {
        cursor.raw()?;
        cursor.finish()
    });
    match walked.map_err(ReadError::from) {
        Err(ReadError::Malformed(error)) => Err(CloseReason::Body(error)),
        Ok(()) | Err(ReadError::Refused(_)) => Ok(refusal),
    }
}
