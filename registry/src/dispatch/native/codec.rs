//! Serves one native request.

use std::time::Instant;

use rpyc_protocol::registry::native::{self, ErrorCode, ParseError, Reply, Request};

use super::envelope::{Envelope, Room};
use super::request::to_operation;
use super::watch::Watch;
use crate::access::Principal;
use crate::admission::{Budget, Load};
use crate::counters::Loss;
use crate::dispatch::operation::{Answer, Performed};
use crate::dispatch::{Deferred, Dispatcher, Outcome};
use crate::refusal::Refusal;
use crate::table::Asker;

impl Dispatcher {
    /// Serves a request. A refusal becomes a reply, unless its purpose is to save that work.
    pub(in crate::dispatch) fn native<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
        load: &mut Load,
    ) -> Result<Outcome<'b>, Refusal> {
        let principal = Principal::new(asker);
        let Request { v, id, cookie, proofs, operation } = match Request::parse(message) {
            Ok(request) => request,
            Err(error) => {
                self.admission.admit(now, &principal, Budget::Requests)?;
                return self.not_understood(now, &principal, message, error, buffer);
            }
        };
        let made = |cookie: String| self.cookies.check(now, asker.host, asker.port, &cookie);
        let principal = cookie.and_then(made).map_or(principal, |made| principal.with_cookie(made));
        let room = Room::of(&principal, message.len());
        let make_cookie = || self.cookies.make(now, asker.host, asker.port);
        let cookie = room.may_grow().then(make_cookie);
        let envelope = Envelope { id, cookie, room };
        if v != native::VERSION {
            self.admission.admit(now, &principal, Budget::Requests)?;
            let message = format!("version {v} is not spoken here; use {}", native::VERSION);
            let reply = Reply::error(ErrorCode::UnsupportedVersion, message);
            return Ok(Outcome::Reply(self.close(&envelope, reply, buffer)?));
        }
        let since = match &operation {
            native::Operation::Watch { since, .. } => *since,
            _ => None,
        };
        // Read before the table, so that a watch from this revision on misses no change.
        let before = self.directory.revision();
        let is_ping = matches!(operation, native::Operation::Ping);
        let operation = to_operation(operation, proofs, |page| envelope.extent(&page, before));
        let performed = operation.and_then(|it| self.perform(now, &principal, it, load));
        let Performed { answer, wait } = match performed {
            Ok(performed) => performed,
            Err(refusal) if refusal.saves_work() => return Err(refusal),
            Err(refusal @ Refusal::CookieRequired) => {
                // Not a loss: the client repeats the request.
                let bytes = envelope.cookie_required(&refusal, make_cookie());
                let bytes = bytes.ok_or(Refusal::NoRoom)?;
                return Ok(Outcome::Reply(put(bytes, buffer)));
            }
            Err(refusal) => {
                self.counters.refused(now, Loss::from(&refusal), asker.host, &refusal);
                return Ok(Outcome::Reply(self.close(&envelope, refusal.to_reply(), buffer)?));
            }
        };
        let mut granted = None;
        let reply = match answer {
            Answer::Changed(count) => Reply { changed: Some(count), ..Reply::default() },
            Answer::Done if is_ping => envelope.pong(before, make_cookie()),
            Answer::Done => Reply::default(),
            Answer::Page(page) => Reply {
                revision: Some(before),
                truncated: page.next.is_some(),
                services: Some(page.services),
                next: page.next,
                count: page.count,
                ..Reply::default()
            },
            Answer::Granted(lease) => {
                let has_check = wait.as_ref().is_some_and(|wait| !wait.addresses.is_empty());
                granted = has_check.then(|| lease.clone());
                Reply { lease: Some(lease), ..Reply::default() }
            }
            Answer::Status(status) => Reply { status: Some(status), ..Reply::default() },
            Answer::Watch(names) => {
                let source = (&self.directory, &self.notifications);
                let watch = Watch::new(source, *asker, names, since, envelope.id);
                return Ok(Outcome::Watch(Box::new(watch)));
            }
        };
        let bytes = self.close(&envelope, reply, buffer)?;
        let Some(wait) = wait else { return Ok(Outcome::Reply(bytes)) };
        let deferred = Deferred::native(wait.ticket, asker.transport, envelope);
        let deferred = match granted {
            Some(granted) => {
                deferred.after_check(wait.addresses, granted, self.directory.revision())
            }
            None => deferred,
        };
        Ok(Outcome::Deferred(deferred, bytes))
    }

    /// Over UDP, a reply must not be answered. Otherwise a forged source could make two registries,
    /// or one and itself, answer each other for ever.
    fn not_understood<'b>(
        &self,
        now: Instant,
        principal: &Principal<'_>,
        message: &[u8],
        error: ParseError,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Outcome<'b>, Refusal> {
        if principal.asker.transport.is_datagram() && !native::asks(message) {
            return Err(Refusal::Native(error));
        }
        self.counters.refused(now, Loss::Malformed, principal.asker.host, &error);
        let room = Room::of(principal, message.len());
        let envelope = Envelope { id: None, cookie: None, room };
        let reply = Reply::error(ErrorCode::BadRequest, error.to_string());
        Ok(Outcome::Reply(self.close(&envelope, reply, buffer)?))
    }

    /// Writes a reply, with the table's current revision unless it has another.
    fn close<'b>(
        &self,
        envelope: &Envelope,
        reply: Reply,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], Refusal> {
        let bytes = envelope.close(reply, self.directory.revision()).ok_or(Refusal::NoRoom)?;
        Ok(put(bytes, buffer))
    }
}

fn put(bytes: Vec<u8>, buffer: &mut Vec<u8>) -> &[u8] {
    buffer.clear();
    buffer.extend(bytes);
    buffer
}
