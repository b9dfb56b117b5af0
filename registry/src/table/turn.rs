//! The rotation of a list between answers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Where the next answer begins. All members of a list are returned in as few answers as possible,
/// and each of them comes first in turn.
///
/// Answers that cannot hold everything continue where the last one stopped. When all members have
/// been returned, the next round begins one member further. Two simultaneous answers may return the
/// same part, which is harmless.
#[derive(Debug, Default)]
pub(super) struct Turn(
    /// Where the round began (high half) and how many members it has returned (low half).
    AtomicU64,
);

impl Turn {
    /// The index of the first of `len` members to return.
    pub(super) fn first(&self, len: usize) -> usize {
        let (start, returned) = self.get();
        (start + returned) % len.max(1)
    }

    /// Records that `returned` of `len` members have been returned.
    pub(super) fn advance(&self, returned: usize, len: usize) {
        let (start, before) = self.get();
        let (start, returned) = if before + returned >= len {
            ((start + 1) % len.max(1), 0)
        } else {
            (start, before + returned)
        };
        let half = |number: usize| u64::from(u32::try_from(number).unwrap_or(0));
        self.0.store(half(start) << 32 | half(returned), Ordering::Relaxed);
    }

    fn get(&self) -> (usize, usize) {
        let both = self.0.load(Ordering::Relaxed);
        let half = |number: u64| usize::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        (half(both >> 32), half(both))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(len: usize, a_page: usize, answers: usize) -> Vec<usize> {
        let turn = Turn::default();
        let answer = |_| {
            let first = turn.first(len);
            turn.advance(a_page.min(len), len);
            first
        };
        (0..answers).map(answer).collect()
    }

    #[test]
    fn pages_follow_one_another_and_rounds_begin_one_further() {
        assert_eq!(rounds(3, 10, 5), [0, 1, 2, 0, 1]);
        assert_eq!(rounds(6, 3, 6), [0, 3, 1, 4, 2, 5]);
        assert_eq!(rounds(5, 2, 6), [0, 2, 4, 1, 3, 0]);
        assert_eq!(rounds(0, 2, 2), [0, 0]);
    }
}
