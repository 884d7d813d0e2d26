//! `hopmq-bench WORK COUNT SIZE HOST:PORT`: does one piece of work on tokio and prints one line of figures.
//!
//! WORK is `pub` (no confirms), `confirm` (at most 1000 unconfirmed), `confirm1` (one at a time), `consume` (each acked
//! on its own) or `consume-auto`. It runs on one thread, which is enough for one task and its connection;
//! `HOPMQ_BENCH_THREADS` sets another number of worker threads.

use std::error::Error;

use hopmq_bench::job::Job;
use tokio::runtime::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let job = Job::from_args()?;
    let runtime = match job.threads {
        1 => Builder::new_current_thread().enable_all().build()?,
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build()?,
    };
    job.measure(|job| runtime.block_on(async { job.run(hopmq_tokio::connect(&job.uri).await?).await }))
}
