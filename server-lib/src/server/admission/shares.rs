//! How many places there are, and how many of them one source may take.

use super::{RESERVED_EACH, Source};

/// So many connections each source may have, however few there are in all.
const LEAST: usize = 16;

/// How many places there are, and how many of them one source may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Shares {
    most: usize,
    per_address: usize,
    per_local: usize,
    reserved: usize,
}

impl Shares {
    /// `most` places; the others default to parts of them.
    pub(in crate::server) fn new(
        most: usize,
        per_address: Option<usize>,
        reserved: Option<usize>,
    ) -> Self {
        let quarter = most / 4;
        let per_local = (most - quarter).max(LEAST.min(most));
        let share = quarter.max(LEAST);
        let largest = per_address.map_or(per_local, |stated| stated.max(per_local)).min(most);
        // No more than leaves each source what it may take.
        let default_reserve = quarter.min(most - largest);
        Self {
            most,
            per_address: per_address.unwrap_or(share),
            per_local: per_address.unwrap_or(per_local),
            reserved: reserved.unwrap_or(default_reserve).min(most),
        }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// How many connections there may be before the reserve is touched.
    pub(super) fn unreserved(&self) -> usize {
        self.most - self.reserved
    }

    pub(super) fn limit_of(&self, source: Source) -> usize {
        match source {
            Source::Unix => self.most,
            source if source.is_local() => self.per_local,
            Source::Ip(_) => self.per_address,
        }
    }
}

const _: () = assert!(RESERVED_EACH < LEAST, "the reserve is for those that have few");
