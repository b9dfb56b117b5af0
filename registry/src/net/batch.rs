//! Batches of datagrams: buffers for requests, and answers that wait to be sent.

use std::io;
use std::net::IpAddr;
use std::ops::Range;

use super::{Incoming, Outgoing};
use crate::limits::MAX_REQUEST;

/// The most datagrams that one call receives or sends.
pub(crate) const BATCH: usize = 64;

/// The fewest datagrams that a call has buffers for. Each buffer takes time to prepare.
const FEWEST: usize = 8;

/// The distance between two buffers. The system allocates memory only on the first write, so short
/// datagrams take a page each. It is not a power of two, so that the pages do not all compete for
/// one cache line.
const STRIDE: usize = MAX_REQUEST + 320;

/// Buffers for a batch of datagrams, and the datagrams of the last batch.
#[derive(Debug)]
pub(crate) struct Inbox {
    room: Vec<u8>,
    pub(super) came: Vec<Incoming>,
    /// The number of buffers for the next batch.
    pub(super) ready: usize,
    /// The system's last count of datagrams dropped for lack of room.
    dropped_before: u32,
    /// The dropped datagrams that have not been reported yet.
    dropped: u64,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            room: vec![0; STRIDE * BATCH],
            came: Vec::with_capacity(BATCH),
            ready: FEWEST,
            dropped_before: 0,
            dropped: 0,
        }
    }

    /// The buffers, each as long as the longest request.
    pub(super) fn rooms(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.room.chunks_exact_mut(STRIDE).filter_map(|room| room.get_mut(..MAX_REQUEST))
    }

    /// The number of datagrams in the last batch.
    pub(crate) fn len(&self) -> usize {
        self.came.len()
    }

    /// A datagram of the last batch, with its bytes, or `None` if it is longer than any request.
    pub(crate) fn get(&self, at: usize) -> Option<(&Incoming, Option<&[u8]>)> {
        let incoming = self.came.get(at)?;
        let is_request = incoming.len <= MAX_REQUEST;
        let bytes = self.room.get(at * STRIDE..).and_then(|room| room.get(..incoming.len));
        Some((incoming, bytes.filter(|_| is_request)))
    }

    /// The datagrams of the last batch, as [`Inbox::get`] returns them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Incoming, Option<&[u8]>)> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// The number of datagrams that the system has dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Records the system's count of dropped datagrams, which wraps round.
    #[cfg_attr(
        not(any(test, all(target_os = "linux", not(feature = "portable")))),
        expect(dead_code, reason = "not every system reports it")
    )]
    pub(super) fn note_dropped(&mut self, count: u32) {
        self.dropped += u64::from(count.wrapping_sub(self.dropped_before));
        self.dropped_before = count;
    }

    /// Ends a batch; returns whether buffers were left, that is, whether no datagram is waiting.
    pub(super) fn close(&mut self) -> bool {
        let (came, ready) = (self.came.len(), self.ready);
        self.ready = (came * 2).clamp(FEWEST, BATCH);
        came < ready
    }
}

/// Answers that wait to be sent together.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    answers: Vec<Answer>,
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    bytes: Range<usize>,
    pub(super) way: Outgoing,
}

/// The most bytes of answers that are sent together, unless a single answer has more.
const OUTBOX_BYTES: usize = 64 << 10;

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(OUTBOX_BYTES), answers: Vec::with_capacity(BATCH) }
    }

    /// Whether an answer of `len` bytes fits without growing.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.answers.len() < BATCH && len <= OUTBOX_BYTES.saturating_sub(self.bytes.len())
    }

    pub(crate) fn push(&mut self, bytes: &[u8], way: Outgoing) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.answers.push(Answer { bytes: start..self.bytes.len(), way });
    }

    /// Passes the answers of each local address to `send` together, and empties the outbox.
    pub(super) fn drain(&mut self, mut send: impl FnMut(Source, &[Answer], &[u8])) {
        let source = |answer: &Answer| answer.way.source();
        // There is nearly always one source.
        if !self.answers.is_sorted_by_key(source) {
            // The sort is stable, so the answers of each source keep their order.
            self.answers.sort_by_key(source);
        }
        for group in self.answers.chunk_by(|one, next| source(one) == source(next)) {
            let Some(first) = group.first() else { continue };
            send(source(first), group, &self.bytes);
        }
        self.answers.clear();
        self.bytes.clear();
    }
}

impl Answer {
    pub(super) fn bytes<'b>(&self, all: &'b [u8]) -> &'b [u8] {
        all.get(self.bytes.clone()).unwrap_or_default()
    }
}

/// The source of an answer: an address, and the interface if the address is link-local.
pub(super) type Source = (Option<IpAddr>, u32);

impl Outgoing {
    fn source(&self) -> Source {
        let is_local = matches!(self.from, Some(IpAddr::V6(ip)) if ip.is_unicast_link_local());
        (self.from, if is_local { self.link } else { 0 })
    }
}

/// Sends all datagrams by calls that each send as many as they can from an index on, and fail at
/// the first that cannot be sent. Reports each failure to `failed`; it does not affect the others.
pub(super) fn send_all(
    len: usize,
    mut send_from: impl FnMut(usize) -> io::Result<usize>,
    mut failed: impl FnMut(usize, &io::Error),
) {
    let mut at = 0;
    while at < len {
        match send_from(at) {
            Ok(sent) if sent > 0 => at += sent,
            Ok(_) => {
                failed(at, &io::ErrorKind::WriteZero.into());
                at += 1;
            }
            Err(error) => {
                failed(at, &error);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn way(to: u16, from: Option<&str>, link: u32) -> Outgoing {
        let from = from.map(|ip| ip.parse().unwrap());
        Outgoing { to: SocketAddr::from(([127, 0, 0, 1], to)), from, link }
    }

    fn groups(ways: &[Outgoing]) -> Vec<(Option<String>, Vec<u16>)> {
        let mut outbox = Outbox::new();
        for way in ways {
            outbox.push(&way.to.port().to_be_bytes(), *way);
        }
        let mut groups = Vec::new();
        outbox.drain(|(from, _), group, bytes| {
            let read = |answer: &Answer| {
                let port = u16::from_be_bytes(answer.bytes(bytes).try_into().unwrap());
                assert_eq!(port, answer.way.to.port(), "each goes its own way");
                port
            };
            groups.push((from.map(|ip| ip.to_string()), group.iter().map(read).collect()));
        });
        assert!(outbox.answers.is_empty() && outbox.has_room(OUTBOX_BYTES));
        groups
    }

    #[test]
    fn answers_are_grouped_by_where_they_leave_from_and_keep_their_order() {
        let (a, b) = (Some("10.0.0.1"), Some("10.0.0.2"));
        let one = [way(1, a, 2), way(2, a, 3), way(3, a, 2)];
        assert_eq!(groups(&one), [(a.map(str::to_owned), vec![1, 2, 3])]);
        let two = [way(1, b, 2), way(2, a, 2), way(3, b, 2), way(4, a, 2), way(5, None, 0)];
        let expected = [
            (None, vec![5]),
            (a.map(str::to_owned), vec![2, 4]),
            (b.map(str::to_owned), vec![1, 3]),
        ];
        assert_eq!(groups(&two), expected);
        assert_eq!(groups(&[]), []);
    }

    #[test]
    fn the_same_link_local_address_on_two_links_is_two() {
        let local = Some("fe80::1");
        let ways = [way(1, local, 2), way(2, local, 3), way(3, local, 2)];
        let expected =
            [(local.map(str::to_owned), vec![1, 3]), (local.map(str::to_owned), vec![2])];
        assert_eq!(groups(&ways), expected);
    }

    #[test]
    fn an_outbox_is_full_of_answers_or_of_bytes() {
        let mut outbox = Outbox::new();
        for port in 0..64 {
            assert!(outbox.has_room(2));
            outbox.push(&[0; 2], way(port, None, 0));
        }
        assert!(!outbox.has_room(0));
        outbox.drain(|_, _, _| {});
        outbox.push(&[0; 60_000], way(1, None, 0));
        assert!(outbox.has_room(5_000) && !outbox.has_room(6_000));
    }

    #[test]
    fn what_cannot_be_sent_costs_nobody_else_anything() {
        // Like `sendmmsg`: sends up to the first failure, and reports only that.
        let check = |bad: &[usize]| {
            let (mut sent, mut failed) = (Vec::new(), Vec::new());
            let send_from = |at: usize| {
                if bad.contains(&at) {
                    return Err(io::ErrorKind::NetworkUnreachable.into());
                }
                let upto = (at..10).find(|it| bad.contains(it)).unwrap_or(10);
                sent.extend(at..upto);
                Ok(upto - at)
            };
            send_all(10, send_from, |at, _| failed.push(at));
            assert_eq!(failed, bad);
            assert_eq!(sent, (0..10).filter(|it| !bad.contains(it)).collect::<Vec<_>>());
        };
        for bad in [&[][..], &[0], &[9], &[3, 4, 7], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]] {
            check(bad);
        }
        let mut failed = 0;
        send_all(3, |_| Ok(0), |_, _| failed += 1);
        assert_eq!(failed, 3, "a system that sends nothing does not hold up everything");
    }

    #[test]
    fn drops_are_counted_from_one_telling_to_the_next_and_past_the_largest_number() {
        let mut inbox = Inbox::new();
        inbox.note_dropped(3);
        inbox.note_dropped(3);
        assert_eq!((inbox.take_dropped(), inbox.take_dropped()), (3, 0));
        inbox.note_dropped(u32::MAX);
        inbox.note_dropped(4);
        assert_eq!(inbox.take_dropped(), u64::from(u32::MAX) - 3 + 5);
    }
}
