//! `swarm [--world NAME] [--seeds N] [--from S] [--jobs J] [--most N]`: many worlds; `tests/swarm` runs it.

#![allow(clippy::print_stdout, clippy::print_stderr)] // it reports to a terminal

use std::env;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Instant;

use hopmq_tests::swarm::{self, Report, Sweep};
use hopmq_tests::world;

struct Arguments {
    sweep: Sweep,
    world: fn(u64) -> Report,
}

fn main() -> ExitCode {
    let Some(Arguments { sweep, world }) = arguments() else {
        eprintln!(
            "usage: swarm [--world swarm|sessions|connections] [--seeds N] [--from SEED] [--jobs N] [--most N]"
        );
        return ExitCode::from(2);
    };
    std::panic::set_hook(Box::new(|_| {})); // a panic is a finding, and is told below
    let begun = Instant::now();
    let (tally, found) = swarm::sweep(sweep, world, |done, took| {
        eprintln!("{done} seeds, {:.0} a second", done as f64 / took.as_secs_f64());
    });
    let took = begun.elapsed().as_secs_f64();
    println!("{tally:?}");
    for (seed, findings) in &found {
        println!("seed {seed}: {}", findings.join("\n  "));
    }
    let (worlds, rate) = (tally.worlds, tally.worlds as f64 / took);
    println!(
        "{worlds} seeds from {} on in {took:.1} s, {rate:.0} a second, {} with findings",
        sweep.first,
        found.len()
    );
    if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments() -> Option<Arguments> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut sweep = Sweep { first: 1, seeds: 10_000, jobs: cores, most: 20 };
    let mut world: fn(u64) -> Report = |seed| swarm::run(seed, false);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next()?;
        match argument.as_str() {
            "--seeds" => sweep.seeds = value.parse().ok()?,
            "--from" => sweep.first = value.parse().ok()?,
            "--jobs" => sweep.jobs = value.parse().ok()?,
            "--most" => sweep.most = value.parse().ok()?,
            "--world" => {
                world = match value.as_str() {
                    "swarm" => |seed| swarm::run(seed, false),
                    "sessions" => |seed| swarm::judge(|| world::run_session(seed, None).0),
                    "connections" => |seed| swarm::judge(|| world::run(seed, None).hash),
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
    Some(Arguments { sweep, world })
}
