//! The result of failed probes of an instance.

use std::time::{Duration, Instant};

/// Why an instance is failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The error of the last probe, for display.
    pub(crate) error: Box<str>,
    /// How many probes in a row have failed.
    pub(crate) times: u32,
    /// When the first of them failed.
    pub(crate) since: Instant,
}

impl Failure {
    /// The failure as a sentence for display, at `now`.
    pub(crate) fn describe(&self, now: Instant) -> String {
        let age = now.saturating_duration_since(self.since).as_secs();
        let age = humantime::format_duration(Duration::from_secs(age)).to_string();
        let Self { error, times, .. } = self;
        let times = if *times == 1 { "1 failure".to_owned() } else { format!("{times} failures") };
        format!("{error}, {times} in {age}")
    }
}
