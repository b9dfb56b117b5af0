//! One request in, one answer out: the way of every message through the registry.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rpyc_protocol::registry::native::{self, ErrorCode, Operation};
use rpyc_protocol::registry::{Names, Port, Request, reply};
use rpyc_protocol::{FoldedName, Limits as MessageLimits};

use crate::admission::Admission;
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::store::Ticket;
use crate::table::{Asker, Directory, Registry, Transport};

/// The most bytes of one request.
pub const MAX_REQUEST: usize = MessageLimits::REQUEST.bytes;

/// The most bytes of one native answer over TCP; the rest comes in further pages. Every connection may
/// have one waiting to be taken, so this times their number bounds memory.
const PAGE_BYTES: usize = 32 << 10;

/// Who may list the names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the switch has three positions")]
pub enum Listing {
    /// Askers on this machine.
    #[default]
    ThisMachine,
    /// Every asker.
    Everyone,
    /// No asker.
    Nobody,
}

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "faces must handle every outcome")]
pub enum Outcome<'b> {
    /// Send this answer.
    Reply(&'b [u8]),
    /// Send this answer once the store has committed the ticket.
    AfterCommit(Ticket, &'b [u8]),
    /// Send nothing; over TCP, close the connection.
    Refused(Refusal),
}

/// Turns the bytes of a request into the bytes of an answer, for every face.
///
/// Pure: reads no clock and no socket. Shared by all workers; what needs the owner of the table takes
/// its lock for as long as a change in memory takes.
#[derive(Debug)]
pub struct Dispatcher {
    directory: Arc<Directory>,
    registry: Mutex<Registry>,
    listing: Listing,
    requests: Admission,
    renewals: Admission,
    rate: u32,
}

impl Dispatcher {
    /// Serves `registry`.
    #[must_use]
    pub fn new(now: Instant, registry: Registry, listing: Listing, limits: &Limits) -> Self {
        let admission = || Admission::new(now, limits.requests_per_second);
        Self {
            directory: registry.directory(),
            registry: Mutex::new(registry),
            listing,
            requests: admission(),
            renewals: admission(),
            rate: limits.requests_per_second,
        }
    }

    /// Serves one request, using `buffer` for the answer.
    pub fn handle<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
    ) -> Outcome<'b> {
        let outcome = match message.first() {
            Some(&first) if native::is_native(first) => self.native(now, asker, message, buffer),
            _ => self.legacy(now, asker, message, buffer),
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }

    /// Ends the leases whose time has come; tells when to call again.
    pub fn expire(&self, now: Instant) -> Instant {
        self.with_registry(|registry| registry.expire(now))
    }

    /// How many (host, port) pairs serve something.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.with_registry(|registry| registry.instances())
    }

    fn legacy<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
    ) -> Result<Outcome<'b>, Refusal> {
        let request = Request::decode(message, &MessageLimits::REQUEST)?;
        if !matches!(request, Request::Register { .. }) {
            self.admit(&self.requests, now, asker)?;
        }
        Ok(match request {
            Request::Register { names, port } => self.register(now, asker, names, &port)?,
            Request::Query { name } => {
                Outcome::Reply(self.directory.query(&FoldedName::new(name)?, asker, buffer)?)
            }
            Request::List { host } if self.may_list(asker) => {
                Outcome::Reply(self.directory.list(host, asker, buffer)?)
            }
            Request::List { .. } => Outcome::Reply(reply::FORBIDDEN),
            Request::Unregister { port } => {
                let ticket = self.with_registry(|registry| registry.unregister(asker, &port));
                Outcome::AfterCommit(ticket, reply::ACKNOWLEDGEMENT)
            }
        })
    }

    /// A renewal is served from tokens of its own: servers that are known stay known, however much
    /// else comes from their machine.
    fn register<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        names: Names<'_>,
        port: &Port,
    ) -> Result<Outcome<'b>, Refusal> {
        if self.directory.renew(now, asker.host, port, names.clone()) {
            self.admit(&self.renewals, now, asker)?;
            return Ok(Outcome::Reply(reply::ACKNOWLEDGEMENT));
        }
        self.admit(&self.requests, now, asker)?;
        let ticket = self.with_registry(|registry| registry.register(now, asker, names, port))?;
        Ok(Outcome::AfterCommit(ticket, reply::ACKNOWLEDGEMENT))
    }

    fn native<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
    ) -> Result<Outcome<'b>, Refusal> {
        self.admit(&self.requests, now, asker)?;
        let answer = match native::Request::parse(message) {
            // An answer is no request. Were it answered, a forged source would set two registries, or
            // one with itself, to answering each other for ever.
            Err(error) if asker.transport != Transport::Tcp => return Err(Refusal::Native(error)),
            Err(error) => native::Reply::error(ErrorCode::BadRequest, error.to_string()),
            Ok(request) if request.v != native::VERSION => native::Reply::error(
                ErrorCode::UnsupportedVersion,
                format!("version {} is not spoken here; use {}", request.v, native::VERSION),
            ),
            Ok(request) => self.answer(now, asker, &request),
        };
        buffer.clear();
        buffer.extend(answer.to_bytes());
        Ok(Outcome::Reply(buffer))
    }

    fn answer(&self, now: Instant, asker: &Asker, request: &native::Request) -> native::Reply {
        let after = request.after.unwrap_or_default();
        let budget = match asker.transport {
            Transport::Udp4 | Transport::Udp6 => native::MAX_DATAGRAM,
            Transport::Tcp => PAGE_BYTES,
        };
        match &request.operation {
            Operation::List { host } if self.may_list(asker) => {
                self.directory.snapshot(now, asker, host.as_deref(), after, budget)
            }
            Operation::List { .. } => native::Reply::error(
                ErrorCode::ListingForbidden,
                "listing is not allowed to you; see --listing",
            ),
            Operation::Resolve { name } => match FoldedName::new(name) {
                Ok(name) => self.directory.resolve(now, asker, &name, after, budget),
                Err(error) => native::Reply::error(ErrorCode::BadRequest, error.to_string()),
            },
            _ => native::Reply::error(ErrorCode::BadRequest, "not served here"),
        }
    }

    fn may_list(&self, asker: &Asker) -> bool {
        match self.listing {
            Listing::ThisMachine => asker.is_here,
            Listing::Everyone => true,
            Listing::Nobody => false,
        }
    }

    fn admit(&self, tokens: &Admission, now: Instant, asker: &Asker) -> Result<(), Refusal> {
        if asker.is_here || tokens.admit(now, asker.host) {
            return Ok(());
        }
        Err(Refusal::TooOften { source_host: asker.host, limit: self.rate })
    }

    fn with_registry<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        change(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
