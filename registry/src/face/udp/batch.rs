//! Serves the datagrams of one batch, and sends their answers.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::inlets::{Arrived, Inlets};
use crate::counters::Loss;
use crate::dispatch::{Dispatcher, Outcome};
use crate::face::Reception;
use crate::face::class::Class;
use crate::face::reception::{NotDurable, Pressure, Readiness, Spare};
use crate::host::Host;
use crate::limits::MAX_REQUEST;
use crate::net::{Incoming, Interfaces, Outbox, Outgoing, UdpSocketPair};
use crate::refusal::Refusal;
use crate::store::Ticket;
use crate::table::{Arrival, Asker, Transport};

/// The current time, read once for a batch.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The state with which a task serves the sockets of one lane.
pub(super) struct UdpFace {
    /// The sockets that send answers, with their outboxes, by the number of the receiving socket.
    exits: Vec<(UdpSocketPair, Outbox)>,
    reception: Arc<Reception>,
    pressure: Pressure,
    /// Answers that wait.
    pub(super) waiting: FuturesUnordered<BoxFuture<'static, Settled>>,
    /// The class of each datagram of one batch; `None` if it is not served here.
    classes: Vec<Option<Class>>,
    /// The buffer for the current answer.
    reply: Vec<u8>,
}

/// The return path of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// The number of the socket that received the request.
    inlet: usize,
    outgoing: Outgoing,
}

/// The result of an answer that waited.
type Settled = (Way, Result<Vec<u8>, NotDurable>);

/// The state that all datagrams of one batch share.
struct Turn<'a> {
    now: Instant,
    dispatcher: &'a Arc<Dispatcher>,
    committed: Ticket,
}

impl UdpFace {
    pub(super) fn new(pairs: &[UdpSocketPair], reception: Arc<Reception>) -> Self {
        Self {
            exits: pairs.iter().map(|pair| (pair.clone(), Outbox::new())).collect(),
            reception,
            pressure: Pressure::new(now()),
            waiting: FuturesUnordered::new(),
            classes: Vec::new(),
            reply: Vec::new(),
        }
    }

    /// Serves the datagrams that have arrived. Returns whether the queue is empty.
    pub(super) fn serve_batch(&mut self, inlets: &mut Inlets) -> io::Result<bool> {
        let (now, is_empty) = inlets.receive()?;
        let dropped = inlets.take_dropped();
        if dropped > 0 {
            let why = "more came than could be served, or there was little room for it; see \
                       docs/operations.md on load";
            let counters = &self.reception.counters;
            counters.lost_many(now, Loss::DroppedBySystem, dropped, "this socket", why);
        }
        self.pressure.observe(now, is_empty, dropped > 0);
        if let Some(dispatcher) = self.reception.dispatcher() {
            // Before any lease is renewed by what arrived while the process stood still.
            dispatcher.is_alive(now, Duration::ZERO);
        }
        let (reception, interfaces) =
            (Arc::clone(&self.reception), self.reception.interfaces.get());
        let batch = || (0..inlets.len()).filter_map(|at| inlets.get(at));
        let mut classes = std::mem::take(&mut self.classes);
        classes.clear();
        classes.extend(batch().map(|arrived| {
            let message = arrived.message.filter(|_| self.is_for_us(&arrived));
            if arrived.message.is_none() && self.is_for_us(&arrived) {
                let refusal = Refusal::TooLong { limit: MAX_REQUEST };
                reception.refused(now, arrived.incoming.source, &refusal);
            }
            message.map(Class::of)
        }));
        let committed = reception.dispatcher().map(|dispatcher| dispatcher.committed());
        for class in Class::IN_ORDER {
            for (arrived, its_class) in batch().zip(&classes) {
                let Some(message) = arrived.message.filter(|_| *its_class == Some(class)) else {
                    continue;
                };
                let (asker, way) = introduce(&arrived, &interfaces);
                match reception.readiness(&asker, message) {
                    Readiness::Ready(dispatcher) => {
                        let committed = committed.unwrap_or_default();
                        let turn = Turn { now, dispatcher, committed };
                        self.serve_one(&turn, class, (&asker, way), message);
                    }
                    Readiness::Reply(told) => self.answer(now, &told, way),
                    Readiness::Silent => {
                        let to = way.outgoing.to;
                        reception.lost(now, Loss::NotReady, to, "the table is being read");
                    }
                }
            }
        }
        self.classes = classes;
        self.flush(now);
        Ok(is_empty)
    }

    /// Whether this task must answer, rather than another lane or another registry that also
    /// receives the datagram.
    fn is_for_us(&self, arrived: &Arrived<'_>) -> bool {
        let Some((pair, _)) = self.exits.get(arrived.inlet) else { return false };
        let Incoming { link, is_for_all, source, .. } = arrived.incoming;
        pair.only_link.is_none_or(|only| only == *link)
            && (!is_for_all || pair.lane.serves(source.ip()))
    }

    fn serve_one(
        &mut self,
        turn: &Turn<'_>,
        class: Class,
        (asker, way): (&Asker, Way),
        message: &[u8],
    ) {
        let is_shed = match class {
            // Only the table shows whether it adds an instance.
            Class::Change => false,
            Class::Resolve => self.pressure.load(Spare::Resolve).sheds(),
            Class::List => self.pressure.load(Spare::List).sheds(),
        };
        if is_shed {
            return self.refused(turn.now, way, &Refusal::Overloaded);
        }
        let Turn { now, dispatcher, committed } = *turn;
        let mut reply = std::mem::take(&mut self.reply);
        let load = self.pressure.load(Spare::Addition);
        match dispatcher.handle_under_load(now, asker, message, &mut reply, load) {
            Outcome::Reply(bytes) => self.answer(now, bytes, way),
            Outcome::Deferred(deferred, bytes)
                if deferred.ticket() <= committed && deferred.addresses().is_empty() =>
            {
                self.answer(now, bytes, way);
            }
            Outcome::Deferred(deferred, bytes) => {
                let settled = self.reception.settle(dispatcher, deferred, bytes);
                self.waiting.push(settled.map(move |settled| (way, settled)).boxed());
            }
            // The dispatcher has already refused a watch over UDP.
            Outcome::Watch(_) => self.refused(now, way, &Refusal::NeedsTcp),
            Outcome::Refused(refusal) => self.refused(now, way, &refusal),
        }
        self.reply = reply;
    }

    fn refused(&self, now: Instant, way: Way, refusal: &Refusal) {
        self.reception.refused(now, way.outgoing.to, refusal);
    }

    /// Sends an answer that waited, and all others that are ready.
    pub(super) fn send_settled(&mut self, settled: Settled) {
        let now = now();
        let mut next = Some(settled);
        while let Some((way, settled)) = next {
            match settled {
                Ok(answer) => self.answer(now, &answer, way),
                Err(why) => self.reception.lost(now, Loss::NotQueued, way.outgoing.to, why),
            }
            next = self.waiting.next().now_or_never().flatten();
        }
        self.flush(now);
    }

    /// Queues an answer, to be sent with the others of its batch.
    fn answer(&mut self, now: Instant, bytes: &[u8], way: Way) {
        let has_room = |(_, outbox): &(UdpSocketPair, Outbox)| outbox.has_room(bytes.len());
        if !self.exits.get(way.inlet).is_some_and(has_room) {
            self.flush(now);
        }
        if let Some((_, outbox)) = self.exits.get_mut(way.inlet) {
            outbox.push(bytes, way.outgoing);
        }
    }

    fn flush(&mut self, now: Instant) {
        let reception = &self.reception;
        for (pair, outbox) in &mut self.exits {
            // A full send buffer or an unreachable asker costs this answer, never the next one.
            pair.sender.send(outbox, |way, error| {
                reception.lost(now, Loss::NotSent, way.to, error);
            });
        }
    }
}

/// The sender of a datagram, and the path back to it.
fn introduce(arrived: &Arrived<'_>, interfaces: &Interfaces) -> (Asker, Way) {
    let &Incoming { source, reached, link, .. } = arrived.incoming;
    // A multicast has no address of this machine, but the interface that received it has one.
    let reached = reached.or_else(|| interfaces.address_like(link, source.ip()));
    let asker = Asker {
        host: Host::from(source),
        port: source.port(),
        is_here: interfaces.is_own(source.ip()),
        reached,
        link,
        transport: if source.is_ipv4() { Transport::Udp4 } else { Transport::Udp6 },
        arrival: Arrival::at(arrived.arrived),
    };
    let outgoing = Outgoing { to: source, from: reached, link };
    (asker, Way { inlet: arrived.inlet, outgoing })
}
