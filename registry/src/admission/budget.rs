//! The rates of each source.

use std::time::Instant;

use super::rate::Rate;
use crate::refusal::Refusal;
use crate::table::Asker;

/// The rate that a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    /// The rate of renewals: servers stay registered even while their machine floods the registry.
    Renewals,
    /// The rate of all other requests.
    Requests,
}

/// The rate limits of every source. This machine is exempt.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Rate,
    renewals: Rate,
    per_second: u32,
}

impl Admission {
    /// Admits `per_second` requests and as many renewals a second from each source; 0 means any
    /// number.
    pub(crate) fn new(start: Instant, per_second: u32) -> Self {
        let rate = || Rate::new(start, per_second);
        Self { requests: rate(), renewals: rate(), per_second }
    }

    /// Counts a request against the rate of its asker.
    ///
    /// # Errors
    /// [`Refusal::TooOften`] above the rate.
    #[inline]
    pub(crate) fn admit(&self, now: Instant, asker: &Asker, budget: Budget) -> Result<(), Refusal> {
        let rate = match budget {
            Budget::Renewals => &self.renewals,
            Budget::Requests => &self.requests,
        };
        if asker.is_here || rate.admit(now, asker.host) {
            return Ok(());
        }
        Err(Refusal::TooOften { source_host: asker.host, limit: self.per_second })
    }
}
