//! `chaos [--runs N] [--from SEED] [--seed SEED] [--parallel N] [--minutes N] [--verbose]`: HopMQ under chaos; `tests/chaos` runs it.

use std::process::ExitCode;

use hopmq_tests::chaos::{hopmq::HopMq, report};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    report::main::<HopMq>()
}
