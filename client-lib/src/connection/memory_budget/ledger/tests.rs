//! Which connection must give its memory back.

use super::*;

const MIB: usize = 1 << 20;

/// A ledger, and the time since it began.
struct Test {
    ledger: Ledger,
    start: Instant,
}

impl Test {
    fn new(limit: usize, first_limit: usize) -> Self {
        Self { ledger: Ledger::new(limit, first_limit), start: Instant::now() }
    }

    /// Connection `id` of host `source` takes `bytes` after so many milliseconds; returns who is
    /// cut, by the last byte of the address.
    fn set(&mut self, millis: u64, id: u64, source: u8, bytes: usize) -> Vec<u8> {
        self.set_by(millis, id, source, bytes, true)
    }

    fn set_by(&mut self, millis: u64, id: u64, source: u8, bytes: usize, heard: bool) -> Vec<u8> {
        let now = self.start + Duration::from_millis(millis);
        let holder = Holder {
            source: Some([10, 0, 0, source].into()),
            has_heard: heard,
            bytes,
            can_stall: true,
            progress_at: now,
            position: bytes as u64,
            is_cut: Arc::default(),
            connection: Weak::new(),
        };
        let cut = self.ledger.set(now, id, holder);
        let octet = |holder: &Holder| match holder.source {
            Some(IpAddr::V4(v4)) => v4.octets()[3],
            other => panic!("{other:?}"),
        };
        cut.iter().map(octet).collect()
    }
}

#[test]
fn a_frame_without_progress_is_cut_before_those_that_go_on() {
    let mut test = Test::new(10 * MIB, MIB);
    assert!(test.set(0, 1, 1, 3 * MIB).is_empty());
    assert!(test.set(10, 2, 2, 6 * MIB).is_empty());
    // The first has sent a little meanwhile, which is no progress.
    assert!(test.set(900, 1, 1, 3 * MIB + 4096).is_empty());
    assert!(test.set(1100, 2, 2, 6 * MIB + (64 << 10)).is_empty());
    assert_eq!(test.set(1100, 3, 3, 2 * MIB), [1]);
    assert_eq!(test.ledger.used(), 8 * MIB + (64 << 10));
}

#[test]
fn of_frames_that_go_on_one_is_cut_of_the_address_that_takes_most() {
    let mut test = Test::new(10 * MIB, MIB);
    for id in 0..4 {
        assert!(test.set(id, id, 1, 2 * MIB).is_empty());
    }
    assert_eq!(test.set(10, 9, 2, 3 * MIB), [1]);
    assert_eq!(test.ledger.used(), 9 * MIB);
    assert!(!test.ledger.holders.contains_key(&0), "the one that began first");
    // An address that takes more than all others together must give up its own.
    assert_eq!(test.set(20, 9, 2, 9 * MIB), [2]);
}

#[test]
fn those_that_have_said_nothing_share_a_small_part() {
    let mut test = Test::new(10 * MIB, MIB);
    assert!(test.set_by(0, 1, 1, MIB / 2, false).is_empty());
    assert_eq!(test.set_by(1, 2, 2, MIB, false), [2], "there is room for the first");
    assert!(test.set(2, 3, 3, 9 * MIB).is_empty(), "others are not affected");
    assert_eq!(test.ledger.remove(1).unwrap().bytes, MIB / 2);
    assert_eq!(test.ledger.used(), 9 * MIB);
}

#[test]
fn a_frame_over_the_limit_is_cut_alone() {
    let mut test = Test::new(10 * MIB, MIB);
    assert!(test.set(0, 1, 1, 10 * MIB).is_empty());
    assert_eq!(test.set(1, 1, 1, 11 * MIB), [1]);
    assert_eq!(test.ledger.used(), 0);
}
