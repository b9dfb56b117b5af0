//! One question over UDP: sent again until an answer comes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::exchange::{Asking, Failure, Reply};
use super::native::RegistryProtocol;
use super::page;
use super::question::{Question, Reading};
use super::route::Route;
use crate::Fault;

/// The largest datagram.
const MAX_DATAGRAM: usize = 65_535;

/// How long to listen on for a better answer after one that is not the wanted: behind a broadcast
/// another registry may know more, and what looks like no answer may be a stray.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long to wait for an answer in the preferred encoding before the others are tried, and, once
/// an answer in another has come, at least: as long as that took if it was longer.
const LEAST_PATIENCE: Duration = Duration::from_millis(50);

/// How long to wait for an answer from among many once any registry has answered that it knows
/// nothing. Usually no other exists, and this is time for two datagrams to be lost.
const ENOUGH: Duration = Duration::from_millis(700);

/// Asks by `route` until an answer comes or `deadline` has passed.
///
/// Sends the preferred encoding first, and the others if no answer comes at once: a registry that
/// understands the preferred one has no use for the others. One that is known to understand it
/// (`protocol`) has half of the time to answer.
///
/// # Cancel safety
/// Dropping the future abandons the answer; the request may have been sent.
pub(super) async fn ask<A>(
    route: &Route,
    asking: &Asking<'_, A>,
    protocol: Option<RegistryProtocol>,
) -> Result<Reply<A>, Failure> {
    let fault = |error| Failure::from(Fault::from_io(error, route.to_many));
    let (socket, local) = open(route)?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut gaps = Gaps::default();
    let mut repeats = Repeats::new(asking.question);
    let mut held = None;
    // The reason to give if nothing better comes.
    let mut unproven = None;
    let mut until = asking.deadline;
    let started = Instant::now();
    let enough = started + ENOUGH;
    let (preferred, all) = (1, asking.question.requests.len());
    let mut encodings = preferred.min(all);
    let mut others = started
        + match protocol {
            Some(RegistryProtocol::Native) => {
                asking.deadline.saturating_duration_since(started) / 2
            }
            _ => LEAST_PATIENCE,
        };
    send(&socket, route, asking.question, 0..encodings).await.map_err(fault)?;
    let mut resend = Instant::now() + gaps.next_gap();
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let (len, from) = received.map_err(fault)?;
                // Registries answer from the port that they listen on.
                if from.port() != route.to.port() {
                    tracing::debug!(%from, "ignored an answer from another port");
                    continue;
                }
                let bytes = buffer.get(..len).unwrap_or_default();
                if !asking.question.may_be_answered_by(bytes, encodings) {
                    tracing::debug!(%from, "ignored an answer to another request");
                    if let Some(fault) = asking.question.refusal_without_number(bytes) {
                        unproven = Some(Failure { fault, responder: Some(from) });
                    }
                    continue;
                }
                let outcome = match (asking.question.read)(bytes) {
                    Reading::Answer(answer) => return Ok(Reply::new(answer, bytes, from, local)),
                    Reading::Provisional(answer) => Ok(Reply::new(answer, bytes, from, local)),
                    Reading::Fault(fault) => {
                        asking.note(&fault);
                        Err(Failure { fault, responder: Some(from) })
                    }
                    Reading::Cookie(cookie) => {
                        if let Some(request) = repeats.with_cookie(from, cookie) {
                            send_to(&socket, route, request, from).await.map_err(fault)?;
                        }
                        continue;
                    }
                };
                if let Err(failure) = &outcome
                    && failure.is_final(asking.question.requests.len())
                    && !route.to_many
                {
                    return outcome;
                }
                if outcome.is_err() {
                    // Another encoding may do better.
                    others = Instant::now();
                } else if held.is_none() {
                    // It may be a datagram that was lost.
                    send(&socket, route, asking.question, 0..preferred).await.map_err(fault)?;
                }
                if held.is_none() {
                    let took = started.elapsed().clamp(LEAST_PATIENCE, PATIENCE);
                    let is_good = outcome.is_ok() && !route.to_many;
                    until = until.min(Instant::now() + if is_good { took } else { PATIENCE });
                }
                held = Some(better(held, outcome));
            }
            _ = asking.is_unknown.wait(), if route.to_many && until > enough => until = enough,
            () = sleep_until(others), if encodings < all => {
                send(&socket, route, asking.question, encodings..all).await.map_err(fault)?;
                encodings = all;
            }
            () = sleep_until(resend.min(until)) => {
                if Instant::now() >= until {
                    let silence = || Err(unproven.unwrap_or_else(|| Fault::NoReply.into()));
                    return held.unwrap_or_else(silence);
                }
                repeats.send(&socket, route, encodings).await.map_err(fault)?;
                resend = Instant::now() + gaps.next_gap();
            }
        }
    }
}

/// Of two outcomes that are not final, the one to return in the end.
fn better<A>(
    held: Option<Result<Reply<A>, Failure>>,
    new: Result<Reply<A>, Failure>,
) -> Result<Reply<A>, Failure> {
    match (held, new) {
        (None, new) | (Some(Err(_)), new @ Ok(_)) => new,
        (Some(Err(old)), Err(new)) if new.fault.rank() > old.fault.rank() => Err(new),
        (Some(held), _) => held,
    }
}

/// Sends some of the encodings of a question.
async fn send<A>(
    socket: &UdpSocket,
    route: &Route,
    question: &Question<A>,
    which: Range<usize>,
) -> io::Result<()> {
    for request in question.requests.get(which).unwrap_or_default() {
        if route.to_many {
            socket.send_to(request, route.to).await?;
        } else {
            socket.send(request).await?;
        }
    }
    Ok(())
}

/// Sends a request to one of the registries that have answered.
async fn send_to(
    socket: &UdpSocket,
    route: &Route,
    request: &[u8],
    to: SocketAddr,
) -> io::Result<()> {
    if route.to_many {
        socket.send_to(request, to).await?;
    } else {
        socket.send(request).await?;
    }
    Ok(())
}

/// The requests to repeat: those of the question, and the same with the cookies of registries that
/// want one.
struct Repeats<'a, A> {
    question: &'a Question<A>,
    /// The request for each of these registries, and how often it got another cookie.
    proven: Vec<(SocketAddr, Vec<u8>, u32)>,
}

/// The most registries that a request is repeated for with a cookie.
const MOST_PROVEN: usize = 32;

/// The most cookies that one registry may ask for: it wants a newer one if the first was on its way
/// for too long.
const MOST_COOKIES: u32 = 4;

impl<'a, A> Repeats<'a, A> {
    fn new(question: &'a Question<A>) -> Self {
        Self { question, proven: Vec::new() }
    }

    /// The request with the cookie that a registry has sent; `None` if it has sent too many.
    fn with_cookie(&mut self, from: SocketAddr, cookie: String) -> Option<&[u8]> {
        let request = self.question.requests.first()?;
        let request = page::with_cookie(request, cookie)?;
        let known = self.proven.iter().position(|(registry, ..)| *registry == from);
        let at = match known {
            Some(at) => at,
            None if self.proven.len() < MOST_PROVEN => {
                self.proven.push((from, Vec::new(), 0));
                self.proven.len() - 1
            }
            None => return None,
        };
        let (_, proven, count) = self.proven.get_mut(at)?;
        *count += 1;
        *proven = request;
        (*count <= MOST_COOKIES).then_some(&**proven)
    }

    /// Sends some of the encodings of the question, and the requests with cookies. A single
    /// registry that has sent a cookie has no use for the request without one.
    async fn send(&self, socket: &UdpSocket, route: &Route, encodings: usize) -> io::Result<()> {
        if route.to_many || self.proven.is_empty() {
            send(socket, route, self.question, 0..encodings).await?;
        }
        for (registry, request, _) in &self.proven {
            send_to(socket, route, request, *registry).await?;
        }
        Ok(())
    }
}

/// Opens a socket for `route` and returns the address of this machine that its requests leave from.
///
/// For a single machine the socket is connected, so that the system reports at once when
/// nothing listens there.
fn open(route: &Route) -> Result<(UdpSocket, SocketAddr), Fault> {
    let fault = |error| Fault::from_io(error, route.to_many);
    let socket = Socket::new(Domain::for_address(route.to), Type::DGRAM, Some(Protocol::UDP))
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .map_err(fault)?;
    if route.to_many {
        let from = source(route).map_err(fault)?;
        socket.set_broadcast(true).map_err(fault)?;
        if let SocketAddr::V6(v6) = route.to {
            socket.set_multicast_if_v6(v6.scope_id()).map_err(fault)?;
        }
        socket.bind(&from.into()).map_err(Fault::Source)?;
    } else {
        if let Some(from) = route.from {
            socket.bind(&from.into()).map_err(Fault::Source)?;
        }
        socket.connect(&route.to.into()).map_err(fault)?;
    }
    let socket = UdpSocket::from_std(socket.into()).map_err(fault)?;
    let local = socket.local_addr().map_err(fault)?;
    Ok((socket, local))
}

/// The address that the system would send from. A socket that is not connected does not show it.
fn source(route: &Route) -> io::Result<SocketAddr> {
    if let Some(from) = route.from {
        return Ok(from);
    }
    let socket = Socket::new(Domain::for_address(route.to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_broadcast(true)?;
    socket.connect(&SockAddr::from(route.to))?;
    let mut from = socket.local_addr()?.as_socket().unwrap_or_else(|| match route.to {
        SocketAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        SocketAddr::V6(_) => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    });
    from.set_port(0);
    Ok(from)
}

/// The growing gaps between sending and sending again.
#[derive(Debug)]
struct Gaps {
    next: Duration,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { next: Duration::from_millis(200) }
    }
}

impl Gaps {
    /// Each gap is about twice as long as the last, off by up to a fifth so that programs that
    /// started together do not stay together.
    fn next_gap(&mut self) -> Duration {
        let gap = self.next.mul_f64(0.8 + 0.4 * fastrand::f64());
        self.next *= 2;
        gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::Scripted;

    /// Answers `()` and then `("FOO",)` together.
    async fn two_minded() -> (Scripted, SocketAddr) {
        let registry = Scripted::udp(|_| vec![b"\x02".to_vec(), b"\x10\x08\x0cFOO".to_vec()]).await;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, registry.addr().port()));
        (registry, to)
    }

    async fn list(to: SocketAddr, to_many: bool) -> Result<Vec<String>, Failure> {
        let route = Route { to, from: None, to_many };
        let question = Question::list(None);
        let asking = Asking::new(&question, Instant::now() + Duration::from_secs(20));
        ask(&route, &asking, None).await.map(|reply| reply.answer)
    }

    #[tokio::test]
    async fn among_many_a_later_answer_may_know_more() {
        let (_registry, to) = two_minded().await;
        assert_eq!(list(to, true).await.unwrap(), ["FOO"]);
        assert!(matches!(list(to, false).await.unwrap_err().fault, Fault::Unknown));
    }

    #[tokio::test]
    async fn among_many_an_empty_answer_counts_if_no_other_comes() {
        let registry = Scripted::udp(|_| vec![b"\x02".to_vec()]).await;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, registry.addr().port()));
        let started = Instant::now();
        let failure = list(to, true).await.unwrap_err();
        assert!(matches!(failure.fault, Fault::Unknown));
        assert_eq!(failure.responder, Some(to));
        assert!(started.elapsed() >= PATIENCE && started.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn silence_among_many_is_cut_short_by_anybodys_word() {
        let registry = Scripted::udp(|_| vec![]).await;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, registry.addr().port()));
        let question = Question::list(None);
        let asking = Asking::new(&question, Instant::now() + Duration::from_secs(20));
        asking.note(&Fault::Unknown);
        let started = Instant::now();
        let route = Route { to, from: None, to_many: true };
        let failure = ask(&route, &asking, None).await.unwrap_err();
        assert!(matches!(failure.fault, Fault::NoReply));
        assert!(started.elapsed() >= ENOUGH && started.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn an_answer_from_another_port_is_ignored() {
        let asked = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let intruder = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = asked.local_addr().unwrap();
        let answering = async {
            let (_, from) = asked.recv_from(&mut [0; 100]).await.unwrap();
            intruder.send_to(b"\x10\x08\x0aX", from).await.unwrap();
            asked.send_to(b"\x10\x08\x0aY", from).await.unwrap();
        };
        let (answer, ()) = tokio::join!(list(to, true), answering);
        assert_eq!(answer.unwrap(), ["Y"]);
    }

    #[test]
    fn gaps_grow() {
        let mut gaps = Gaps::default();
        for expected in [200, 400, 800, 1600] {
            let (gap, expected) = (gaps.next_gap(), Duration::from_millis(expected));
            assert!(gap >= expected.mul_f64(0.79) && gap <= expected.mul_f64(1.21), "{gap:?}");
        }
    }
}
