//! How long the registry has run: the time that adds up while a lease is silent.
//!
//! All times are milliseconds of lease time over all runs. A lease that renewed in a run may have
//! done so until the end of that run, so its silence begins there.

/// The ends of the runs so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// Runs and their ends, both rising. A run that is missing counts as the next one.
    ends: Vec<(u64, u64)>,
}

/// The precision of old ends, as a share of their age: every sixteenth.
const PRECISION: u64 = 16;

/// The precision of recent ends, in milliseconds.
const PRECISION_MS: u64 = 1000;

impl Runs {
    pub(super) fn new(ends: Vec<(u64, u64)>) -> Self {
        Self { ends }
    }

    pub(super) fn ends(&self) -> &[(u64, u64)] {
        &self.ends
    }

    /// When the next run begins.
    pub(super) fn total(&self) -> u64 {
        self.ends.last().map_or(0, |(_, end)| *end)
    }

    /// When a run ended. This run has not ended, so its start stands for it.
    pub(super) fn end_of(&self, run: u64) -> u64 {
        let at = self.ends.partition_point(|(other, _)| *other < run);
        self.ends.get(at).map_or_else(|| self.total(), |(_, end)| *end)
    }

    /// The time from the start of this run to `at`; negative.
    pub(super) fn since(&self, at: u64) -> i64 {
        let before = self.total().saturating_sub(at);
        i64::try_from(before).map_or(i64::MIN, |before| -before)
    }

    /// Adds a run that begins now, and drops ends that are close to others: some hundred remain,
    /// however often the registry restarts. A lease loses at most a sixteenth of its silence.
    pub(super) fn begin(&self, run: u64) -> Self {
        let total = self.total();
        let mut ends: Vec<(u64, u64)> = Vec::with_capacity(self.ends.len() + 1);
        for end in self.ends.iter().copied() {
            if let [.., (_, before), (_, between)] = ends[..] {
                let precision = PRECISION_MS.max((total - before) / PRECISION);
                if end.1 - before <= precision || end.1 == between {
                    ends.pop();
                }
            }
            ends.push(end);
        }
        // The end of this run is still to come, so it replaces no other.
        ends.push((run, total));
        Self { ends }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registry runs for each of `lengths`, in milliseconds.
    fn after(lengths: impl IntoIterator<Item = u64>) -> (Runs, Vec<u64>) {
        let (mut runs, mut ends, mut total) = (Runs::default(), Vec::new(), 0);
        for (run, length) in (1..).zip(lengths) {
            runs = runs.begin(run);
            total += length;
            ends.push(total);
            if let Some(last) = runs.ends.last_mut() {
                last.1 = total;
            }
        }
        (runs, ends)
    }

    #[test]
    fn silence_adds_up_over_runs() {
        let (runs, _) = after([10_000, 3_000, 4_000]);
        assert_eq!(runs.total(), 17_000);
        assert_eq!(
            (1..=3).map(|run| runs.since(runs.end_of(run))).collect::<Vec<_>>(),
            [-7_000, -4_000, 0]
        );
        assert_eq!(runs.since(runs.end_of(4)), 0, "this run");
    }

    #[test]
    fn a_crash_loop_needs_little_room_and_loses_little_time() {
        for length in [0, 1, 250, 900, 3_000] {
            let (runs, ends) = after(std::iter::repeat_n(length, 20_000));
            assert!(runs.ends.len() < 400, "{} of {length} ms", runs.ends.len());
            for (run, end) in (1..).zip(ends) {
                let kept = runs.end_of(run);
                let silence = runs.total() - end;
                let lost = kept - end;
                assert!(lost <= PRECISION_MS.max(silence / 15), "{lost} of {silence} ms");
            }
        }
    }
}
