//! Datagrams: one request each, answered from where it was sent to.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::counters::Loss;
use crate::dispatch::{Dispatcher, MAX_REQUEST, Outcome, not_ready};
use crate::net::{Incoming, Outgoing, UdpEar};
use crate::refusal::Refusal;
use crate::store::Ticket;
use crate::table::{Asker, Host, Transport};

/// Datagrams served before other tasks get their turn.
const BATCH: usize = 64;

/// Answers that may wait for the store. Past that, requests go unacknowledged and come again.
const PENDING: usize = 65_536;

/// How long an answer waits for the store. RPyC's clients wait two seconds for theirs; much later the
/// port may be somebody else's.
const PENDING_DEADLINE: Duration = Duration::from_secs(10);

/// Serves one socket until `stop`, then gives the answers that wait for the store for at most `grace`.
///
/// Cancel safe, but a datagram that was received may go unanswered.
pub(crate) async fn serve(
    ear: UdpEar,
    shared: Arc<Shared>,
    stop: CancellationToken,
    grace: Duration,
) {
    let mut progress = None;
    let mut face = UdpFace {
        ear,
        shared: Arc::clone(&shared),
        pending: BTreeMap::new(),
        next_pending: 0,
        checks: JoinSet::new(),
        reply: Vec::new(),
    };
    let mut message = vec![0; MAX_REQUEST];
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            ready = face.ear.hears.readable() => match ready {
                Ok(()) => face.serve_batch(&mut message),
                Err(error) => face.socket_failed(&error).await,
            },
            () = shared.store_moved(&mut progress) => {}
            Some(Ok(checked)) = face.checks.join_next() => face.checked(checked),
        }
        face.send_committed();
        // What is ready at all times must not keep everything else from running.
        tokio::task::yield_now().await;
    }
    // What had arrived by then counts, above all servers that say that they end.
    face.serve_batch(&mut message);
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

struct UdpFace {
    ear: UdpEar,
    shared: Arc<Shared>,
    /// In the order of their tickets, and within one in the order in which they came.
    pending: BTreeMap<(Ticket, u64), Pending>,
    next_pending: u64,
    /// Registrations whose addresses are being tried. Those beyond a small number end at once.
    checks: JoinSet<Checked>,
    reply: Vec<u8>,
}

/// An answer to a registration whose addresses have been tried.
struct Checked {
    asker: Asker,
    message: Vec<u8>,
    answer: Result<(Ticket, Vec<u8>), Refusal>,
    way: Outgoing,
}

/// An answer that waits for the store.
struct Pending {
    /// When nobody waits for it any more.
    stale_at: Instant,
    way: Outgoing,
    answer: Vec<u8>,
}

impl UdpFace {
    fn serve_batch(&mut self, message: &mut [u8]) {
        for _ in 0..BATCH {
            match self.ear.hears.try_recv(message) {
                Ok(incoming) => self.serve_one(incoming, message),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.lost(Loss::Socket, "this socket", &error);
                    return;
                }
            }
        }
    }

    fn serve_one(&mut self, incoming: Incoming, message: &[u8]) {
        if self.ear.only_link.is_some_and(|link| link != incoming.link) {
            // Another socket, or another registry, answers what comes by other interfaces.
            return;
        }
        let Some(message) = message.get(..incoming.len) else {
            self.refused(incoming, &Refusal::TooLong { limit: MAX_REQUEST });
            return;
        };
        let (asker, way) = self.introduce(incoming);
        let shared = Arc::clone(&self.shared);
        let Some(dispatcher) = shared.dispatcher.get() else {
            match not_ready(&asker, message) {
                Some(told) => self.send(&told, way),
                None => self.lost(Loss::NotReady, incoming.source, "the table is being read"),
            }
            return;
        };
        let mut reply = std::mem::take(&mut self.reply);
        let now = Instant::now().into_std();
        match dispatcher.handle(now, &asker, message, &mut reply) {
            Outcome::Reply(bytes) => self.send(bytes, way),
            Outcome::AfterCommit(ticket, bytes) => {
                self.once_durable(dispatcher, (&asker, message), ticket, bytes, way);
            }
            Outcome::AfterCheck(check) => {
                let (shared, message) = (Arc::clone(&shared), message.to_vec());
                self.checks.spawn(async move {
                    let unreachable = shared.checks.unreachable(check.addresses()).await;
                    Checked { asker, message, answer: check.finish(unreachable), way }
                });
            }
            // A watch over UDP has been refused before it came here.
            Outcome::Watch(_) => self.refused(incoming, &Refusal::NeedsTcp),
            Outcome::Refused(refusal) => self.refused(incoming, &refusal),
        }
        self.reply = reply;
    }

    /// Sends an answer once what it tells is durable.
    fn once_durable(
        &mut self,
        dispatcher: &Dispatcher,
        (asker, message): (&Asker, &[u8]),
        ticket: Ticket,
        bytes: &[u8],
        way: Outgoing,
    ) {
        let progress = dispatcher.stored();
        if ticket <= progress.committed {
            self.send(bytes, way);
        } else if let Some(failure) = progress.failure
            && let Some(told) = dispatcher.not_durable(asker, message, &failure)
        {
            self.send(&told, way);
        } else if self.pending.len() < PENDING {
            let stale_at = Instant::now() + PENDING_DEADLINE;
            let answer = bytes.to_vec();
            self.next_pending += 1;
            let key = (ticket, self.next_pending);
            self.pending.insert(key, Pending { stale_at, way, answer });
        } else {
            self.lost(Loss::NotQueued, way.to, "too many wait for the store");
        }
    }

    fn checked(&mut self, checked: Checked) {
        let Checked { asker, message, answer, way } = checked;
        let shared = Arc::clone(&self.shared);
        let Some(dispatcher) = shared.dispatcher.get() else { return };
        match answer {
            Ok((ticket, bytes)) => {
                self.once_durable(dispatcher, (&asker, &message), ticket, &bytes, way);
            }
            Err(refusal) => self.lost(Loss::from(&refusal), way.to, refusal),
        }
    }

    /// Who sent this, and the way back to them.
    fn introduce(&self, incoming: Incoming) -> (Asker, Outgoing) {
        let Incoming { source, reached, link, .. } = incoming;
        let interfaces = self.shared.interfaces.get();
        // A multicast reached no address of ours, but the interface that heard it has one.
        let reached = reached.or_else(|| interfaces.address_like(link, source.ip()));
        let asker = Asker {
            host: Host::from(source),
            is_here: interfaces.is_own(source.ip()),
            reached,
            link,
            transport: if source.is_ipv4() { Transport::Udp4 } else { Transport::Udp6 },
        };
        (asker, Outgoing { to: source, from: reached, link })
    }

    fn send_committed(&mut self) {
        let Some(dispatcher) = self.shared.dispatcher.get() else { return };
        let committed = dispatcher.stored().committed;
        let now = Instant::now();
        while let Some(first) = self.pending.first_entry().filter(|it| it.key().0 <= committed) {
            let Pending { stale_at, way, answer } = first.remove();
            if now < stale_at {
                self.send(&answer, way);
            } else {
                self.lost(Loss::NotQueued, way.to, "the store did not commit in time");
            }
        }
    }

    fn send(&self, bytes: &[u8], way: Outgoing) {
        // A full send buffer or an unreachable asker costs this answer, never the next one.
        if let Err(error) = self.ear.answers.try_send(bytes, way) {
            self.lost(Loss::NotSent, way.to, &error);
        }
    }

    fn refused(&self, incoming: Incoming, refusal: &Refusal) {
        self.lost(Loss::from(refusal), incoming.source, refusal);
    }

    async fn socket_failed(&self, error: &io::Error) {
        self.lost(Loss::Socket, "this socket", error);
        tokio::time::sleep(super::SOCKET_ERROR_PAUSE).await;
    }

    fn lost(&self, loss: Loss, source: impl std::fmt::Display, reason: impl std::fmt::Display) {
        self.shared.counters.lost(Instant::now().into_std(), loss, source, reason);
    }
}
