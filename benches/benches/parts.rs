//! The cost of the parts of the registry's work, each alone and by the size of the table.
//!
//! ```console
//! cargo bench -p rpyc-benches --bench parts
//! ```

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use rpyc_benches::Table;
use rpyc_protocol::Limits;
use rpyc_protocol::registry::Request;

const SIZES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Table sizes for operations that change the table.
const SMALLER: [u32; 3] = [1_000, 10_000, 100_000];

/// Requests in one measurement.
const REQUESTS: u32 = 1000;

fn main() {
    divan::main();
}

#[divan::bench]
fn decode_query(bencher: Bencher<'_, '_>) {
    let query = rpyc_benches::query();
    bencher.bench(|| Request::decode(black_box(&query), &Limits::REQUEST).is_ok());
}

#[divan::bench(args = SIZES)]
fn thousand_queries(bencher: Bencher<'_, '_>, instances: u32) {
    let mut table = Table::new(instances, REQUESTS);
    bencher.counter(ItemsCount::new(REQUESTS)).bench_local(|| table.query_all());
}

#[divan::bench(args = SIZES)]
fn thousand_renewals(bencher: Bencher<'_, '_>, instances: u32) {
    let mut table = Table::new(instances, REQUESTS);
    bencher.counter(ItemsCount::new(REQUESTS)).bench_local(|| table.renew_all());
}

/// Registers one more instance in a table of this size.
#[divan::bench(args = SMALLER)]
fn registration(bencher: Bencher<'_, '_>, instances: u32) {
    let mut table = Table::new(instances, REQUESTS);
    let mut next = instances;
    bencher.bench_local(|| {
        table.register(next);
        next += 1;
    });
}

/// All leases of a table end at once.
#[divan::bench(args = SMALLER, sample_count = 5, sample_size = 1)]
fn expiry(bencher: Bencher<'_, '_>, instances: u32) {
    bencher
        .counter(ItemsCount::new(instances))
        .with_inputs(|| Table::new(instances, REQUESTS))
        .bench_local_refs(|table| assert_eq!(table.expire_all(), 0, "some are left"));
}
