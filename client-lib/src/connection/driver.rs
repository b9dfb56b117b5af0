//! The only task that touches the socket.

use std::collections::btree_map;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rpyc_protocol::rpc::{CloseReason, ObjectId, frame_len};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep_until};

use super::first_message::FirstMessage;
use super::memory_budget::Claim;
use super::shared::Shared;
use super::{heartbeat, serve};
use crate::{Disconnect, Local};

/// How much is read at a time: at first, as most connections are quiet, and at most.
const LEAST: usize = 4 << 10;
const MOST: usize = 64 << 10;

/// How many chunks are read before other tasks get their turn.
const CHUNKS: usize = 16;

/// How many objects are dropped before other tasks get their turn; a peer may have held a million.
const DROPS: usize = 4096;

/// How long the last words may take to be sent, and the peer to hang up after them.
const FAREWELL: Duration = Duration::from_secs(2);

/// The driver of a connection: run it to its end, usually in a separate task.
///
/// It gives why the connection ended. By then no task of the connection is left. Dropping it cuts
/// the connection.
#[derive(Debug)]
#[must_use = "a connection does not work unless its driver runs"]
pub struct Driver<S> {
    shared: Arc<Shared>,
    stream: S,
    chunk: Vec<u8>,
    /// The bytes that are being sent, and how many of them have been.
    out: Vec<u8>,
    sent: usize,
    /// The position of `sent` in a frame, if each frame is written by itself.
    frames: Option<Frames>,
    watched: Watched,
    must_flush: bool,
    /// Why nothing can be sent any more. A peer that left early may have sent
    /// something before, which is still read; but not for ever.
    broken: Option<(io::Error, Pin<Box<Sleep>>)>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The server and its handlers, and who pings the peer.
    server: JoinSet<()>,
    stage: Stage,
    /// What the peer held to the end.
    left_over: btree_map::IntoIter<ObjectId, Local>,
}

/// What the program that accepts connections keeps an eye on.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Where the first valid message of the peer is recorded, until it has come.
    pub(super) first_message: Option<FirstMessage>,
    /// What an unfinished frame takes of a budget.
    pub(super) claim: Option<Claim>,
}

impl Watched {
    fn is_cut(&self) -> bool {
        self.claim.as_ref().is_some_and(Claim::is_cut)
    }
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    New,
    Running,
    /// Over, but the last words are not out yet, or the peer has not hung up.
    Leaving {
        reason: Disconnect,
        until: Pin<Box<Sleep>>,
        is_shut: bool,
    },
    /// Only the server must still end.
    Stopping {
        reason: Disconnect,
    },
}

/// How much of the frame that is being written is left.
#[derive(Debug, Default)]
struct Frames {
    left: usize,
}

impl Frames {
    /// The bytes that may be written at once.
    fn next_of<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.left == 0 {
            // The session hands out whole frames, so a frame begins here.
            self.left = frame_len(bytes).unwrap_or(bytes.len());
        }
        bytes.get(..self.left).unwrap_or(bytes)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: S,
        is_frame_by_frame: bool,
        watched: Watched,
    ) -> Self {
        Self {
            shared,
            stream,
            chunk: vec![0; LEAST],
            out: Vec::new(),
            sent: 0,
            frames: is_frame_by_frame.then(Frames::default),
            watched,
            must_flush: false,
            broken: None,
            timer: None,
            server: JoinSet::new(),
            stage: Stage::New,
            left_over: btree_map::IntoIter::default(),
        }
    }

    fn run(&mut self, cx: &mut Context<'_>) -> Poll<Disconnect> {
        self.shared.with(|state| state.set_driver(cx.waker()));
        let mut failure = None;
        // Others may need the memory before or because of what is read.
        if self.watched.is_cut() {
            return Poll::Ready(self.give_up());
        }
        let is_busy = match self.read(cx) {
            Ok(is_busy) => is_busy,
            Err(error) => {
                failure = Some(error);
                false
            }
        };
        if self.watched.is_cut() {
            return Poll::Ready(self.give_up());
        }
        if let Some((_, until)) = &mut self.broken
            && until.as_mut().poll(cx).is_ready()
        {
            self.shared.with(|state| state.session.handle_eof());
        }
        loop {
            if let Some(reason) = self.act() {
                let broken = self.broken.take().map(|(error, _)| error);
                let reason = match failure.take().or(broken) {
                    Some(error) => Disconnect::Io(Arc::new(error)),
                    None => Disconnect::Closed(reason),
                };
                return Poll::Ready(reason);
            }
            let written = if self.broken.is_some() { Poll::Pending } else { self.write(cx) };
            match written {
                // There may be more by now.
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) | Poll::Pending => {
                    if self.wait(cx).is_pending() {
                        break;
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.broken = Some((error, Box::pin(tokio::time::sleep(FAREWELL))));
                    cx.waker().wake_by_ref();
                    break;
                }
            }
        }
        if is_busy {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Frees what the messages take, before others notice that the connection has ended.
    fn give_up(&mut self) -> Disconnect {
        self.shared.with(|state| state.session.abort());
        self.out = Vec::new();
        self.sent = 0;
        Disconnect::Crowded
    }

    /// Reads the available bytes; returns whether there may be more.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        for _ in 0..CHUNKS {
            let mut chunk = ReadBuf::new(&mut self.chunk);
            match Pin::new(&mut self.stream).poll_read(cx, &mut chunk) {
                Poll::Ready(Ok(())) if chunk.filled().is_empty() => {
                    self.shared.with(|state| state.session.handle_eof());
                    return Ok(false);
                }
                Poll::Ready(Ok(())) => {
                    let now = Instant::now().into_std();
                    let (is_first, has_heard, unfinished) = self.shared.with(|state| {
                        let was_ready = state.is_ready();
                        state.session.handle_bytes(now, chunk.filled());
                        state.received += 1;
                        let is_first = !was_ready && state.is_ready();
                        (is_first, state.session.has_heard(), state.session.unfinished())
                    });
                    if is_first {
                        self.shared.notify_room();
                    }
                    if has_heard && let Some(first) = self.watched.first_message.take() {
                        first.record();
                    }
                    if let Some(claim) = &mut self.watched.claim {
                        claim.set_unfinished(unfinished, has_heard, &self.shared);
                        if claim.is_cut() {
                            return Ok(false);
                        }
                    }
                    if chunk.remaining() == 0 && self.chunk.len() < MOST {
                        self.chunk.resize(self.chunk.len() * 4, 0);
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.shared.with(|state| state.session.handle_eof());
                    // Python hangs up without TLS's own goodbye; the session knows whether a frame
                    // was cut by it.
                    return if error.kind() == io::ErrorKind::UnexpectedEof {
                        Ok(false)
                    } else {
                        Err(error)
                    };
                }
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Acts on all events; gives why the conversation is over, when it is.
    fn act(&self) -> Option<CloseReason> {
        // Declared before the lock is taken, so that it is dropped after: it may be the last.
        let handle = self.shared.handle.upgrade();
        let (reason, has_requests) = self.shared.with(|state| {
            let mut reason = None;
            while let Some(event) = state.session.poll_event() {
                reason = state.on_event(event, handle.as_ref());
            }
            (reason, state.has_requests())
        });
        if has_requests {
            self.shared.requested.notify_one();
        }
        reason
    }

    /// Sends the pending bytes; returns whether there were any and all of them were sent.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut has_sent = false;
        loop {
            while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
                let piece = self.frames.as_mut().map_or(rest, |frames| frames.next_of(rest));
                let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, piece) else {
                    let (now, unsent) = (Instant::now().into_std(), rest.len());
                    self.shared.with(|state| state.session.handle_blocked(now, unsent));
                    return Poll::Pending;
                };
                let count = written?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.sent += count;
                if let Some(frames) = &mut self.frames {
                    frames.left -= count;
                }
                has_sent = true;
            }
            self.out.clear();
            self.sent = 0;
            let (is_more, was_ready) = self.shared.with(|state| {
                let was_ready = state.is_ready();
                (state.session.poll_transmit(&mut self.out), was_ready)
            });
            if !was_ready {
                self.shared.notify_room();
            }
            if !is_more {
                break;
            }
            self.must_flush = true;
        }
        if self.must_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.must_flush = false;
        }
        Poll::Ready(Ok(has_sent))
    }

    /// Waits for the next deadline; ready when one has come and been acted on.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (deadline, requests, unsent, handed_out) = self.shared.with(|state| {
            let session = &state.session;
            let (requests, unsent) = (session.serving_bytes(), session.stats().unsent);
            (session.poll_timeout(), requests, unsent, session.handed_out())
        });
        if let Some(claim) = &mut self.watched.claim {
            let rest = self.out.len().saturating_sub(self.sent);
            let (unread, sent) = (unsent + rest, handed_out.saturating_sub(rest as u64));
            claim.set_held(requests + unread, unread, sent, &self.shared);
        }
        let Some(deadline) = deadline else { return Poll::Pending };
        let deadline = Instant::from_std(deadline);
        // Deadlines come and go with every call; one that rings early costs less than to set it
        // anew.
        let timer = match &mut self.timer {
            Some(timer) => {
                if timer.is_elapsed() || timer.deadline() > deadline {
                    timer.as_mut().reset(deadline);
                }
                timer
            }
            none => none.insert(Box::pin(sleep_until(deadline))),
        };
        ready!(timer.as_mut().poll(cx));
        let now = Instant::now().into_std();
        self.shared.with(|state| state.session.handle_timeout(now));
        Poll::Ready(())
    }

    /// Sends the last words and waits for the peer to hang up, so that they reach it.
    fn leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Stage::Leaving { until, is_shut, .. } = &mut self.stage else { return Poll::Ready(()) };
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !*is_shut {
            let sent = match ready!(self.write(cx)) {
                Ok(_) => ready!(Pin::new(&mut self.stream).poll_shutdown(cx)),
                Err(error) => Err(error),
            };
            let Stage::Leaving { is_shut, .. } = &mut self.stage else { return Poll::Ready(()) };
            *is_shut = true;
            if sent.is_err() {
                return Poll::Ready(());
            }
        }
        loop {
            let mut chunk = ReadBuf::new(&mut self.chunk);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk)) {
                Ok(()) if !chunk.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    type Output = Disconnect;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Disconnect> {
        let this = &mut *self;
        loop {
            match &this.stage {
                Stage::New => {
                    this.server.spawn(serve::serve(this.shared.clone()));
                    if let Some(interval) = this.shared.ping_every {
                        this.server.spawn(heartbeat::watch(this.shared.clone(), interval));
                    }
                    this.stage = Stage::Running;
                }
                Stage::Running => {
                    let reason = ready!(this.run(cx));
                    this.left_over = this.shared.end(reason.clone()).into_iter();
                    this.watched.claim = None;
                    // An earlier reason stands.
                    let reason = this.shared.ended.borrow().clone().unwrap_or(reason);
                    let is_ours = matches!(
                        reason,
                        Disconnect::Closed(CloseReason::Local | CloseReason::Idle)
                    );
                    this.stage = if is_ours {
                        let until = Box::pin(tokio::time::sleep(FAREWELL));
                        Stage::Leaving { reason, until, is_shut: false }
                    } else {
                        Stage::Stopping { reason }
                    };
                }
                Stage::Leaving { reason, .. } => {
                    let reason = reason.clone();
                    ready!(this.leave(cx));
                    this.stage = Stage::Stopping { reason };
                }
                Stage::Stopping { reason } => {
                    let reason = reason.clone();
                    this.shared.left.send_replace(true);
                    while ready!(this.server.poll_join_next(cx)).is_some() {}
                    if this.left_over.by_ref().take(DROPS).count() == DROPS {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    return Poll::Ready(reason);
                }
            }
        }
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.shared.end(Disconnect::Aborted);
        self.shared.left.send_replace(true);
    }
}
