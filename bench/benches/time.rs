//! The workloads against the clock. See the README.

use divan::Bencher;
use divan::counter::ItemsCount;
use hopmq_bench::{WORKLOADS, Workload};

fn main() {
    divan::main();
}

#[divan::bench(args = WORKLOADS)]
fn time(bencher: Bencher<'_, '_>, workload: &Workload) {
    bencher
        .counter(ItemsCount::new(workload.messages))
        .with_inputs(workload.prepare)
        .bench_local_refs(|run| run());
}
