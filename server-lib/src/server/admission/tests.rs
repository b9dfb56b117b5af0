//! Who is let in, and who must give way.

use super::*;

/// An admission, and the permits that it has given.
struct Test {
    admission: Admission,
    permits: Vec<Permit>,
}

fn shares(most: usize) -> Shares {
    Shares::new(most, None, None)
}

fn source(address: &str) -> Source {
    let peer = Peer::from(std::net::SocketAddr::new(address.parse().unwrap(), 1));
    Source::of(&peer)
}

impl Test {
    fn new(shares: Shares) -> Self {
        Self { admission: Admission::new(shares), permits: Vec::new() }
    }

    fn admit(&mut self, from: Source) -> Result<(), Refused> {
        self.permits.push(self.admission.admit(from)?);
        Ok(())
    }

    /// A client that says something at once.
    fn greet(&mut self, from: Source) -> Result<(), Refused> {
        self.admit(from)?;
        let permit = self.permits.last().unwrap();
        lock(&self.admission.0).sources.get_mut(&from).unwrap().silent.remove(&permit.id);
        Ok(())
    }

    /// How many are let in before the first is refused, up to so many.
    fn fill(&mut self, from: Source, most: usize) -> (usize, Option<Topic>) {
        for count in 0..most {
            if let Err(refused) = self.greet(from) {
                return (count, Some(refused.topic));
            }
        }
        (most, None)
    }

    fn total(&self) -> usize {
        lock(&self.admission.0).total
    }

    fn displaced(&self) -> Vec<usize> {
        let all = self.permits.iter().enumerate();
        all.filter(|(_, permit)| permit.seat.displaced.initialized()).map(|(at, _)| at).collect()
    }
}

#[test]
fn one_address_takes_its_share_and_others_are_still_let_in() {
    let mut test = Test::new(shares(1024));
    assert_eq!(test.fill(source("192.0.2.1"), 2000), (256, Some(Topic::TooManyOfAddress)));
    // The same machine by another address of its network.
    assert_eq!(test.fill(source("2001:db8::1"), 200), (200, None));
    let same_network = source("2001:db8::2:1");
    assert_eq!(test.fill(same_network, 200), (56, Some(Topic::TooManyOfAddress)));
    assert_eq!(test.fill(source("::ffff:192.0.2.1"), 1), (0, Some(Topic::TooManyOfAddress)));
    assert_eq!(test.fill(source("192.0.2.2"), 1), (1, None));
}

#[test]
fn this_machine_has_a_larger_share_and_cannot_take_the_reserve() {
    for local in [source("127.0.0.1"), source("::1"), source("127.9.9.9")] {
        let mut test = Test::new(shares(1024));
        assert_eq!(test.fill(local, 2000), (768, Some(Topic::TooManyOfAddress)));
        assert_eq!(test.fill(source("192.0.2.1"), 1), (1, None));
    }
    let mut test = Test::new(shares(1024));
    assert_eq!(test.fill(Source::Unix, 2000), (768, Some(Topic::Reserved)));
    assert_eq!(test.fill(source("127.0.0.1"), 2000).0, RESERVED_EACH);
}

#[test]
fn the_reserve_is_for_addresses_with_few_connections() {
    let mut test = Test::new(shares(1024));
    for last in 1..=3 {
        assert_eq!(test.fill(source(&format!("192.0.2.{last}")), 2000).0, 256);
    }
    assert_eq!(test.total(), 768);
    for last in 4..=34 {
        let few = test.fill(source(&format!("192.0.2.{last}")), 2000);
        assert_eq!(few, (RESERVED_EACH, Some(Topic::Reserved)));
    }
    assert_eq!(test.fill(source("192.0.2.99"), 2000), (RESERVED_EACH, Some(Topic::TooMany)));
    assert_eq!(test.total(), 1024);
}

#[test]
fn the_silent_give_way_the_oldest_first() {
    let mut test = Test::new(Shares::new(3, Some(3), None));
    let (one, other) = (source("192.0.2.1"), source("192.0.2.2"));
    test.greet(one).unwrap();
    test.admit(one).unwrap();
    test.admit(one).unwrap();
    assert!(test.displaced().is_empty());
    // Of itself when the address has what it may have, of the one with most when all is full.
    test.admit(one).unwrap();
    assert_eq!(test.displaced(), [1]);
    test.admit(other).unwrap();
    assert_eq!(test.displaced(), [1, 2]);
    assert_eq!(test.total(), 3);
    test.greet(other).unwrap();
    test.greet(other).unwrap();
    assert_eq!((test.displaced(), test.total()), (vec![1, 2, 3, 4], 3));
    let refused = test.admit(source("192.0.2.3")).unwrap_err();
    assert_eq!(refused, Refused { topic: Topic::TooMany, limit: 3 });
}

#[test]
fn a_place_is_free_again_when_its_client_leaves() {
    let mut test = Test::new(Shares::new(2, None, None));
    let one = source("192.0.2.1");
    test.greet(one).unwrap();
    test.greet(one).unwrap();
    assert!(test.greet(one).is_err());
    test.permits.pop();
    test.greet(one).unwrap();
    // One that gave way has no place to give back.
    let mut test = Test::new(Shares::new(1, None, None));
    test.admit(one).unwrap();
    test.admit(one).unwrap();
    test.permits.remove(0);
    assert_eq!(test.total(), 1);
    test.permits.clear();
    assert_eq!(test.total(), 0);
    assert!(lock(&test.admission.0).sources.is_empty());
}

#[test]
fn stated_limits_count_as_they_are() {
    let limits = |shares: Shares| {
        let of = |address: &str| shares.limit_of(source(address));
        (of("192.0.2.1"), of("127.0.0.1"), shares.unreserved())
    };
    assert_eq!(limits(shares(1)), (16, 1, 1));
    assert_eq!(limits(shares(20)), (16, 16, 16));
    assert_eq!(limits(Shares::new(1024, Some(2), None)), (2, 2, 768));
    assert_eq!(limits(Shares::new(1024, Some(1024), None)), (1024, 1024, 1024));
    assert_eq!(
        limits(Shares::new(1024, Some(usize::MAX), Some(24))),
        (usize::MAX, usize::MAX, 1000)
    );
    assert_eq!(limits(Shares::new(0, None, Some(7))), (16, 0, 0));
}
