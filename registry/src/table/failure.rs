//! What probes say against an instance.

use std::time::{Duration, Instant};

/// Why an instance is failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the last probe met, for people.
    pub(crate) error: Box<str>,
    /// How many probes in a row have failed.
    pub(crate) times: u32,
    /// When the first of them did.
    pub(crate) since: Instant,
}

impl Failure {
    /// The same for people, at `now`.
    pub(crate) fn told(&self, now: Instant) -> String {
        let age = now.saturating_duration_since(self.since).as_secs();
        let age = humantime::format_duration(Duration::from_secs(age)).to_string();
        let Self { error, times, .. } = self;
        let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
        format!("{error}, {times} since {age}")
    }
}
