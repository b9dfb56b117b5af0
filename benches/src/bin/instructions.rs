//! Counts the instructions of a query, of a renewal and of the dearest requests of each kind, and
//! compares them with limits.
//!
//! ```console
//! cargo run --release -p rpyc-benches --bin instructions
//! ```
//!
//! Times on a shared machine do not show a regression of a tenth; instructions, counted by
//! valgrind, do. The keys of hash tables are random, so a count varies by less than a percent. If a
//! change exceeds a limit, make the path cheaper again, or set another limit and give the reason.
//! gungraun does the same, but takes more to install and build than all of this.
#![expect(clippy::print_stdout, reason = "the result is what this is for")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use rpyc_benches::Table;
use rpyc_benches::costs::{COSTS, Cost, Crowded};

/// Requests in one measurement.
const REQUESTS: u32 = 1000;

/// Instances in the table, five of each name.
const INSTANCES: u32 = 5000;

/// The most instructions of a query of a name with five instances, among a thousand names.
const A_QUERY: u64 = 2_600;

/// The most instructions of a renewal of an instance with one name, among 5,000.
const A_RENEWAL: u64 = 3_100;

/// The function whose instructions valgrind counts.
const COUNTED: &str = "--toggle-collect=*instructions::counted*";

fn main() -> anyhow::Result<()> {
    let mut is_within = true;
    match std::env::args().nth(1).as_deref() {
        Some("query") => measure(|table| table.query_all()),
        Some("renewal") => measure(|table| table.renew_all()),
        Some(other) => match COSTS.iter().find(|cost| cost.name == other) {
            Some(cost) => measure_one(cost),
            None => bail!("{other} is not known here"),
        },
        None => {
            let directory = tempfile::TempDir::new()?;
            for (what, limit) in [("query", A_QUERY), ("renewal", A_RENEWAL)] {
                let count = count(what, REQUESTS, directory.path())?;
                let verdict = if count > limit { "EXCEEDED" } else { "ok" };
                println!("a {what}: {count} instructions, at most {limit}: {verdict}");
                is_within &= count <= limit;
            }
            let table = Crowded::new();
            for cost in COSTS {
                let Cost { name, limit, .. } = *cost;
                let request = table.request(cost);
                let (asked, answered) = (request.len(), table.serve(cost, &request));
                let count = count(name, 1, directory.path())?;
                let verdict = if count > limit { "EXCEEDED" } else { "ok" };
                println!(
                    "{name}: {asked} bytes in, {answered} bytes out, {count} instructions, at most \
                     {limit}: {verdict}"
                );
                is_within &= count <= limit;
            }
        }
    }
    ensure!(is_within, "a request takes more instructions than it may; see {}", file!());
    Ok(())
}

/// The instructions of one request, counted by running this program in valgrind.
fn count(what: &str, requests: u32, directory: &Path) -> anyhow::Result<u64> {
    let profile = directory.join(what);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet", COUNTED]);
    valgrind.arg(format!("--callgrind-out-file={}", profile.display()));
    let status = valgrind.arg(std::env::current_exe()?).arg(what).status();
    ensure!(status.context("cannot run valgrind")?.success(), "valgrind has failed");
    let profile = std::fs::read_to_string(profile)?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: u64 = total.context("valgrind printed no total")?.trim().parse()?;
    // As few as any answered request takes.
    ensure!(total > u64::from(requests) * 100, "nothing was counted");
    Ok(total / u64::from(requests))
}

fn measure(work: fn(&mut Table) -> usize) {
    let mut table = Table::new(INSTANCES, REQUESTS);
    counted(work, &mut table);
}

fn measure_one(cost: &Cost) {
    let table = Crowded::new();
    let request = table.request(cost);
    // Allocations and hash tables of the first request are not a cost of later ones.
    assert!(table.serve(cost, &request) > 0, "not answered");
    counted_one(cost, &table, &request);
}

/// As [`counted`], for one request.
#[inline(never)]
fn counted_one(cost: &Cost, table: &Crowded, request: &[u8]) {
    std::hint::black_box(table.serve(cost, request));
}

/// The measured function; valgrind finds it by its name.
#[inline(never)]
fn counted(work: fn(&mut Table) -> usize, table: &mut Table) {
    std::hint::black_box(work(table));
}
