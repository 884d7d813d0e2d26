//! The swarm, some hundreds of seeds, each twice with equal traces. `HOPMQ_SEED=n` replays one with its trace;
//! `HOPMQ_SWARM_SEEDS` and `HOPMQ_SWARM_FIRST` choose how many and from where. `tests/swarm` runs many.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::env;

use hopmq_tests::swarm::{self, SwarmTally};

/// The tests that share the seeds, so that they run side by side.
const PARTS: u64 = 4;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn part(part: u64) {
    if let Some(seed) = number("HOPMQ_SEED") {
        if part == 0 {
            swarm::replay(seed);
        }
        return;
    }
    let seeds = number("HOPMQ_SWARM_SEEDS").unwrap_or(400);
    let first = number("HOPMQ_SWARM_FIRST").unwrap_or(0);
    let mut all = SwarmTally::default();
    for seed in (first..first + seeds).filter(|seed| seed % PARTS == part) {
        all += swarm::check(seed);
    }
    println!("{all:?}");
    if seeds >= 400 {
        assert_eq!(all.missing(), [""; 0], "worlds in which this never happens prove little");
    }
}

macro_rules! parts {
    ($($name:ident $part:literal)*) => {
        $(#[test] fn $name() { part($part) })*
    };
}

parts! { seeds_0 0 seeds_1 1 seeds_2 2 seeds_3 3 }
