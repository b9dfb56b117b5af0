//! Datagrams: one request each, answered from where it was sent to.
//!
//! A task serves the sockets of one lane, and receives and answers many datagrams at a time. A batch
//! looks up once what all of it needs, and never waits to be full. All datagrams of a host reach one
//! task, which serves its changes in the order of their arrival, before the questions of the batch.

mod class;
mod inlets;
mod pending;
mod pressure;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::counters::Loss;
use crate::dispatch::{Dispatcher, Outcome, not_ready};
use crate::limits::MAX_REQUEST;
use crate::net::{Incoming, Interfaces, Outbox, Outgoing, UdpEar};
use crate::refusal::Refusal;
use crate::store::{Progress, Ticket};
use crate::table::{Arrival, Asker, Host, Transport};
use class::Class;
use inlets::{Arrived, Inlets};
pub(crate) use pending::PENDING;
use pending::{Pending, Waiting};
use pressure::{Pressure, Spare};

/// Batches served at the end: as many datagrams as the largest receive buffer holds, so that what goes on coming
/// does not keep the registry from ending.
const LAST_BATCHES: usize = 256;

/// Serves the sockets of one lane until `stop`, then gives the answers that wait for the store, `pending_limit` of
/// them at most, for at most `grace`.
///
/// Cancel safe, but datagrams that were received may go unanswered.
pub(crate) async fn serve(
    ears: Vec<UdpEar>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    grace: Duration,
    pending_limit: usize,
) {
    let mut progress = None;
    let mut stopped = pin!(stop.cancelled());
    let exits = ears.iter().map(|ear| (ear.clone(), Outbox::new())).collect();
    let mut inlets = Inlets::new(ears);
    let mut face = UdpFace {
        exits,
        shared: Arc::clone(&shared),
        pending: Pending::new(pending_limit),
        pressure: Pressure::new(now()),
        checks: JoinSet::new(),
        classes: Vec::new(),
        reply: Vec::new(),
    };
    loop {
        let served = tokio::select! {
            () = &mut stopped => break,
            ready = poll_fn(|cx| inlets.poll_readable(cx)) => {
                ready.and_then(|()| face.serve_batch(&mut inlets))
            }
            () = shared.store_moved(&mut progress) => {
                face.send_committed();
                Ok(true)
            }
            Some(Ok(checked)) = face.checks.join_next() => {
                face.checked(checked);
                Ok(true)
            }
        };
        match served {
            Ok(true) => {}
            // What is ready at all times must not keep everything else from running.
            Ok(false) => tokio::task::yield_now().await,
            Err(error) => {
                face.lost(now(), Loss::Socket, "this socket", &error);
                tokio::time::sleep(super::SOCKET_ERROR_PAUSE).await;
            }
        }
    }
    // What had arrived by then counts, above all servers that say that they end.
    for _ in 0..LAST_BATCHES {
        if !matches!(face.serve_batch(&mut inlets), Ok(false)) {
            break;
        }
    }
    let finish = async {
        face.send_committed();
        while !face.pending.is_empty() {
            shared.store_moved(&mut progress).await;
            face.send_committed();
        }
    };
    // What is not durable by then is not acknowledged.
    let _ = tokio::time::timeout(grace, finish).await;
}

/// The time, once for many.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

struct UdpFace {
    /// By which answers leave, for each socket by which requests come.
    exits: Vec<(UdpEar, Outbox)>,
    shared: Arc<Shared>,
    pending: Pending,
    pressure: Pressure,
    /// Registrations whose addresses are being tried. Those beyond a small number end at once.
    checks: JoinSet<Checked>,
    /// Of the datagrams of one batch, those that are served here.
    classes: Vec<Option<Class>>,
    /// Room for the answer that is being made.
    reply: Vec<u8>,
}

/// The way an answer takes back.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// The number of the socket by which the request came.
    inlet: usize,
    outgoing: Outgoing,
}

impl Way {
    fn to(&self) -> SocketAddr {
        self.outgoing.to
    }
}

/// An answer to a registration whose addresses have been tried.
struct Checked {
    asker: Asker,
    message: Vec<u8>,
    answer: Result<(Ticket, Vec<u8>), Refusal>,
    way: Way,
}

/// What all datagrams of one batch are served with.
struct Turn<'a> {
    now: Instant,
    dispatcher: &'a Arc<Dispatcher>,
    progress: Progress,
}

impl<'a> Turn<'a> {
    fn new(now: Instant, dispatcher: &'a Arc<Dispatcher>) -> Self {
        Self { now, dispatcher, progress: dispatcher.stored() }
    }
}

impl UdpFace {
    /// Serves what is there; tells whether that was all of it.
    fn serve_batch(&mut self, inlets: &mut Inlets) -> io::Result<bool> {
        let (now, is_empty) = inlets.receive()?;
        let dropped = inlets.take_dropped();
        if dropped > 0 {
            let why = "more came than could be served, or there was little room for it; see \
                       docs/operations.md on load";
            let counters = &self.shared.counters;
            counters.lost_many(now, Loss::DroppedBySystem, dropped, "this socket", why);
        }
        self.pressure.observe(now, is_empty, dropped > 0);
        let (shared, interfaces) = (Arc::clone(&self.shared), self.shared.interfaces.get());
        let batch = || (0..inlets.len()).filter_map(|at| inlets.get(at));
        if let Some(dispatcher) = shared.dispatcher.get() {
            let turn = Turn::new(now, dispatcher);
            let mut classes = std::mem::take(&mut self.classes);
            classes.clear();
            classes.extend(batch().map(|arrived| {
                arrived.message.filter(|_| self.is_for_us(&arrived)).map(Class::of)
            }));
            for class in Class::IN_ORDER {
                for (arrived, its_class) in batch().zip(&classes) {
                    if let Some(message) = arrived.message.filter(|_| *its_class == Some(class)) {
                        self.serve_one(&turn, class, introduce(&arrived, &interfaces), message);
                    }
                }
            }
            self.classes = classes;
        } else {
            for arrived in batch() {
                let Some(message) = arrived.message.filter(|_| self.is_for_us(&arrived)) else {
                    continue;
                };
                let (asker, way) = introduce(&arrived, &interfaces);
                match not_ready(&asker, message) {
                    Some(told) => self.answer(now, &told, way),
                    None => self.lost(now, Loss::NotReady, way.to(), "the table is being read"),
                }
            }
        }
        for arrived in batch().filter(|arrived| arrived.message.is_none()) {
            if self.is_for_us(&arrived) {
                let refusal = Refusal::TooLong { limit: MAX_REQUEST };
                self.refused(now, arrived.incoming.source, &refusal);
            }
        }
        self.flush(now);
        Ok(is_empty)
    }

    /// Whether this task is to answer, rather than that of another lane or another registry that hears
    /// the same.
    fn is_for_us(&self, arrived: &Arrived<'_>) -> bool {
        let Some((ear, _)) = self.exits.get(arrived.inlet) else { return false };
        let Incoming { link, is_for_all, source, .. } = arrived.incoming;
        ear.only_link.is_none_or(|only| only == *link)
            && (!is_for_all || ear.lane.serves(source.ip()))
    }

    fn serve_one(
        &mut self,
        turn: &Turn<'_>,
        class: Class,
        (asker, way): (Asker, Way),
        message: &[u8],
    ) {
        let is_shed = match class {
            // Whether it adds something is known once it is looked for.
            Class::Change => false,
            Class::Resolve => self.pressure.sheds(Spare::Resolve),
            Class::List => self.pressure.sheds(Spare::List),
        };
        if is_shed {
            self.refused(turn.now, way.to(), &Refusal::Overloaded);
            return;
        }
        let mut reply = std::mem::take(&mut self.reply);
        let mut may_add = || !self.pressure.sheds(Spare::Addition);
        let dispatcher = turn.dispatcher;
        match dispatcher.handle_under_load(turn.now, &asker, message, &mut reply, &mut may_add) {
            Outcome::Reply(bytes) => self.answer(turn.now, bytes, way),
            Outcome::AfterCommit(ticket, bytes) => {
                self.once_durable(turn, (&asker, message), ticket, bytes, way);
            }
            Outcome::AfterCheck(check) => {
                let (shared, message) = (Arc::clone(&self.shared), message.to_vec());
                self.checks.spawn(async move {
                    let unreachable = shared.checks.unreachable(check.addresses()).await;
                    Checked { asker, message, answer: check.finish(unreachable), way }
                });
            }
            // A watch over UDP has been refused before it came here.
            Outcome::Watch(_) => self.refused(turn.now, way.to(), &Refusal::NeedsTcp),
            Outcome::Refused(refusal) => self.refused(turn.now, way.to(), &refusal),
        }
        self.reply = reply;
    }

    /// Sends an answer once what it tells is durable.
    fn once_durable(
        &mut self,
        turn: &Turn<'_>,
        (asker, message): (&Asker, &[u8]),
        ticket: Ticket,
        bytes: &[u8],
        way: Way,
    ) {
        if ticket <= turn.progress.committed {
            self.answer(turn.now, bytes, way);
        } else if let Some(failure) = &turn.progress.failure
            && let Some(told) = turn.dispatcher.not_durable(asker, message, failure)
        {
            self.answer(turn.now, &told, way);
        } else if !self.pending.push(turn.now, ticket, bytes, way) {
            self.lost(turn.now, Loss::NotQueued, way.to(), "too many wait for the store");
        }
    }

    fn checked(&mut self, checked: Checked) {
        let Checked { asker, message, answer, way } = checked;
        let shared = Arc::clone(&self.shared);
        let Some(dispatcher) = shared.dispatcher.get() else { return };
        let turn = Turn::new(now(), dispatcher);
        match answer {
            Ok((ticket, bytes)) => {
                self.once_durable(&turn, (&asker, &message), ticket, &bytes, way);
                self.flush(turn.now);
            }
            Err(refusal) => self.refused(turn.now, way.to(), &refusal),
        }
    }

    fn send_committed(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let Some(dispatcher) = self.shared.dispatcher.get() else { return };
        let (now, committed) = (now(), dispatcher.stored().committed);
        while let Some(Waiting { stale_at, way, answer }) = self.pending.pop(committed) {
            if now < stale_at {
                self.answer(now, &answer, way);
            } else {
                self.lost(now, Loss::NotQueued, way.to(), "the store did not commit in time");
            }
        }
        self.flush(now);
    }

    /// Sends an answer with those of the same batch.
    fn answer(&mut self, now: Instant, bytes: &[u8], way: Way) {
        let has_room = |(_, outbox): &(UdpEar, Outbox)| outbox.has_room(bytes.len());
        if !self.exits.get(way.inlet).is_some_and(has_room) {
            self.flush(now);
        }
        if let Some((_, outbox)) = self.exits.get_mut(way.inlet) {
            outbox.push(bytes, way.outgoing);
        }
    }

    fn flush(&mut self, now: Instant) {
        let counters = &self.shared.counters;
        for (ear, outbox) in &mut self.exits {
            // A full send buffer or an unreachable asker costs this answer, never the next one.
            ear.answers.send(outbox, |way, error| {
                counters.lost(now, Loss::NotSent, way.to, error);
            });
        }
    }

    fn refused(&self, now: Instant, source: SocketAddr, refusal: &Refusal) {
        self.lost(now, Loss::from(refusal), source, refusal);
    }

    fn lost(
        &self,
        now: Instant,
        loss: Loss,
        source: impl std::fmt::Display,
        reason: impl std::fmt::Display,
    ) {
        self.shared.counters.lost(now, loss, source, reason);
    }
}

/// Who sent this, and the way back to them.
fn introduce(arrived: &Arrived<'_>, interfaces: &Interfaces) -> (Asker, Way) {
    let &Incoming { source, reached, link, .. } = arrived.incoming;
    // A multicast reached no address of ours, but the interface that heard it has one.
    let reached = reached.or_else(|| interfaces.address_like(link, source.ip()));
    let asker = Asker {
        host: Host::from(source),
        is_here: interfaces.is_own(source.ip()),
        reached,
        link,
        transport: if source.is_ipv4() { Transport::Udp4 } else { Transport::Udp6 },
        arrival: Arrival::at(arrived.arrived),
    };
    let outgoing = Outgoing { to: source, from: reached, link };
    (asker, Way { inlet: arrived.inlet, outgoing })
}
