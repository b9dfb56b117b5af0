//! One TCP client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::framing::{Frame, Framing};
use super::idle::Place;
use super::{Failure, lost};
use crate::counters::Loss;
use crate::dispatch::Outcome;
use crate::face::Shared;
use crate::table::Asker;

/// How long a client may take to send a whole request, and as long again to take its answer.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// How long a native client may stay silent between requests.
const IDLE_DEADLINE: Duration = Duration::from_secs(60);

/// How long an answered client may take to close. Closing first while bytes of its are unread would
/// make the system discard the answer.
const LINGER: Duration = Duration::from_secs(1);

const READ_SIZE: usize = 4096;

/// A client that is being served, over any kind of stream.
pub(super) struct Connection<S> {
    stream: S,
    asker: Asker,
    peer: SocketAddr,
    shared: Arc<Shared>,
    place: Place,
    stop: CancellationToken,
    framing: Framing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        stream: S,
        (peer, asker): (SocketAddr, Asker),
        shared: Arc<Shared>,
        place: Place,
        stop: CancellationToken,
    ) -> Self {
        Self { stream, asker, peer, shared, place, stop, framing: Framing::new() }
    }

    /// Serves the client until it has its answer, goes, is too slow or must make room.
    pub(super) async fn run(mut self) {
        let given_up = self.place.given_up();
        let served = tokio::select! {
            () = given_up.cancelled() => return,
            served = self.serve() => served,
        };
        if let Err(failure) = served {
            lost(&self.shared, Loss::from(&failure), self.peer, &failure);
        }
    }

    async fn serve(&mut self) -> Result<(), Failure> {
        let mut may_idle = REQUEST_DEADLINE;
        loop {
            match self.next_request(may_idle).await? {
                None => return Ok(()),
                Some(Frame::Legacy(message)) => {
                    self.answer(&message, b"").await?;
                    self.stream.shutdown().await?;
                    self.linger().await;
                    return Ok(());
                }
                Some(Frame::Native(message)) => self.answer(&message, b"\n").await?,
            }
            may_idle = IDLE_DEADLINE;
        }
    }

    /// Waits for a whole request; `None` if the client goes, or the registry ends, before one begins.
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
            let received = tokio::select! {
                // A client that has not begun has nothing to lose.
                () = stop.cancelled(), if !had_begun => return Ok(None),
                received = timeout_at(deadline, self.receive()) => received,
            };
            let received = match received {
                Ok(received) => received?,
                // A client that had its answers and keeps the connection does nothing wrong.
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

    async fn receive(&mut self) -> Result<usize, Failure> {
        let buffer = self.framing.buffer();
        buffer.reserve(READ_SIZE);
        let received = self.stream.read_buf(buffer).await?;
        self.place.is_active(Instant::now());
        Ok(received)
    }

    /// Answers one request, once the store has committed what it changed.
    async fn answer(&mut self, message: &[u8], line_end: &[u8]) -> Result<(), Failure> {
        let mut reply = Vec::new();
        let now = Instant::now().into_std();
        let answer = match self.shared.dispatcher.handle(now, &self.asker, message, &mut reply) {
            Outcome::Reply(bytes) => bytes,
            Outcome::AfterCommit(ticket, bytes) => {
                let mut committed = self.shared.committed.clone();
                let committed = committed.wait_for(|committed| ticket <= *committed);
                match timeout(REQUEST_DEADLINE, committed).await {
                    Ok(Ok(_)) => bytes,
                    // The store is slow or gone: what is not durable is not acknowledged.
                    Ok(Err(_)) | Err(_) => return Err(Failure::Deadline(REQUEST_DEADLINE)),
                }
            }
            Outcome::Refused(refusal) => return Err(refusal.into()),
        };
        let answer = [answer, line_end].concat();
        let sent = timeout(REQUEST_DEADLINE, self.stream.write_all(&answer)).await;
        sent.map_err(|_elapsed| Failure::Deadline(REQUEST_DEADLINE))??;
        self.place.is_active(Instant::now());
        Ok(())
    }

    async fn linger(&mut self) {
        let mut rest = [0; 512];
        let drained = async { while matches!(self.stream.read(&mut rest).await, Ok(1..)) {} };
        // Either way the answer is on its way and the connection is done with.
        let _ = timeout(LINGER, drained).await;
    }
}
