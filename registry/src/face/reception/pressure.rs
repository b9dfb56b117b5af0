//! Sheds requests under overload.
//!
//! A permanent queue alone is not overload: a few clients that each ask again when answered make
//! one too, and shedding would cost them answers. Overload begins when the system drops datagrams
//! because the queue is full. The system drops renewals as well as lists. So the registry sheds the
//! requests that matter least, before they cost time, until the queue has been empty once.

use std::time::{Duration, Instant};

use crate::admission::Load;

/// How long overload lasts after datagrams were lost, unless the queue is found empty.
const MEMORY: Duration = Duration::from_millis(200);

/// The time under overload until all requests of one kind are shed, and then again for the next
/// kind.
const RISE: Duration = Duration::from_millis(100);

/// The time without overload until one kind is served in full again. It is longer than the rise, to
/// find the sustainable load in small steps.
const FALL: Duration = Duration::from_millis(500);

/// The kinds of requests that may be shed, in this order. Renewals are never shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::face) enum Spare {
    List,
    Resolve,
    /// A registration of an unknown instance.
    Addition,
}

/// The share of each kind that is shed.
///
/// Pure: time is an argument.
#[derive(Debug)]
pub(in crate::face) struct Pressure {
    /// The number of kinds that are shed completely, plus the share of the next kind.
    level: f64,
    overloaded_until: Option<Instant>,
    seen: Instant,
    /// In the order of [`Spare`].
    loads: [Load; 3],
}

impl Pressure {
    pub(in crate::face) fn new(now: Instant) -> Self {
        Self { level: 0.0, overloaded_until: None, seen: now, loads: [Load::default(); 3] }
    }

    /// Records the result of a receive: whether the queue is empty, and whether the system dropped
    /// datagrams.
    pub(in crate::face) fn observe(&mut self, now: Instant, is_empty: bool, has_dropped: bool) {
        if is_empty {
            self.overloaded_until = None;
        } else if has_dropped {
            self.overloaded_until = Some(now + MEMORY);
        }
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        self.seen = now;
        self.level = if self.overloaded_until.is_some_and(|until| now < until) {
            // A long gap between receives does not show how long the overload has lasted.
            self.level + (passed / RISE.as_secs_f64()).min(0.1)
        } else {
            self.level - passed / FALL.as_secs_f64()
        };
        self.level = self.level.clamp(0.0, 3.0);
        for (below, load) in [0.0, 1.0, 2.0].into_iter().zip(&mut self.loads) {
            load.set_share(self.level - below);
        }
    }

    /// The load of this kind.
    pub(in crate::face) fn load(&mut self, what: Spare) -> &mut Load {
        let [list, resolve, addition] = &mut self.loads;
        match what {
            Spare::List => list,
            Spare::Resolve => resolve,
            Spare::Addition => addition,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// How many of 100 requests are shed: lists, resolves, additions.
    fn shed(pressure: &mut Pressure) -> [usize; 3] {
        [Spare::List, Spare::Resolve, Spare::Addition]
            .map(|what| (0..100).filter(|_| pressure.load(what).sheds()).count())
    }

    /// Observes the same result for some milliseconds.
    fn pass(
        pressure: &mut Pressure,
        now: &mut Instant,
        millis: u32,
        is_empty: bool,
        has_dropped: bool,
    ) {
        for _ in 0..millis {
            *now += MILLISECOND;
            pressure.observe(*now, is_empty, has_dropped);
        }
    }

    #[test]
    fn a_queue_that_stands_but_loses_nothing_sheds_nothing() {
        let mut now = Instant::now();
        let mut pressure = Pressure::new(now);
        pass(&mut pressure, &mut now, 60_000, false, false);
        assert_eq!(shed(&mut pressure), [0, 0, 0]);
    }

    #[test]
    fn under_overload_lists_go_first_then_resolves_then_additions() {
        let mut now = Instant::now();
        let mut pressure = Pressure::new(now);
        let mut before = [0; 3];
        for _ in 0..310 {
            pass(&mut pressure, &mut now, 1, false, true);
            let next = shed(&mut pressure);
            for (at, before) in before.into_iter().enumerate() {
                assert!(next[at] + 2 >= before, "it only grows: {before:?} {next:?}");
                let rest = next.get(at + 1..).unwrap();
                assert!(next[at] >= 98 || rest.iter().all(|it| *it == 0), "in order: {next:?}");
            }
            before = next;
        }
        assert_eq!(before, [100, 100, 100]);
    }

    #[test]
    fn a_share_is_shed_evenly() {
        let mut now = Instant::now();
        let mut pressure = Pressure::new(now);
        pass(&mut pressure, &mut now, 125, false, true);
        let shed: Vec<_> = (0..100).map(|_| pressure.load(Spare::Resolve).sheds()).collect();
        let count = shed.iter().filter(|it| **it).count();
        assert!((23..=27).contains(&count), "{count} of 100");
        for some in shed.chunks(10) {
            assert!((1..=4).contains(&some.iter().filter(|it| **it).count()), "{shed:?}");
        }
    }

    #[test]
    fn once_the_queue_is_empty_the_pressure_falls_until_nothing_is_shed() {
        let mut now = Instant::now();
        let mut pressure = Pressure::new(now);
        pass(&mut pressure, &mut now, 310, false, true);
        // Either is enough: no loss for long enough, or an empty queue.
        for (millis, is_empty) in [(400, false), (100, true)] {
            let mut falling = Pressure { ..pressure };
            let mut now = now;
            pass(&mut falling, &mut now, millis, is_empty, false);
            let [lists, resolves, additions] = shed(&mut falling);
            assert_eq!([lists, resolves], [100, 100]);
            assert!(additions < 100, "{additions}");
            pass(&mut falling, &mut now, 2_000, is_empty, false);
            assert_eq!(shed(&mut falling), [0, 0, 0]);
        }
    }

    #[test]
    fn an_idle_time_counts_when_it_ends() {
        let mut now = Instant::now();
        let mut pressure = Pressure::new(now);
        pass(&mut pressure, &mut now, 310, false, true);
        pressure.observe(now + Duration::from_secs(60), true, false);
        assert_eq!(shed(&mut pressure), [0, 0, 0]);
    }

    #[test]
    fn losses_after_a_pause_do_not_shed_everything_at_once() {
        let now = Instant::now();
        let mut pressure = Pressure::new(now);
        pressure.observe(now + Duration::from_secs(60), false, true);
        let [lists, resolves, additions] = shed(&mut pressure);
        assert!(lists <= 10 && resolves == 0 && additions == 0);
    }
}
