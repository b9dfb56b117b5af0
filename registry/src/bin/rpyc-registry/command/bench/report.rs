//! The report of a load test, for people and for programs.

use std::time::Duration;

use rpyc_load::{BulkReport, Counts, LoadReport};
use serde_json::{Map, Value, json};

use crate::output;

/// The reported percentiles, each with its heading and its key in JSON.
const PERCENTILES: [(f64, &str, &str); 5] = [
    (50.0, "P50", "p50_us"),
    (90.0, "P90", "p90_us"),
    (99.0, "P99", "p99_us"),
    (99.9, "P99.9", "p99.9_us"),
    (100.0, "MAX", "max_us"),
];

/// The outcome of each phase that ran.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) registered: Option<BulkReport>,
    pub(super) load: Option<LoadReport>,
    pub(super) unregistered: Option<BulkReport>,
}

/// One line about a registration or deregistration phase.
pub(super) fn line(bulk: &BulkReport, what: &str) -> String {
    let line = format!(
        "{what} in {:.2}s ({:.0}/s)",
        bulk.time.as_secs_f64(),
        per_second(bulk.acknowledged.into(), bulk.time)
    );
    match bulk.asked_again {
        0 => line,
        again => format!("{line}; {again} sent again after no acknowledgement"),
    }
}

fn bulk_document(bulk: &BulkReport) -> Value {
    json!({
        "instances": bulk.acknowledged,
        "seconds": bulk.time.as_secs_f64(),
        "per_second": per_second(bulk.acknowledged.into(), bulk.time),
        "asked_again": bulk.asked_again,
    })
}

impl Report {
    pub(super) fn has_wrong_answers(&self) -> bool {
        self.load.as_ref().is_some_and(|load| load.tally.sum().wrong > 0)
    }

    pub(super) fn document(&self) -> Value {
        let mut document = Map::new();
        if let Some(bulk) = &self.registered {
            document.insert("registered".to_owned(), bulk_document(bulk));
        }
        if let Some(LoadReport { tally, time, .. }) = &self.load {
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
        if let Some(bulk) = &self.unregistered {
            document.insert("unregistered".to_owned(), bulk_document(bulk));
        }
        document.into()
    }
}

/// Prints the outcome of the requests.
pub(super) fn print(load: &LoadReport) -> std::io::Result<()> {
    let LoadReport { tally, time, .. } = load;
    let [p50, p90, p99, p999, max] = PERCENTILES.map(|(_, heading, _)| heading);
    let headings = ["KIND", "SENT", "ANSWERED", "LOST", "WRONG", "RATE", p50, p90, p99, p999, max];
    let sum = tally.sum();
    let kinds = tally.kinds().map(|(kind, counts)| row(kind.word(), counts, *time));
    let all = (tally.kinds().count() > 1).then(|| row("all", &sum, *time));
    output::table(headings, kinds.chain(all))?;
    let mut notes = Vec::new();
    if tally.unasked > 0 {
        notes.push(format!(
            "{} more were due but not sent: all sockets were waiting for answers",
            tally.unasked
        ));
    }
    if tally.strays > 0 {
        notes.push(format!("{} answers matched no request", tally.strays));
    }
    output::lines(notes)
}

fn row(kind: &str, counts: &Counts, time: Duration) -> [String; 11] {
    let [p50, p90, p99, p999, max] =
        PERCENTILES.map(|(percentile, ..)| match counts.latency(percentile) {
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
            let latency = counts.latency(percentile);
            let micros = latency.map(|latency| latency.as_secs_f64() * 1e6);
            document.insert(key.to_owned(), micros.into());
        }
    }
    document
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with a few digits")]
fn per_second(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// A latency with about three significant digits.
fn short(latency: Duration) -> String {
    let seconds = latency.as_secs_f64();
    match seconds {
        s if s >= 1.0 => format!("{s:.2}s"),
        s if s >= 1e-2 => format!("{:.0}ms", s * 1e3),
        s if s >= 1e-3 => format!("{:.1}ms", s * 1e3),
        s => format!("{:.0}us", s * 1e6),
    }
}
