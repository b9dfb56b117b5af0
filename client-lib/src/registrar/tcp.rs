//! One question over TCP: one connection for each request.

use std::time::Duration;

use rpyc_protocol::brine::Extent;
use rpyc_protocol::registry::native;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::ask::{Failure, Reply};
use super::question::{LIMITS, Question, Reading};
use crate::Fault;
use crate::route::Route;

/// How long a registry may take to answer a request that it may not understand, before the next
/// encoding is tried. RPyC's own neither answers such a request nor closes the connection.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks by `route` until an answer comes or `deadline` has passed, leaving out the first `skip`
/// encodings.
///
/// # Cancel safety
/// Dropping the future closes the connection; the request may have been sent.
pub(super) async fn ask<A>(
    route: &Route,
    question: &Question<A>,
    skip: usize,
    deadline: Instant,
) -> Result<Reply<A>, Failure> {
    let mut requests = question.requests.iter().skip(skip).peekable();
    let mut outcome = Err(Fault::NoReply.into());
    while let Some(request) = requests.next() {
        let is_last = requests.peek().is_none();
        let until = if is_last { deadline } else { deadline.min(Instant::now() + PATIENCE) };
        outcome = match timeout_at(until, ask_once(route, request, question.read)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::NoReply.into()),
        };
        match &outcome {
            Err(failure) if !is_last && failure.may_be_the_encodings() => {}
            _ => break,
        }
    }
    outcome
}

async fn ask_once<A>(
    route: &Route,
    request: &[u8],
    read: fn(&[u8]) -> Reading<A>,
) -> Result<Reply<A>, Failure> {
    let fault = |error| Fault::from_io(error, false);
    let mut stream = connect(route).await?;
    let local = stream.local_addr().map_err(fault)?;
    stream.write_all(request).await.map_err(fault)?;
    let bytes = read_answer(&mut stream).await?;
    match read(&bytes) {
        Reading::Answer(answer) | Reading::Provisional(answer) => {
            Ok(Reply { answer, from: route.to, local })
        }
        Reading::Fault(fault) => Err(Failure { fault, responder: Some(route.to) }),
    }
}

async fn connect(route: &Route) -> Result<TcpStream, Fault> {
    let fault = |error| Fault::from_io(error, false);
    let socket = if route.to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(fault)?;
    if let Some(from) = route.from {
        socket.bind(from).map_err(Fault::Source)?;
    }
    socket.set_nodelay(true).map_err(fault)?;
    socket.connect(route.to).await.map_err(fault)
}

/// Reads one answer, whichever of the encodings it is in, or what there is when the stream ends.
async fn read_answer(stream: &mut TcpStream) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut extent = Extent::new(&LIMITS);
    let mut seen = 0;
    loop {
        let len =
            stream.read_buf(&mut bytes).await.map_err(|error| Fault::from_io(error, false))?;
        let new = bytes.get(seen..).unwrap_or_default();
        seen = bytes.len();
        let is_whole = match bytes.first() {
            None => return Err(Fault::Closed),
            Some(&first) if native::is_native(first) => {
                new.contains(&b'\n') || bytes.len() > LIMITS.bytes
            }
            Some(_) => extent.feed(new).map_err(Fault::Undecodable)?.is_some(),
        };
        if is_whole || len == 0 {
            return Ok(bytes);
        }
    }
}
