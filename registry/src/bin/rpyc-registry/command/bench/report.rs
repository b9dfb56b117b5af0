//! What is told about a run.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::errand::Outcome;
use super::tally::{Counts, Tally};
use crate::output;

/// The percentiles that are told, and how they are called.
const PERCENTILES: [(f64, &str, &str); 5] = [
    (50.0, "P50", "p50_us"),
    (90.0, "P90", "p90_us"),
    (99.0, "P99", "p99_us"),
    (99.9, "P99.9", "p99.9_us"),
    (100.0, "MAX", "max_us"),
];

/// Registering or unregistering, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) outcome: Outcome,
    pub(super) time: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) registered: Option<Told>,
    pub(super) load: Option<(Tally, Duration)>,
    pub(super) unregistered: Option<Told>,
}

impl Told {
    pub(super) fn line(&self, what: &str) -> String {
        let outcome = &self.outcome;
        let line = format!(
            "{what} in {:.2}s ({:.0}/s)",
            self.time.as_secs_f64(),
            per_second(outcome.acknowledged.into(), self.time)
        );
        match outcome.asked_again {
            0 => line,
            again => format!("{line}; {again} told again because no acknowledgement came"),
        }
    }

    fn document(&self) -> Value {
        json!({
            "instances": self.outcome.acknowledged,
            "seconds": self.time.as_secs_f64(),
            "per_second": per_second(self.outcome.acknowledged.into(), self.time),
            "asked_again": self.outcome.asked_again,
        })
    }
}

impl Report {
    pub(super) fn has_wrong_answers(&self) -> bool {
        self.load.as_ref().is_some_and(|(tally, _)| tally.sum().wrong > 0)
    }

    pub(super) fn document(&self) -> Value {
        let mut document = Map::new();
        if let Some(told) = &self.registered {
            document.insert("registered".to_owned(), told.document());
        }
        if let Some((tally, time)) = &self.load {
            let mut kinds: Map<_, _> = tally
                .kinds()
                .map(|(kind, counts)| (kind.word().to_owned(), counts_document(counts, *time)))
                .collect();
            kinds.insert("all".to_owned(), counts_document(&tally.sum(), *time));
            document.insert("seconds".to_owned(), time.as_secs_f64().into());
            document.insert("strays".to_owned(), tally.strays.into());
            document.insert("not_sent".to_owned(), tally.unasked.into());
            document.insert("requests".to_owned(), kinds.into());
        }
        if let Some(told) = &self.unregistered {
            document.insert("unregistered".to_owned(), told.document());
        }
        document.into()
    }
}

/// Prints what became of the requests.
pub(super) fn print(tally: &Tally, time: Duration) -> std::io::Result<()> {
    let [p50, p90, p99, p999, max] = PERCENTILES.map(|(_, heading, _)| heading);
    let headings = ["KIND", "SENT", "ANSWERED", "LOST", "WRONG", "RATE", p50, p90, p99, p999, max];
    let sum = tally.sum();
    let kinds = tally.kinds().map(|(kind, counts)| row(kind.word(), counts, time));
    let all = (tally.kinds().count() > 1).then(|| row("all", &sum, time));
    output::table(headings, kinds.chain(all))?;
    let mut notes = Vec::new();
    if tally.unasked > 0 {
        notes.push(format!(
            "{} more were due and could not be sent: all sources waited for answers",
            tally.unasked
        ));
    }
    if tally.strays > 0 {
        notes.push(format!("{} answers came that nothing waited for", tally.strays));
    }
    output::lines(notes)
}

fn row(kind: &str, counts: &Counts, time: Duration) -> [String; 11] {
    let [p50, p90, p99, p999, max] =
        PERCENTILES.map(|(percentile, ..)| match quantile(&counts.latency, percentile) {
            Some(latency) => short(latency),
            None => "-".to_owned(),
        });
    let Counts { asked, answered, lost, wrong, .. } = counts;
    let [asked, answered, lost, wrong] = [asked, answered, lost, wrong].map(u64::to_string);
    let rate = format!("{:.0}/s", per_second(counts.answered, time));
    [kind.to_owned(), asked, answered, lost, wrong, rate, p50, p90, p99, p999, max]
}

fn counts_document(counts: &Counts, time: Duration) -> Value {
    let mut document = json!({
        "sent": counts.asked,
        "answered": counts.answered,
        "lost": counts.lost,
        "wrong": counts.wrong,
        "per_second": per_second(counts.answered, time),
    });
    if let Value::Object(document) = &mut document {
        for (percentile, _, key) in PERCENTILES {
            let latency = quantile(&counts.latency, percentile);
            let micros = latency.map(|latency| latency.as_secs_f64() * 1e6);
            document.insert(key.to_owned(), micros.into());
        }
    }
    document
}

fn quantile(latency: &Histogram<u64>, percentile: f64) -> Option<Duration> {
    let is_known = !latency.is_empty();
    is_known.then(|| Duration::from_nanos(latency.value_at_percentile(percentile)))
}

#[expect(clippy::cast_precision_loss, reason = "a rate is told to a few digits")]
fn per_second(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// A latency with three digits or so.
fn short(latency: Duration) -> String {
    let seconds = latency.as_secs_f64();
    match seconds {
        s if s >= 1.0 => format!("{s:.2}s"),
        s if s >= 1e-2 => format!("{:.0}ms", s * 1e3),
        s if s >= 1e-3 => format!("{:.1}ms", s * 1e3),
        s => format!("{:.0}us", s * 1e6),
    }
}
