//! `hopmq-bench-smol WORK COUNT SIZE HOST:PORT`: as `hopmq-bench`, on smol.
//!
//! It runs on one thread, with an executor of its own; with `HOPMQ_BENCH_THREADS=2` the connection is on smol's global executor, and
//! its user on the main thread.

use std::error::Error;
use std::sync::Arc;

use hopmq_bench::job::Job;
use hopmq_smol::{Connection, Smol, TcpDialer};

fn main() -> Result<(), Box<dyn Error>> {
    let job = Job::from_args()?;
    match job.threads {
        1 => {
            let executor = Arc::new(smol::Executor::new());
            let runtime = Smol::on(&executor);
            job.measure(|job| {
                smol::block_on(executor.run(async {
                    job.run(Connection::connect(&runtime, TcpDialer, job.uri.parse()?).await?).await
                }))
            })
        }
        2 => job.measure(|job| smol::block_on(async { job.run(hopmq_smol::connect(&job.uri).await?).await })),
        threads => Err(format!("not on {threads} threads").into()),
    }
}
