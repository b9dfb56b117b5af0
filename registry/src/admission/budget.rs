//! The tokens of each source.

use std::time::Instant;

use super::rate::Rate;
use crate::refusal::Refusal;
use crate::table::Asker;

/// Which tokens a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Those of renewals: servers that are known stay known, however much else their machine sends.
    Renewals,
    /// Those of all other requests.
    Requests,
}

/// How often each source may ask. This machine is exempt.
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

    /// Takes a token of the asker.
    ///
    /// # Errors
    /// [`Refusal::TooOften`] if there is none.
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
