//! The sockets of one lane, read as one, in the order in which the system received their datagrams.
//!
//! A lane nearly always has one socket. It has several if the registry listens on several
//! addresses, or receives broadcasts beside a socket that is bound to one address.

use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::net::{Clocks, Inbox, Incoming, UdpSocketPair};

/// The sockets of one lane, each with the datagrams that were last read from it.
#[derive(Debug)]
pub(super) struct Inlets {
    inlets: Vec<Inlet>,
    /// The positions of the datagrams that may be served, in this order.
    batch: Vec<Position>,
    /// The arrival of the last of them.
    latest: Option<Instant>,
}

#[derive(Debug)]
struct Inlet {
    pair: UdpSocketPair,
    /// The datagrams that were read before the latest read.
    older: Batch,
    /// The datagrams of the latest read.
    newer: Batch,
    /// Whether the latest read emptied the socket.
    was_emptied: bool,
}

/// Datagrams that were read together.
#[derive(Debug)]
struct Batch {
    inbox: Inbox,
    /// How many of them have been in [`Inlets::batch`].
    taken: usize,
}

/// The position of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// The number of its socket.
    inlet: usize,
    is_newer: bool,
    /// Its number in the inbox.
    at: usize,
    stamp: Duration,
    arrived: Instant,
}

/// A datagram that may be served.
#[derive(Debug)]
pub(super) struct Arrived<'a> {
    pub(super) incoming: &'a Incoming,
    /// Its bytes, or `None` if they exceed the size of a request.
    pub(super) message: Option<&'a [u8]>,
    /// The number of the socket that received it.
    pub(super) inlet: usize,
    /// Its time of arrival, never before that of a datagram served earlier.
    pub(super) arrived: Instant,
}

impl Inlets {
    pub(super) fn new(pairs: Vec<UdpSocketPair>) -> Self {
        let inlet = |pair| {
            let [older, newer] = [(); 2].map(|()| Batch { inbox: Inbox::new(), taken: 0 });
            Inlet { pair, older, newer, was_emptied: true }
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
        // Each socket must learn which task to wake.
        for inlet in &self.inlets {
            let polled = inlet.pair.receiver.poll_readable(cx);
            if polled.is_ready() {
                ready = polled;
            }
        }
        ready
    }

    /// Reads the sockets. [`Inlets::get`] then returns the datagrams that may be served now.
    /// Returns the time, and whether nothing is left to read or to serve.
    pub(super) fn receive(&mut self) -> io::Result<(Instant, bool)> {
        self.batch.clear();
        let (is_empty, until) = match &mut self.inlets[..] {
            [only] => {
                only.newer.taken = 0;
                (only.pair.receiver.try_recv(&mut only.newer.inbox)?, Duration::MAX)
            }
            several => (read_all(several)?, settled_until(several)),
        };
        let clocks = Clocks::read();
        for (number, inlet) in self.inlets.iter_mut().enumerate() {
            for (is_newer, part) in [(false, &mut inlet.older), (true, &mut inlet.newer)] {
                for (at, stamp) in part.untaken().take_while(|(_, stamp)| *stamp <= until) {
                    let arrived = clocks.now;
                    self.batch.push(Position { inlet: number, is_newer, at, stamp, arrived });
                }
            }
        }
        for position in &self.batch {
            if let Some(inlet) = self.inlets.get_mut(position.inlet) {
                inlet.part_mut(position.is_newer).taken += 1;
            }
        }
        self.batch.sort_by_key(|position| position.stamp);
        for position in &mut self.batch {
            let arrival = clocks.arrival(position.stamp);
            // The clocks are less exact than the order of the datagrams.
            position.arrived = self.latest.map_or(arrival, |latest| latest.max(arrival));
            self.latest = Some(position.arrived);
        }
        Ok((clocks.now, is_empty && self.inlets.iter().all(Inlet::is_taken)))
    }

    /// The number of datagrams that may be served now.
    pub(super) fn len(&self) -> usize {
        self.batch.len()
    }

    /// One of the datagrams that may be served now, in the order of their arrival.
    pub(super) fn get(&self, at: usize) -> Option<Arrived<'_>> {
        let Position { inlet, is_newer, at, arrived, .. } = *self.batch.get(at)?;
        let (incoming, message) = self.inlets.get(inlet)?.part(is_newer).inbox.get(at)?;
        Some(Arrived { incoming, message, inlet, arrived })
    }

    /// The number of datagrams that the system has dropped since the last call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        let inlets = self.inlets.iter_mut();
        inlets.map(|it| it.older.inbox.take_dropped() + it.newer.inbox.take_dropped()).sum()
    }
}

impl Inlet {
    fn is_taken(&self) -> bool {
        self.older.is_taken() && self.newer.is_taken()
    }

    fn part(&self, is_newer: bool) -> &Batch {
        if is_newer { &self.newer } else { &self.older }
    }

    fn part_mut(&mut self, is_newer: bool) -> &mut Batch {
        if is_newer { &mut self.newer } else { &mut self.older }
    }
}

impl Batch {
    fn is_taken(&self) -> bool {
        self.taken >= self.inbox.len()
    }

    /// The numbers and stamps of the datagrams that have not been taken.
    fn untaken(&self) -> impl Iterator<Item = (usize, Duration)> {
        let stamps = self.inbox.iter().map(|(incoming, _)| incoming.stamp);
        stamps.enumerate().skip(self.taken)
    }
}

/// Reads each socket whose inbox is free. Returns whether all sockets were emptied.
fn read_all(inlets: &mut [Inlet]) -> io::Result<bool> {
    for inlet in inlets.iter_mut() {
        if inlet.older.is_taken() {
            std::mem::swap(&mut inlet.older, &mut inlet.newer);
            inlet.newer.taken = inlet.newer.inbox.len();
        }
        if !inlet.newer.is_taken() {
            // More may have arrived since then.
            inlet.was_emptied = false;
            continue;
        }
        let Batch { inbox, taken } = &mut inlet.newer;
        *taken = 0;
        inlet.was_emptied = inlet.pair.receiver.try_recv(inbox)?;
        if inbox.len() == 0 {
            // The runtime may report this socket as readable later than the others.
            inlet.was_emptied = inlet.pair.receiver.recv_now(inbox)?;
        }
    }
    Ok(inlets.iter().all(|inlet| inlet.was_emptied))
}

/// The stamp up to which the order of the datagrams at these sockets is settled.
///
/// The system stamps a datagram shortly before it reaches its socket. So a datagram may be missing
/// whose stamp is lower than that of one already read elsewhere. It has been read once all sockets
/// have been read again, so all datagrams from before that read are settled. A socket that was not
/// emptied is settled up to its last datagram read.
fn settled_until(inlets: &[Inlet]) -> Duration {
    let last = |part: &Batch| part.inbox.iter().map(|(incoming, _)| incoming.stamp).max();
    let before = inlets.iter().filter(|inlet| !inlet.older.is_taken());
    let before = before.filter_map(|inlet| last(&inlet.older)).max();
    let read = inlets.iter().filter(|inlet| !inlet.was_emptied);
    let read = read.filter_map(|inlet| last(&inlet.newer).max(last(&inlet.older))).min();
    before.unwrap_or_default().min(read.unwrap_or(Duration::MAX))
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
        let port = pairs.first().unwrap().receiver.local_addr().unwrap().port();
        (Inlets::new(pairs), port)
    }

    /// Receives `count` datagrams and returns the number in each.
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

    /// Waits until the system stamps datagrams on arrival. On each processor it begins shortly
    /// after the request.
    #[cfg(all(target_os = "linux", not(feature = "portable")))]
    async fn wait_for_stamps(inlets: &mut Inlets, client: &UdpSocket, to: (IpAddr, u16)) {
        let mut in_a_row = 0;
        while in_a_row < 100 {
            client.send_to(&[0; 4], to).unwrap();
            poll_fn(|cx| inlets.poll_readable(cx)).await.unwrap();
            let read = crate::net::wall_clock();
            inlets.receive().unwrap();
            while inlets.len() == 0 || !inlets.inlets.iter().all(Inlet::is_taken) {
                inlets.receive().unwrap();
            }
            let is_stamped = inlets.get(0).unwrap().incoming.stamp < read;
            in_a_row = if is_stamped { in_a_row + 1 } else { 0 };
        }
    }

    #[cfg(all(target_os = "linux", not(feature = "portable")))]
    #[tokio::test]
    async fn datagrams_to_several_addresses_are_served_in_the_order_of_their_arrival() {
        const COUNT: u32 = 1000;
        let hosts = [1, 2, 3].map(|last| IpAddr::from([127, 0, 0, last]));
        let (mut inlets, port) = listen(&hosts);
        let client = UdpSocket::bind("127.0.0.9:0").unwrap();
        wait_for_stamps(&mut inlets, &client, (hosts[0], port)).await;
        let to = move |number: u32| {
            // Long runs to one address, and changes between all of them.
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
