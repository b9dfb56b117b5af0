//! The time that leases are measured in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A point in lease time, in nanoseconds; never 0. A run begins at [`Tick::START`], so that there
/// are ticks for renewals in earlier runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    pub(crate) const FIRST: Self = Self(1);

    /// The start of the run: four and a half years after the first tick.
    pub(crate) const START: Self = Self(1 << 57);

    pub(crate) fn new(nanos: u64) -> Option<Self> {
        (nanos != 0).then_some(Self(nanos))
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn after(self, ttl: Duration) -> Self {
        Self(self.0.saturating_add(nanos(ttl)))
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn before(self, ttl: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(ttl)).max(1))
    }

    /// The tick that many milliseconds from the start of the run, negative before it.
    pub(crate) fn at_millis(millis: i64) -> Self {
        let by = Duration::from_millis(millis.unsigned_abs());
        if millis < 0 { Self::START.before(by) } else { Self::START.after(by) }
    }

    /// Milliseconds from the start of the run, rounded up; negative before it.
    pub(crate) fn millis(self) -> i64 {
        let millis = |nanos: u64| i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX);
        match self.0.checked_sub(Self::START.0) {
            Some(after) => millis(after.saturating_add(999_999)),
            None => -millis(Self::START.0 - self.0),
        }
    }
}

/// The longest time between two signs that the process runs. Sweeps are such signs.
pub(super) const SIGN_INTERVAL: Duration = Duration::from_millis(200);

/// When something began, in milliseconds from the start of the registry; negative if before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since(i64);

impl Since {
    /// The time that is `by` earlier.
    pub(crate) fn earlier(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from here to `later`.
    pub(crate) fn millis_until(self, later: Self) -> u64 {
        u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0)
    }
}

/// Monotonic time, less the time during which the registry itself was not running.
///
/// A registry that was stopped, swapped out or starved could not receive renewals, so that time
/// does not count against leases: it is *credited*, and lease time stands still for it. One
/// addition applies the credit to every lease at once.
#[derive(Debug)]
pub(crate) struct LeaseClock {
    start: Instant,
    /// The credited time less [`Tick::START`], modulo 2^64: one subtraction applies both.
    credit: AtomicU64,
    /// When the next sign that the process runs is due, in nanoseconds from the start.
    due: AtomicU64,
}

impl LeaseClock {
    pub(crate) fn new(start: Instant) -> Self {
        let credit = AtomicU64::new(0_u64.wrapping_sub(Tick::START.0));
        Self { start, credit, due: AtomicU64::new(nanos(SIGN_INTERVAL)) }
    }

    /// When the registry started.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// The nanoseconds since the start.
    #[inline]
    pub(super) fn elapsed(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.start))
    }

    /// The tick at so many nanoseconds from the start.
    #[inline]
    pub(super) fn tick_at(&self, elapsed: u64) -> Tick {
        Tick(elapsed.wrapping_sub(self.credit.load(Ordering::Acquire)))
    }

    pub(crate) fn tick(&self, now: Instant) -> Tick {
        let elapsed = self.elapsed(now);
        Tick(elapsed.wrapping_sub(self.credit.load(Ordering::Acquire)))
    }

    /// When lease time will read `tick`, if nothing is credited until then.
    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        let elapsed = tick.0.wrapping_add(self.credit.load(Ordering::Acquire));
        // Before the start, this is negative.
        self.start + Duration::from_nanos(u64::try_from(elapsed.cast_signed()).unwrap_or(0))
    }

    /// `now` as a start for measuring ages.
    pub(crate) fn since(&self, now: Instant) -> Since {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Since(match now.checked_duration_since(self.start) {
            Some(after) => millis(after),
            None => -millis(self.start.saturating_duration_since(now)),
        })
    }

    /// Records that the process runs at `now`, and that the next sign of that comes within
    /// `interval`. Credits and returns the lateness if this one comes more than [`SIGN_INTERVAL`]
    /// late. Each stop is credited once, whichever thread notices it first.
    pub(crate) fn is_alive(&self, now: Instant, interval: Duration) -> Option<Duration> {
        let now = nanos(now.saturating_duration_since(self.start));
        let (next, limit) = (now.saturating_add(nanos(interval)), nanos(SIGN_INTERVAL));
        let due = self.due.fetch_update(Ordering::AcqRel, Ordering::Acquire, |due| {
            // A time that was read long ago says nothing.
            (next.saturating_add(limit) >= due).then_some(next)
        });
        let late = now.checked_sub(due.ok()?).filter(|late| *late > limit)?;
        self.credit.fetch_add(late, Ordering::AcqRel);
        Some(Duration::from_nanos(late))
    }
}

/// The nanoseconds of a duration. A registry does not run for the 584 years that 64 bits hold.
pub(super) fn nanos(duration: Duration) -> u64 {
    const A_SECOND: u64 = 1_000_000_000;
    duration.as_secs().saturating_mul(A_SECOND).saturating_add(duration.subsec_nanos().into())
}
