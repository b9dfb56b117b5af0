//! The rates of each source.

use std::time::Instant;

use super::rate::Rate;
use crate::access::{Principal, Proof};
use crate::host::{Neighbourhood, Source};
use crate::limits::Limits;
use crate::refusal::Refusal;

/// The leases and names that a request looks at for one token: about as much work as the rest of a
/// request.
const LOOKED_AT_PER_TOKEN: usize = 16;

/// An answer in RPyC's protocol that is at most this many times as long as its request is free: an
/// attacker who forges its source gains little.
const FREE_AMPLIFICATION: usize = 3;

/// The rate that a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    /// The rate of renewals: servers stay registered even while their machine floods the registry.
    Renewals,
    /// The rate of all other requests.
    Requests,
}

/// The rates of one kind of sources.
#[derive(Debug)]
struct Rates {
    requests: Rate<Source>,
    renewals: Rate<Source>,
}

/// The rate limits of every source. This machine is exempt.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Of sources that no one can forge. Forged datagrams do not spend these.
    proven: Rates,
    /// Of bare datagrams.
    unproven: Rates,
    /// Bytes of long legacy answers to bare datagrams, for each network.
    answers: Rate<Neighbourhood>,
    /// The same, for all networks together.
    all_answers: Rate<()>,
    per_second: u32,
}

impl Admission {
    pub(crate) fn new(start: Instant, limits: &Limits) -> Self {
        let rate = || Rate::new(start, limits.requests_per_second.into());
        let rates = || Rates { requests: rate(), renewals: rate() };
        Self {
            proven: rates(),
            unproven: rates(),
            answers: Rate::new(start, limits.answer_bytes_per_network),
            all_answers: Rate::shared(start, limits.answer_bytes),
            per_second: limits.requests_per_second,
        }
    }

    /// Counts a request against the rate of its principal.
    ///
    /// # Errors
    /// [`Refusal::TooOften`] above the rate.
    #[inline]
    pub(crate) fn admit(
        &self,
        now: Instant,
        principal: &Principal<'_>,
        budget: Budget,
    ) -> Result<(), Refusal> {
        let asker = principal.asker;
        if asker.is_here || self.rate(principal, budget).take(now, asker.host.into(), 1) {
            return Ok(());
        }
        Err(Refusal::TooOften { source_host: asker.host, limit: self.per_second })
    }

    /// Charges a request for the leases and names that it looked at.
    pub(crate) fn charge(&self, now: Instant, principal: &Principal<'_>, looked_at: usize) {
        let tokens = u64::try_from(looked_at / LOOKED_AT_PER_TOKEN).unwrap_or(u64::MAX);
        let asker = principal.asker;
        if !asker.is_here && tokens > 0 {
            self.rate(principal, Budget::Requests).charge(now, asker.host.into(), tokens);
        }
    }

    /// Counts the bytes of a legacy answer, which may go to a forged source. `is_near` returns
    /// whether the source is on one of the registry's own networks: an attacker who forges such a
    /// source harms only that network.
    ///
    /// # Errors
    /// [`Refusal::AnswersTooLong`] if its network, or all together, had too many.
    #[inline]
    pub(crate) fn admit_answer(
        &self,
        now: Instant,
        principal: &Principal<'_>,
        (request, answer): (usize, usize),
        is_near: impl FnOnce() -> bool,
    ) -> Result<(), Refusal> {
        let is_free = principal.proof != Proof::Datagram
            || principal.asker.is_here
            || answer <= FREE_AMPLIFICATION * request;
        if is_free || is_near() {
            return Ok(());
        }
        let (host, bytes) = (principal.asker.host, u64::try_from(answer).unwrap_or(u64::MAX));
        let is_admitted =
            self.answers.take(now, host.into(), bytes) && self.all_answers.take(now, (), bytes);
        if is_admitted { Ok(()) } else { Err(Refusal::AnswersTooLong { source_host: host }) }
    }

    fn rate(&self, principal: &Principal<'_>, budget: Budget) -> &Rate<Source> {
        let rates = match principal.proof {
            Proof::Datagram => &self.unproven,
            _ => &self.proven,
        };
        match budget {
            Budget::Renewals => &rates.renewals,
            Budget::Requests => &rates.requests,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::host::Host;
    use crate::table::{Arrival, Asker, Transport};

    fn asker(ip: [u8; 4], transport: Transport) -> Asker {
        let host = Host::new(ip.into(), 0);
        let arrival = Arrival::UNKNOWN;
        Asker { host, port: 1, is_here: false, reached: None, link: 0, transport, arrival }
    }

    #[test]
    fn forged_datagrams_spend_nothing_of_a_proven_source() {
        let now = Instant::now();
        let admission = Admission::new(now, &Limits::default());
        let (udp, tcp) =
            (asker([10, 0, 0, 1], Transport::Udp4), asker([10, 0, 0, 1], Transport::Tcp));
        let admit = |principal| {
            [Budget::Requests, Budget::Renewals]
                .map(|budget| admission.admit(now, &principal, budget).is_ok())
        };
        while admit(Principal::new(&udp)) != [false; 2] {}
        assert_eq!(admit(Principal::new(&udp).with_cookie(now)), [true; 2]);
        assert_eq!(admit(Principal::new(&tcp)), [true; 2]);
    }

    #[test]
    fn a_request_pays_for_what_it_looks_at() {
        let now = Instant::now();
        let limits = Limits { requests_per_second: 100, ..Limits::default() };
        let admission = Admission::new(now, &limits);
        let tcp = asker([10, 0, 0, 1], Transport::Tcp);
        let principal = Principal::new(&tcp);
        admission.charge(now, &principal, 200 * LOOKED_AT_PER_TOKEN);
        let admits = |millis| {
            let now = now + Duration::from_millis(millis);
            admission.admit(now, &principal, Budget::Requests).is_ok()
        };
        assert_eq!([admits(1000), admits(1020)], [false, true]);
    }

    #[test]
    fn long_answers_to_forgeable_sources_share_a_budget_of_bytes() {
        let now = Instant::now();
        let limits =
            Limits { answer_bytes_per_network: 10_000, answer_bytes: 25_000, ..Limits::default() };
        let admission = Admission::new(now, &limits);
        let served = |ip, transport, sizes, is_near| {
            let asker = asker(ip, transport);
            let principal = Principal::new(&asker);
            let is_served =
                |_: &i32| admission.admit_answer(now, &principal, sizes, || is_near).is_ok();
            (0..100).filter(is_served).count()
        };
        let udp = Transport::Udp4;
        assert_eq!(served([192, 0, 2, 1], udp, (19, 1000), false), 10);
        assert_eq!(served([192, 0, 2, 9], udp, (19, 1000), false), 0, "the same network");
        assert_eq!(served([192, 0, 3, 1], udp, (19, 1000), false), 10);
        assert_eq!(served([192, 0, 4, 1], udp, (19, 1000), false), 5, "all together");
        assert_eq!(served([192, 0, 2, 1], udp, (19, 57), false), 100, "no amplification");
        assert_eq!(served([192, 0, 2, 1], udp, (19, 1000), true), 100, "an own network");
        assert_eq!(served([192, 0, 2, 1], Transport::Tcp, (19, 1000), false), 100);
    }
}
