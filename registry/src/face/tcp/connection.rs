//! One TCP client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rpyc_protocol::Limits;
use rpyc_protocol::brine::Extent;
use rpyc_protocol::registry::native;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::idle::Place;
use super::{Failure, lost};
use crate::counters::Loss;
use crate::dispatch::{MAX_REQUEST, Outcome};
use crate::face::Shared;
use crate::refusal::Refusal;
use crate::table::{Asker, Host, Transport};

/// How long a client may take to send a whole request, and as long again to take its answer.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// How long a native client may stay silent between requests.
const IDLE_DEADLINE: Duration = Duration::from_secs(60);

/// How long an answered client may take to close. Closing first while bytes of its are unread would
/// make the system discard the answer.
const LINGER: Duration = Duration::from_secs(1);

const READ_SIZE: usize = 4096;

pub(super) struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    place: Place,
    stop: CancellationToken,
    /// Received and not yet used.
    received: Vec<u8>,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        shared: Arc<Shared>,
        place: Place,
        stop: CancellationToken,
    ) -> Self {
        Self { stream, peer, shared, place, stop, received: Vec::new() }
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
        let started = Instant::now();
        let stop = self.stop.clone();
        let first = tokio::select! {
            // A client that has not begun has nothing to lose.
            () = stop.cancelled() => return Ok(()),
            first = timeout_at(started + REQUEST_DEADLINE, self.first_byte()) => first,
        };
        match first.map_err(|_elapsed| Failure::Deadline(REQUEST_DEADLINE))?? {
            None => Ok(()),
            Some(first) if native::is_native(first) => self.serve_native(started).await,
            Some(_) => self.serve_legacy(started).await,
        }
    }

    async fn serve_legacy(&mut self, started: Instant) -> Result<(), Failure> {
        let message = timeout_at(started + REQUEST_DEADLINE, self.legacy_message()).await;
        let message = message.map_err(|_elapsed| Failure::Deadline(REQUEST_DEADLINE))??;
        self.answer(&message, b"").await?;
        self.stream.shutdown().await?;
        self.linger().await;
        Ok(())
    }

    async fn serve_native(&mut self, started: Instant) -> Result<(), Failure> {
        let mut deadline = started + REQUEST_DEADLINE;
        loop {
            let stop = self.stop.clone();
            let line = tokio::select! {
                // Between requests there is nothing to finish.
                () = stop.cancelled() => return Ok(()),
                line = timeout_at(deadline, self.line()) => line,
            };
            match line {
                Ok(line) => match line? {
                    Some(line) => self.answer(&line, b"\n").await?,
                    None => return Ok(()),
                },
                Err(_elapsed) if self.received.is_empty() => return Ok(()),
                Err(_elapsed) => return Err(Failure::Deadline(REQUEST_DEADLINE)),
            }
            deadline = Instant::now() + IDLE_DEADLINE;
        }
    }

    /// Waits for the first byte; `None` if the client closes without one.
    async fn first_byte(&mut self) -> Result<Option<u8>, Failure> {
        if self.received.is_empty() {
            self.receive().await?;
        }
        Ok(self.received.first().copied())
    }

    /// Collects one brine value from however many segments it comes in.
    async fn legacy_message(&mut self) -> Result<Vec<u8>, Failure> {
        let mut extent = Extent::new(&Limits::REQUEST);
        let mut fed = 0;
        loop {
            let fresh = self.received.get(fed..).unwrap_or_default();
            let end = extent.feed(fresh).map_err(|error| Refusal::Request(error.into()))?;
            fed = self.received.len();
            if let Some(end) = end {
                self.received.truncate(end);
                return Ok(std::mem::take(&mut self.received));
            }
            if self.receive().await? == 0 {
                return Err(Failure::EndedEarly);
            }
        }
    }

    /// Collects one line, without its end; `None` if the client closes before another begins.
    async fn line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut looked_at = 0;
        loop {
            let fresh = self.received.get(looked_at..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let rest = self.received.split_off(looked_at + end + 1);
                let mut line = std::mem::replace(&mut self.received, rest);
                line.pop();
                return Ok(Some(line));
            }
            looked_at = self.received.len();
            if looked_at > MAX_REQUEST {
                return Err(Refusal::TooLong { limit: MAX_REQUEST }.into());
            }
            if self.receive().await? == 0 {
                // The end of the stream ends the last line too.
                let last = std::mem::take(&mut self.received);
                return Ok((!last.is_empty()).then_some(last));
            }
        }
    }

    async fn receive(&mut self) -> Result<usize, Failure> {
        self.received.reserve(READ_SIZE);
        let received = self.stream.read_buf(&mut self.received).await?;
        self.place.is_active(Instant::now());
        Ok(received)
    }

    /// Answers one request, once the store has committed what it changed.
    async fn answer(&mut self, message: &[u8], line_end: &[u8]) -> Result<(), Failure> {
        let asker = self.introduce()?;
        let mut reply = Vec::new();
        let now = Instant::now().into_std();
        let answer = match self.shared.dispatcher.handle(now, &asker, message, &mut reply) {
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

    fn introduce(&self) -> Result<Asker, Failure> {
        let local = self.stream.local_addr()?.ip().to_canonical();
        let interfaces = self.shared.interfaces.get();
        Ok(Asker {
            host: Host::from(self.stream.peer_addr()?),
            is_here: interfaces.is_own(self.peer.ip()),
            reached: Some(local),
            link: interfaces.link_of(local),
            transport: Transport::Tcp,
        })
    }

    async fn linger(&mut self) {
        let mut rest = [0; 512];
        let drained = async { while matches!(self.stream.read(&mut rest).await, Ok(1..)) {} };
        // Either way the answer is on its way and the connection is done with.
        let _ = timeout(LINGER, drained).await;
    }
}
