//! Requests in JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use rpyc_protocol::FoldedName;
use rpyc_protocol::registry::native::{
    self, ErrorCode, Filter, LeaseId, Operation, Page, Reply, Request, Status, Target,
};

use super::{Check, Dispatcher, Outcome, Watch, registration};
use crate::counters::{ANSWERS_CUT, Loss};
use crate::refusal::Refusal;
use crate::store::Ticket;
use crate::table::{Asker, Extent, Names, Selection, Transport, json_len, only_host};

/// The most bytes of one native answer over TCP; the rest comes in further pages. Every connection may
/// have one waiting to be taken, so this times their number bounds memory.
const PAGE_BYTES: usize = 32 << 10;

/// How a native request went.
enum Done {
    Reply(Box<Reply>),
    AfterCommit(Ticket, Box<Reply>),
    AfterCheck(Ticket, native::Granted, Vec<SocketAddr>),
    Watch(Box<Watch>),
}

impl From<Reply> for Done {
    fn from(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

impl Dispatcher {
    pub(super) fn native<'b>(
        &self,
        now: Instant,
        asker: &Asker,
        message: &[u8],
        buffer: &'b mut Vec<u8>,
        may_add: &mut dyn FnMut() -> bool,
    ) -> Result<Outcome<'b>, Refusal> {
        let request = match Request::parse(message) {
            Ok(request) => request,
            Err(error) => {
                self.admit(&self.requests, now, asker)?;
                return self.not_understood(asker, message, error, buffer);
            }
        };
        let tokens = match request.operation {
            // Renewals have tokens of their own, as in the legacy face.
            Operation::Renew { .. } => &self.renewals,
            _ => &self.requests,
        };
        if matches!(request.operation, Operation::Register(_)) && !may_add() {
            return Err(Refusal::Overloaded);
        }
        self.admit(tokens, now, asker)?;
        let Request { v, id, cookie, operation } = request;
        let has_cookie =
            cookie.is_some_and(|cookie| self.cookies.is_good(now, asker.host, &cookie));
        let room = Room::of(asker, message.len(), has_cookie);
        let envelope =
            Envelope { id, cookie: room.may_grow().then(|| self.cookies.make(now, asker.host)) };
        let done = if v == native::VERSION {
            self.serve(now, asker, operation, &room, &envelope)
        } else {
            let message = format!("version {v} is not spoken here; use {}", native::VERSION);
            Ok(Reply::error(ErrorCode::UnsupportedVersion, message).into())
        };
        let done = match done {
            Ok(done) => done,
            Err(refusal) => {
                self.counters.count(Loss::from(&refusal));
                refusal.to_reply().into()
            }
        };
        let (ticket, reply) = match done {
            Done::Watch(watch) => return Ok(Outcome::Watch(watch)),
            Done::AfterCheck(ticket, granted, addresses) => {
                let revision = self.directory.revision();
                let check = Check { addresses, ticket, granted, envelope, revision, room };
                return Ok(Outcome::AfterCheck(Box::new(check)));
            }
            Done::Reply(reply) => (None, reply),
            Done::AfterCommit(ticket, reply) => (Some(ticket), reply),
        };
        let bytes = envelope.close(*reply, self.directory.revision(), &room);
        let bytes = bytes.ok_or(Refusal::NoRoom)?;
        buffer.clear();
        buffer.extend(bytes);
        Ok(ticket.map_or(Outcome::Reply(buffer), |ticket| Outcome::AfterCommit(ticket, buffer)))
    }

    /// Over UDP an answer is no request. Were it answered, a forged source would set two registries, or
    /// one with itself, to answering each other for ever.
    fn not_understood<'b>(
        &self,
        asker: &Asker,
        message: &[u8],
        error: native::ParseError,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Outcome<'b>, Refusal> {
        if asker.transport != Transport::Tcp && !native::asks(message) {
            return Err(Refusal::Native(error));
        }
        self.counters.count(Loss::Malformed);
        let room = Room::of(asker, message.len(), false);
        let reply = Reply::error(ErrorCode::BadRequest, error.to_string());
        let envelope = Envelope { id: None, cookie: None };
        let bytes = envelope.close(reply, self.directory.revision(), &room);
        buffer.clear();
        buffer.extend(bytes.ok_or(Refusal::NoRoom)?);
        Ok(Outcome::Reply(buffer))
    }

    /// What the sender of a native request is told whose change the store has not committed; `None` if
    /// it is no native request, to which silence is the only such answer.
    #[must_use]
    pub fn not_durable(&self, asker: &Asker, message: &[u8], why: &str) -> Option<Vec<u8>> {
        let id = Request::parse(message).ok()?.id;
        let room = Room::of(asker, message.len(), false);
        let revision = Some(self.directory.revision());
        let told = |why: String| {
            let reply = Reply::error(ErrorCode::NotDurable, why);
            Reply { v: native::VERSION, id, revision, ..reply }.to_bytes()
        };
        let whole = told(format!("the change is made but not durable yet: {why}"));
        // Without the reason, if there is no room for it; never without the error.
        [whole, told(String::new())].into_iter().find(|bytes| bytes.len() <= room.bytes)
    }

    fn serve(
        &self,
        now: Instant,
        asker: &Asker,
        operation: Operation,
        room: &Room,
        envelope: &Envelope,
    ) -> Result<Done, Refusal> {
        let committed = |ticket: Ticket, reply: Reply| Done::AfterCommit(ticket, Box::new(reply));
        let select = |selection: &Selection<'_>, page: &Page| {
            // Read before the table, so that a watch from here on misses nothing.
            let revision = self.directory.revision();
            let extent = Extent {
                after: page.after.unwrap_or_default(),
                limit: page
                    .limit
                    .and_then(|limit| usize::try_from(limit).ok())
                    .unwrap_or(usize::MAX),
                budget: room.bytes.saturating_sub(envelope.page_head_len(revision)),
            };
            let found = self.directory.select(now, asker, selection, extent);
            Reply { revision: Some(revision), ..Reply::from(found) }
        };
        Ok(match operation {
            Operation::Ping => Reply::default().into(),
            Operation::Register(registration) => {
                let new = registration::read(asker, registration, self.names_per_instance)?;
                let (granted, ticket) =
                    self.with_registry(|registry| registry.register_native(now, asker, new))?;
                match self.to_check(granted.lease) {
                    addresses if addresses.is_empty() => {
                        committed(ticket, Reply { lease: Some(granted), ..Reply::default() })
                    }
                    addresses => Done::AfterCheck(ticket, granted, addresses),
                }
            }
            Operation::Renew { lease } => {
                let (granted, ticket) = self.renew_native(now, asker, lease)?;
                committed(ticket, Reply { lease: Some(granted), ..Reply::default() })
            }
            Operation::Update { lease, details } => {
                let ticket = self.with_registry(|registry| registry.update(lease, details))?;
                committed(ticket, Reply { changed: Some(1), ..Reply::default() })
            }
            Operation::Deregister(target) => {
                self.check_owner(asker, &target)?;
                let (changed, ticket) =
                    self.with_registry(|registry| registry.deregister(&target))?;
                committed(ticket, Reply { changed: Some(changed), ..Reply::default() })
            }
            Operation::Drain(target) => self.drain(asker, &target, true)?,
            Operation::Undrain(target) => self.drain(asker, &target, false)?,
            Operation::Release { name } => {
                self.check_operator(asker)?;
                let name = name.as_deref().map(FoldedName::new).transpose()?;
                let (changed, ticket) =
                    self.with_registry(|registry| registry.release(name.as_ref()));
                committed(ticket, Reply { changed: Some(changed), ..Reply::default() })
            }
            Operation::Resolve { name, filter, page } => {
                let names = &Names::One(FoldedName::new(&name)?);
                let selection = Selection {
                    names,
                    only: None,
                    target: None,
                    filter: &filter,
                    with_hidden: false,
                    is_full: false,
                };
                select(&selection, &page).into()
            }
            Operation::List { host, prefix, glob, filter, page } => {
                self.check_listing(asker)?;
                let names = &Names::like(prefix.as_deref(), glob.as_deref())?;
                // Nobody registers from what is no address.
                let Some(only) = only_host(host.as_deref()) else {
                    return Ok(Reply::of(Vec::new()).into());
                };
                let selection = Selection {
                    names,
                    only,
                    target: None,
                    filter: &filter,
                    with_hidden: true,
                    is_full: true,
                };
                select(&selection, &page).into()
            }
            Operation::Describe { target, page } => {
                if target.lease.is_none() {
                    self.check_listing(asker)?;
                }
                self.with_registry(|registry| registry.find(&target).map(drop))?;
                let names = &match &target.name {
                    Some(name) => Names::One(FoldedName::new(name)?),
                    None => Names::like(None, None)?,
                };
                let filter = Filter::default();
                let selection = Selection {
                    names,
                    only: None,
                    target: Some(&target),
                    filter: &filter,
                    with_hidden: true,
                    is_full: true,
                };
                select(&selection, &page).into()
            }
            Operation::Watch { glob, since } => {
                if asker.transport != Transport::Tcp {
                    return Err(Refusal::NeedsTcp);
                }
                self.check_listing_of(asker, glob.as_deref())?;
                let names = match glob {
                    Some(name) if is_plain(&name) => Names::One(FoldedName::new(&name)?),
                    glob => Names::like(None, glob.as_deref())?,
                };
                let watch =
                    Watch::new((&self.directory, &self.lines), *asker, names, since, envelope.id);
                Done::Watch(Box::new(watch))
            }
            Operation::Status => {
                self.check_listing(asker)?;
                let status = Some(Box::new(self.status(now)));
                Reply { status, ..Reply::default() }.into()
            }
            _ => return Err(Refusal::UnknownOperation),
        })
    }

    /// The addresses of a new registration that are to be tried before it is answered.
    fn to_check(&self, lease: LeaseId) -> Vec<SocketAddr> {
        let Some(plan) = &self.checks else { return Vec::new() };
        let instance = self.directory.instance_of(lease);
        instance.map_or_else(Vec::new, |instance| plan.addresses(&self.directory, &instance))
    }

    fn renew_native(
        &self,
        now: Instant,
        asker: &Asker,
        lease: LeaseId,
    ) -> Result<(native::Granted, Ticket), Refusal> {
        if let Some(renewed) = self.directory.renew_native(now, asker, lease) {
            return Ok(renewed);
        }
        self.with_registry(|registry| registry.renew_native(now, asker, lease))
    }

    fn drain(&self, asker: &Asker, target: &Target, is_draining: bool) -> Result<Done, Refusal> {
        self.check_owner(asker, target)?;
        let (changed, ticket) =
            self.with_registry(|registry| registry.drain(target, is_draining))?;
        let reply = Reply { changed: Some(changed), ..Reply::default() };
        Ok(Done::AfterCommit(ticket, Box::new(reply)))
    }

    /// Who knows the lease is its registrant; everything else is an operator's.
    fn check_owner(&self, asker: &Asker, target: &Target) -> Result<(), Refusal> {
        if target.lease.is_some() { Ok(()) } else { self.check_operator(asker) }
    }

    fn check_operator(&self, asker: &Asker) -> Result<(), Refusal> {
        if self.access.is_operator(asker) { Ok(()) } else { Err(Refusal::NotAnOperator) }
    }

    fn check_listing(&self, asker: &Asker) -> Result<(), Refusal> {
        if self.access.may_list(asker) { Ok(()) } else { Err(Refusal::ListingForbidden) }
    }

    /// Whoever may ask for a name may follow it.
    fn check_listing_of(&self, asker: &Asker, glob: Option<&str>) -> Result<(), Refusal> {
        match glob {
            Some(glob) if is_plain(glob) => Ok(()),
            _ => self.check_listing(asker),
        }
    }

    fn status(&self, now: Instant) -> Status {
        let progress = self.progress.borrow().clone();
        let losses = Loss::ALL.into_iter();
        let losses = losses.map(|it| (it.as_str().to_owned(), self.counters.total(it)));
        let cuts = (ANSWERS_CUT.to_owned(), self.directory.cuts.total());
        let counters = losses.chain([cuts]).collect();
        let big = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let uptime = now.saturating_duration_since(self.start);
        let states = self.directory.states();
        let states: BTreeMap<_, _> =
            states.into_iter().map(|(state, count)| (state.to_string(), count)).collect();
        self.with_registry(|registry| Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            store: registry.store_kind().to_owned(),
            store_failure: progress.failure.map(|failure| failure.to_string()),
            uncommitted: registry.last_ticket().get().saturating_sub(progress.committed.get()),
            services: big(registry.services()),
            instances: big(registry.instances()),
            registrations: big(registry.leases()),
            states,
            protected: registry.protected(),
            probes: self.checks.is_some().then(|| self.counters.probes.told()),
            watchers: self.directory.journal.watchers(),
            counters,
        })
    }
}

/// Whether a pattern is a name.
fn is_plain(glob: &str) -> bool {
    !glob.contains(['*', '?'])
}

/// How many bytes an answer may have.
#[derive(Debug)]
pub(super) struct Room {
    bytes: usize,
    /// What it could be if the asker showed that its source is not forged.
    most: usize,
}

impl Room {
    fn of(asker: &Asker, request: usize, has_cookie: bool) -> Self {
        match asker.transport {
            Transport::Tcp => Self { bytes: PAGE_BYTES, most: PAGE_BYTES },
            Transport::Udp4 | Transport::Udp6 => {
                let most = native::MAX_DATAGRAM;
                let unproven = most.min(request.saturating_mul(native::MAX_AMPLIFICATION));
                Self { bytes: if has_cookie { most } else { unproven }, most }
            }
        }
    }

    fn may_grow(&self) -> bool {
        self.bytes < self.most
    }
}

/// What every answer to a request has around it.
#[derive(Debug)]
pub(super) struct Envelope {
    id: Option<u64>,
    /// Told when the answer could have been longer with it.
    cookie: Option<String>,
}

impl Envelope {
    /// How long an answer is that tells no instance yet, but that there are more.
    fn page_head_len(&self, revision: native::Revision) -> usize {
        let big = native::Cursor { service: u64::from(u32::MAX), lease: u64::from(u32::MAX) };
        json_len(&Reply {
            v: native::VERSION,
            id: self.id,
            revision: Some(revision),
            count: Some(u64::from(u32::MAX)),
            truncated: true,
            next: Some(big),
            cookie: self.cookie.clone(),
            ..Reply::default()
        }) + r#","services":[]"#.len()
    }

    /// The bytes of an answer; `None` if not even the shortest fits.
    pub(super) fn close(
        &self,
        mut reply: Reply,
        revision: native::Revision,
        room: &Room,
    ) -> Option<Vec<u8>> {
        reply.v = native::VERSION;
        reply.id = self.id;
        reply.revision.get_or_insert(revision);
        if reply.truncated {
            reply.cookie.clone_from(&self.cookie);
        }
        let fits = |bytes: &Vec<u8>| bytes.len() <= room.bytes;
        let bytes = reply.to_bytes();
        if fits(&bytes) {
            return Some(bytes);
        }
        // Without what does not fit, but with the way to get it.
        let truncated =
            Reply { truncated: true, cookie: self.cookie.clone(), ..Reply::new(revision) };
        let truncated = Reply { id: self.id, ..truncated };
        let without_revision = Reply { revision: None, ..truncated.clone() };
        [truncated, without_revision].iter().map(Reply::to_bytes).find(fits)
    }
}

impl Refusal {
    /// How a native asker is told.
    fn to_reply(&self) -> Reply {
        let code = match self {
            Self::AddressTaken { .. } => ErrorCode::AddressTaken,
            Self::ListingForbidden => ErrorCode::ListingForbidden,
            Self::NameTaken { .. } => ErrorCode::NameTaken,
            Self::NotAnOperator => ErrorCode::Forbidden,
            Self::TooManyInstances { .. }
            | Self::TooManyInstancesOfSource { .. }
            | Self::TooManyNames { .. }
            | Self::TooManyRegistrations { .. }
            | Self::TooOften { .. } => ErrorCode::LimitReached,
            Self::UnknownLease => ErrorCode::UnknownLease,
            Self::UnknownTarget => ErrorCode::UnknownTarget,
            _ => ErrorCode::BadRequest,
        };
        Reply::error(code, self.to_string())
    }
}
