//! The sockets of one lane, read as one: in the order in which the system received their datagrams.
//!
//! Nearly always a lane has one socket. It has several where the registry listens on several addresses,
//! or hears broadcasts beside a socket that is bound to one address.

use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::net::{Clocks, Inbox, Incoming, UdpSocketPair, wall_clock};

/// The sockets of one lane, each with the datagrams that were read from it last.
#[derive(Debug)]
pub(super) struct Inlets {
    inlets: Vec<Inlet>,
    /// Of the datagrams that may be served, in this order.
    batch: Vec<Position>,
    /// When the last of them arrived.
    latest: Option<Instant>,
}

#[derive(Debug)]
struct Inlet {
    pair: UdpSocketPair,
    inbox: Inbox,
    /// How many datagrams of the inbox are, or were, in a batch.
    taken: usize,
    /// Whatever has reached this socket with a stamp up to this one is in the inbox, or was.
    known_up_to: Duration,
    /// Whether nothing was left when it was read last.
    was_emptied: bool,
}

/// Where a datagram is: the number of its socket, and its own in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    inlet: usize,
    at: usize,
    stamp: Duration,
    arrived: Instant,
}

/// A datagram that may be served.
#[derive(Debug)]
pub(super) struct Arrived<'a> {
    pub(super) incoming: &'a Incoming,
    /// Its bytes, or `None` if they are more than any request has.
    pub(super) message: Option<&'a [u8]>,
    /// By which socket it came.
    pub(super) inlet: usize,
    /// When it arrived: never before one that is served earlier.
    pub(super) arrived: Instant,
}

impl Inlets {
    pub(super) fn new(pairs: Vec<UdpSocketPair>) -> Self {
        let inlet = |pair| Inlet {
            pair,
            inbox: Inbox::new(),
            taken: 0,
            known_up_to: Duration::ZERO,
            was_emptied: true,
        };
        let inlets = pairs.into_iter().map(inlet).collect();
        Self { inlets, batch: Vec::new(), latest: None }
    }

    /// Waits until there may be a datagram that has not been in a batch.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.inlets.iter().all(Inlet::is_taken) {
            return Poll::Ready(Ok(()));
        }
        let mut ready = Poll::Pending;
        // Each socket must learn whom to wake.
        for inlet in &self.inlets {
            let polled = inlet.pair.hears.poll_readable(cx);
            if polled.is_ready() {
                ready = polled;
            }
        }
        ready
    }

    /// Reads the sockets. [`Inlets::get`] then returns the datagrams that may be served now. Returns the
    /// time, and whether nothing is left to read or to serve.
    pub(super) fn receive(&mut self) -> io::Result<(Instant, bool)> {
        self.batch.clear();
        let is_everything = match &mut self.inlets[..] {
            [only] => {
                (only.taken, only.known_up_to) = (0, Duration::MAX);
                only.pair.hears.try_recv(&mut only.inbox)?
            }
            several => read_all(several)?,
        };
        let clocks = Clocks::read();
        // What comes after this may come after something that is still to be read elsewhere.
        let known = self.inlets.iter().map(|inlet| inlet.known_up_to).min().unwrap_or_default();
        for (number, inlet) in self.inlets.iter_mut().enumerate() {
            let came = inlet.inbox.iter().enumerate().skip(inlet.taken);
            let came = came.map(|(at, (incoming, _))| (at, incoming.stamp));
            for (at, stamp) in came.take_while(|(_, stamp)| *stamp <= known) {
                inlet.taken += 1;
                self.batch.push(Position { inlet: number, at, stamp, arrived: clocks.now });
            }
        }
        self.batch.sort_by_key(|position| position.stamp);
        for position in &mut self.batch {
            let arrival = clocks.arrival(position.stamp);
            // The clocks are not read as exactly as datagrams follow one another.
            position.arrived = self.latest.map_or(arrival, |latest| latest.max(arrival));
            self.latest = Some(position.arrived);
        }
        Ok((clocks.now, is_everything && self.inlets.iter().all(Inlet::is_taken)))
    }

    /// How many datagrams may be served now.
    pub(super) fn len(&self) -> usize {
        self.batch.len()
    }

    /// One of the datagrams that may be served now, which are in the order of their arrival.
    pub(super) fn get(&self, at: usize) -> Option<Arrived<'_>> {
        let Position { inlet, at, arrived, .. } = *self.batch.get(at)?;
        let (incoming, message) = self.inlets.get(inlet)?.inbox.get(at)?;
        Some(Arrived { incoming, message, inlet, arrived })
    }

    /// How many datagrams the system has thrown away since the last time that this was asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        self.inlets.iter_mut().map(|inlet| inlet.inbox.take_dropped()).sum()
    }
}

impl Inlet {
    fn is_taken(&self) -> bool {
        self.taken >= self.inbox.len()
    }
}

/// Reads each socket of which everything has been taken; tells whether nothing was left at any.
fn read_all(inlets: &mut [Inlet]) -> io::Result<bool> {
    for inlet in inlets.iter_mut().filter(|inlet| inlet.is_taken()) {
        inlet.taken = 0;
        let before = wall_clock();
        inlet.was_emptied = inlet.pair.hears.try_recv(&mut inlet.inbox)?;
        if inlet.inbox.len() == 0 {
            // The runtime may have been told later of this socket than of the others.
            inlet.was_emptied = inlet.pair.hears.recv_now(&mut inlet.inbox)?;
        }
        let last = inlet.inbox.iter().map(|(incoming, _)| incoming.stamp).max();
        inlet.known_up_to = last.max(inlet.was_emptied.then_some(before)).unwrap_or(before);
    }
    Ok(inlets.iter().all(|inlet| inlet.was_emptied))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{IpAddr, UdpSocket};

    use super::*;
    use crate::net::{Interfaces, Plan, PlannedListener, bind};

    /// The sockets of the only lane of a registry that listens on these addresses, and its port.
    fn listen(hosts: &[IpAddr]) -> (Inlets, u16) {
        let hosts = hosts.to_vec();
        let listeners = vec![PlannedListener::Udp { sockets: 1 }];
        let plan = Plan { hosts, port: 0, needs_ipv6: false, listeners };
        let bound = bind(&plan, &Interfaces::default()).unwrap();
        let [pairs] = <[_; 1]>::try_from(bound.udp).unwrap();
        let port = pairs.first().unwrap().hears.local_addr().unwrap().port();
        (Inlets::new(pairs), port)
    }

    /// Receives so many datagrams; each is a number.
    async fn numbers(inlets: &mut Inlets, count: u32) -> Vec<u32> {
        let (mut numbers, mut latest) = (Vec::new(), None);
        while numbers.len() < count as usize {
            poll_fn(|cx| inlets.poll_readable(cx)).await.unwrap();
            inlets.receive().unwrap();
            for arrived in (0..inlets.len()).map(|at| inlets.get(at).unwrap()) {
                numbers.push(u32::from_be_bytes(arrived.message.unwrap().try_into().unwrap()));
                assert!(latest.is_none_or(|latest| latest <= arrived.arrived));
                latest = Some(arrived.arrived);
            }
        }
        numbers
    }

    #[cfg(all(target_os = "linux", not(feature = "portable")))]
    #[tokio::test]
    async fn datagrams_to_several_addresses_are_served_in_the_order_of_their_arrival() {
        const COUNT: u32 = 1000;
        let hosts = [1, 2, 3].map(|last| IpAddr::from([127, 0, 0, last]));
        let (mut inlets, port) = listen(&hosts);
        let client = UdpSocket::bind("127.0.0.9:0").unwrap();
        let to = move |number: u32| {
            // Long runs to one address as well as changes from each to the next.
            let host = (number / 7 + number % 5 * (number / 300 % 2)) as usize % hosts.len();
            (hosts[host], port)
        };
        let sending = std::thread::spawn(move || {
            for number in 0..COUNT {
                client.send_to(&number.to_be_bytes(), to(number)).unwrap();
            }
        });
        let numbers = numbers(&mut inlets, COUNT).await;
        sending.join().unwrap();
        assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_is_left_of_one_socket_is_served_though_nothing_more_comes() {
        let hosts = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
        let (mut inlets, port) = listen(&hosts);
        let client = UdpSocket::bind("127.0.0.9:0").unwrap();
        for number in 0..200_u32 {
            let host = hosts[usize::from(number >= 199)];
            client.send_to(&number.to_be_bytes(), (host, port)).unwrap();
        }
        assert_eq!(numbers(&mut inlets, 200).await.len(), 200);
    }
}
