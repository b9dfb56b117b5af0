//! One question over a stream, TCP or a unix socket: one connection for each request.

use std::fmt::Debug;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use rpyc_protocol::brine::Extent;
use rpyc_protocol::registry::native;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::exchange::{Asking, Failure, Reply};
use super::native::RegistryProtocol;
use super::page;
use super::question::{LIMITS, Reading};
use super::route::Route;
use crate::Fault;

/// How long a registry that is near may take to answer a request that it may not understand, before
/// the next encoding is tried; one that is far away has four times as long as connecting took.
/// RPyC's own neither answers such a request nor closes the connection.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks at `destination` until an answer comes or `deadline` has passed.
///
/// A registry that is known to speak RPyC's encoding alone is asked in that; one that is known to
/// speak both has half the time to answer in the better.
///
/// # Cancel safety
/// Dropping the future closes the connection; the request may have been sent.
pub(super) async fn ask<A>(
    destination: Destination<'_>,
    asking: &Asking<'_, A>,
    protocol: Option<RegistryProtocol>,
) -> Result<Reply<A>, Failure> {
    let encodings = asking.question.requests.len();
    let skip =
        if protocol == Some(RegistryProtocol::Legacy) { encodings.saturating_sub(1) } else { 0 };
    let patience = match protocol {
        Some(RegistryProtocol::Native) => {
            asking.deadline.saturating_duration_since(Instant::now()) / 2
        }
        _ => Duration::ZERO,
    };
    let mut requests = asking.question.requests.iter().skip(skip).peekable();
    let mut outcome = Err(Fault::NoReply.into());
    while let Some(request) = requests.next() {
        let is_last = requests.peek().is_none();
        let patience = (!is_last).then_some(patience.max(PATIENCE));
        let asked = ask_once(destination, request, asking, patience);
        outcome = match timeout_at(asking.deadline, asked).await {
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
    destination: Destination<'_>,
    request: &[u8],
    asking: &Asking<'_, A>,
    patience: Option<Duration>,
) -> Result<Reply<A>, Failure> {
    let started = Instant::now();
    let Connected { mut stream, to, local } = connect(destination).await?;
    let patience = patience.map(|least| least.max(started.elapsed() * 4));
    stream.write_all(request).await.map_err(fault)?;
    let answer = read_answer(&mut stream);
    let bytes = match patience {
        None => answer.await?,
        Some(patience) => timeout(patience, answer).await.unwrap_or(Err(Fault::NoReply))?,
    };
    if asking.question.is_of_another(&bytes) {
        return Err(Failure { fault: page::not_a_reply(), responder: Some(to) });
    }
    match (asking.question.read)(&bytes) {
        Reading::Answer(answer) | Reading::Provisional(answer) => {
            Ok(Reply::new(answer, &bytes, to, local))
        }
        Reading::Fault(fault) => {
            asking.note(&fault);
            Err(Failure { fault, responder: Some(to) })
        }
        // A connection proves its source.
        Reading::Cookie(_) => Err(Failure { fault: page::not_a_reply(), responder: Some(to) }),
    }
}

/// Where a registry accepts connections.
#[derive(Clone, Copy, Debug)]
pub(super) enum Destination<'a> {
    /// A TCP port.
    Network(&'a Route),
    /// A unix socket of this machine.
    Path(&'a Path),
}

/// A stream of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Sync + Unpin> Stream for S {}

/// A connection to a registry, and the addresses of both ends. The ends of a unix socket have none,
/// so these stand for this machine.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: Box<dyn Stream>,
    pub(super) to: SocketAddr,
    pub(super) local: SocketAddr,
}

pub(super) async fn connect(destination: Destination<'_>) -> Result<Connected, Fault> {
    match destination {
        Destination::Network(route) => {
            let stream = connect_tcp(route).await?;
            let local = stream.local_addr().map_err(fault)?;
            Ok(Connected { stream: Box::new(stream), to: route.to, local })
        }
        Destination::Path(path) => {
            let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            Ok(Connected { stream: connect_unix(path).await?, to: here, local: here })
        }
    }
}

async fn connect_tcp(route: &Route) -> Result<TcpStream, Fault> {
    let socket = if route.to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(fault)?;
    if let Some(from) = route.from {
        socket.bind(from).map_err(Fault::Source)?;
    }
    socket.set_nodelay(true).map_err(fault)?;
    socket.connect(route.to).await.map_err(fault)
}

#[cfg(unix)]
async fn connect_unix(path: &Path) -> Result<Box<dyn Stream>, Fault> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Fault::NothingListens),
        Err(error) => Err(fault(error)),
    }
}

#[cfg(not(unix))]
async fn connect_unix(_path: &Path) -> Result<Box<dyn Stream>, Fault> {
    let message = "this system has no unix sockets";
    Err(Fault::Source(io::Error::new(io::ErrorKind::Unsupported, message)))
}

/// Reads one answer, in either encoding, or the bytes until the stream ends.
async fn read_answer(stream: &mut Box<dyn Stream>) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut extent = Extent::new(&LIMITS);
    let mut seen = 0;
    loop {
        let len = stream.read_buf(&mut bytes).await.map_err(fault)?;
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

pub(super) fn fault(error: io::Error) -> Fault {
    match error.kind() {
        // Bytes that were sent and not read when the other end closed come back as a reset.
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset => Fault::Closed,
        _ => Fault::from_io(error, false),
    }
}
