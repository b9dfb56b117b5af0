//! One TCP client.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::arrival_order::{PATIENCE, Waiting};
use super::failure::Failure;
use super::framing::{Frame, Framing};
use super::idle::ConnectionGuard;
use crate::counters::Loss;
use crate::dispatch::{Outcome, Watch};
use crate::face::Reception;
use crate::face::class::is_light;
use crate::face::reception::Readiness;
use crate::net::{Clocks, stamp_of_first_bytes};
use crate::table::{Arrival, Asker};

/// How long a client may take to send a whole request, and then to read its answer.
pub(super) const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// How long a native client may stay silent between requests.
const IDLE_DEADLINE: Duration = Duration::from_secs(60);

/// How long a client may take to close after its answer. If the registry closed first, with bytes
/// of the client unread, the system would discard the answer.
const LINGER: Duration = Duration::from_secs(1);

const READ_SIZE: usize = 4096;

/// A client on any kind of stream.
pub(super) struct Connection<S> {
    stream: S,
    asker: Asker,
    peer: SocketAddr,
    reception: Arc<Reception>,
    pub(super) guard: ConnectionGuard,
    /// Its position among the connections of its host, until its first request has been served.
    waiting: Option<Waiting>,
    accepted: Instant,
    /// When the first bytes arrived, if the system stamps them, until the first request is served.
    first_bytes: Option<Instant>,
    stop: CancellationToken,
    framing: Framing,
}

/// The next step on a connection after a request.
enum Next {
    /// Wait for another request.
    Request,
    /// Send notifications until the end.
    Watch(Box<Watch>),
}

impl Connection<TcpStream> {
    /// Waits briefly for the first bytes, and records when they arrived.
    pub(super) async fn meet(&mut self) {
        let stamp = timeout_at(self.accepted + PATIENCE, stamp_of_first_bytes(&self.stream));
        if let Ok(Some(stamp)) = stamp.await {
            self.first_bytes = Some(Instant::from_std(Clocks::read().arrival(stamp)));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        stream: S,
        (peer, asker): (SocketAddr, Asker),
        reception: Arc<Reception>,
        (guard, waiting): (ConnectionGuard, Waiting),
        stop: CancellationToken,
    ) -> Self {
        let (waiting, accepted, framing) = (Some(waiting), Instant::now(), Framing::new());
        Self {
            stream,
            asker,
            peer,
            reception,
            guard,
            waiting,
            accepted,
            first_bytes: None,
            stop,
            framing,
        }
    }

    /// Serves the client until it has its answer, leaves, is too slow or must make room.
    pub(super) async fn run(mut self) {
        let (displaced, stop) = (self.guard.displaced(), self.stop.clone());
        let displaced = async {
            displaced.cancelled().await;
            if stop.is_cancelled() {
                // A request that has begun may finish.
                std::future::pending::<()>().await;
            }
        };
        let served = tokio::select! {
            biased;
            () = displaced => return,
            served = self.serve() => served,
        };
        let served = match served {
            Ok(Some(watch)) => self.notify(watch).await,
            served => served.map(drop),
        };
        if let Err(failure) = served {
            let now = Instant::now().into_std();
            self.reception.lost(now, Loss::from(&failure), self.peer, &failure);
        }
    }

    /// Serves requests until the client leaves or starts a watch.
    async fn serve(&mut self) -> Result<Option<Box<Watch>>, Failure> {
        let mut may_idle = REQUEST_DEADLINE;
        loop {
            match self.next_request(may_idle).await? {
                None => return Ok(None),
                Some(Frame::Legacy(message)) => {
                    // Boxed, like every short-lived future here, so that an idle or watching
                    // connection stays small.
                    Box::pin(self.answer_and_close(&message)).await?;
                    return Ok(None);
                }
                Some(Frame::Native(message)) => {
                    let next = Box::pin(self.answer(&message, b"\n")).await?;
                    drop(message);
                    if let Next::Watch(watch) = next {
                        return Ok(Some(watch));
                    }
                    // A client that sends many requests at once gets one turn for each.
                    tokio::task::yield_now().await;
                }
            }
            may_idle = IDLE_DEADLINE;
        }
    }

    async fn answer_and_close(&mut self, message: &[u8]) -> Result<(), Failure> {
        self.answer(message, b"").await?;
        self.stream.shutdown().await?;
        self.linger().await;
        Ok(())
    }

    /// Waits for a whole request; `None` if the client leaves, or the registry ends, before one
    /// begins.
    async fn next_request(&mut self, may_idle: Duration) -> Result<Option<Frame>, Failure> {
        let mut deadline = Instant::now() + may_idle;
        let mut had_begun = false;
        loop {
            if let Some(frame) = self.framing.next_frame()? {
                return Ok(Some(frame));
            }
            if self.framing.has_begun() && !had_begun {
                had_begun = true;
                deadline = deadline.min(Instant::now() + REQUEST_DEADLINE);
            }
            let stop = self.stop.clone();
            let (is_waiting, patience) = (self.waiting.is_some(), self.accepted + PATIENCE);
            let received = tokio::select! {
                biased;
                // A client that has not begun a request loses nothing.
                () = stop.cancelled(), if !had_begun => return Ok(None),
                received = timeout_at(deadline, self.receive()) => received,
                () = sleep_until(patience), if is_waiting => {
                    self.waiting = None;
                    continue;
                }
            };
            let received = match received {
                Ok(received) => received?,
                // A client may keep its connection after it got its answers.
                Err(_elapsed) if !had_begun && may_idle == IDLE_DEADLINE => return Ok(None),
                Err(_elapsed) => return Err(Failure::Deadline(REQUEST_DEADLINE)),
            };
            if received == 0 {
                return match std::mem::take(&mut self.framing).finish() {
                    None if had_begun => Err(Failure::EndedEarly),
                    last => Ok(last),
                };
            }
        }
    }

    /// Reads the bytes that have arrived. Most connections wait, so it holds no buffer while it
    /// waits.
    ///
    /// Cancel safe: bytes that were read are kept.
    pub(super) async fn receive(&mut self) -> Result<usize, Failure> {
        let (stream, framing) = (&mut self.stream, &mut self.framing);
        let receiving = poll_fn(|cx| {
            let mut room = [MaybeUninit::uninit(); READ_SIZE];
            let mut room = ReadBuf::uninit(&mut room);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut room))?;
            framing.buffer().extend(room.filled());
            Poll::Ready(Ok::<_, io::Error>(room.filled().len()))
        });
        let received = receiving.await?;
        self.guard.is_active(Instant::now());
        Ok(received)
    }

    /// Drops the received bytes.
    pub(super) fn forget_received(&mut self) {
        self.framing = Framing::new();
    }

    /// Answers one request, once the store has committed the change.
    async fn answer(&mut self, message: &[u8], line_end: &[u8]) -> Result<Next, Failure> {
        let reception = Arc::clone(&self.reception);
        let dispatcher = match reception.readiness(&self.asker, message) {
            Readiness::Ready(dispatcher) => dispatcher,
            Readiness::Reply(told) => {
                self.send(&[&told, line_end].concat()).await?;
                return Ok(Next::Request);
            }
            Readiness::Silent => timeout(REQUEST_DEADLINE, reception.ready())
                .await
                .map_err(|_elapsed| Failure::NotReady)?,
        };
        let waiting = self.wait_for_earlier().await;
        // However many connections ask for much, a processor is left for the datagrams.
        let turn = if is_light(message) { None } else { reception.heavy.acquire().await.ok() };
        let mut reply = Vec::new();
        let now = Instant::now().into_std();
        let outcome = dispatcher.handle(now, &self.asker, message, &mut reply);
        drop(turn);
        // Later requests see the change, durable or not.
        drop(waiting);
        let answer = match outcome {
            Outcome::Reply(bytes) => bytes.to_vec(),
            Outcome::Deferred(deferred, bytes) => {
                reception.settle(dispatcher, deferred, bytes).await?
            }
            Outcome::Watch(watch) => return Ok(Next::Watch(watch)),
            Outcome::Refused(refusal) => return Err(refusal.into()),
        };
        self.send(&[&answer, line_end].concat()).await?;
        Ok(Next::Request)
    }

    /// Waits until the connections that its host opened before have been served, if the first
    /// request of this one came soon. Later connections of the host wait until the result is
    /// dropped.
    async fn wait_for_earlier(&mut self) -> Option<Waiting> {
        let received = self.first_bytes.take().unwrap_or_else(Instant::now);
        self.asker.arrival =
            Arrival::over_connection(self.accepted.into_std(), received.into_std());
        let mut waiting = self.waiting.take();
        if let Some(waiting) = &mut waiting {
            waiting.first().await;
        }
        waiting
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        // Usually the send buffer has room for all of it, and no deadline is needed.
        let stream = &mut self.stream;
        let at_once = poll_fn(|cx| match Pin::new(&mut *stream).poll_write(cx, bytes) {
            Poll::Ready(sent) => Poll::Ready(sent),
            Poll::Pending => Poll::Ready(Ok(0)),
        });
        let sent = at_once.await?;
        let rest = bytes.get(sent..).unwrap_or_default();
        if !rest.is_empty() {
            let sent = timeout(REQUEST_DEADLINE, self.stream.write_all(rest)).await;
            sent.map_err(|_elapsed| Failure::Deadline(REQUEST_DEADLINE))??;
        }
        self.guard.is_active(Instant::now());
        Ok(())
    }

    async fn linger(&mut self) {
        let mut rest = [0; 512];
        let drained = async { while matches!(self.stream.read(&mut rest).await, Ok(1..)) {} };
        // Either way the answer is on its way and the connection is finished.
        let _ = timeout(LINGER, drained).await;
    }
}

#[cfg(test)]
mod tests;
