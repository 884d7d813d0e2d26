//! Worlds of sessions of many seeds. `HOPMQ_SEED=n` replays one with its trace; `HOPMQ_SESSION_SEEDS` and
//! `HOPMQ_WORLD_FIRST` choose how many and from where.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::env;

use hopmq_tests::world;

/// The tests that share the seeds, so that they run side by side.
const PARTS: u64 = 4;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn part(part: u64) {
    if let Some(seed) = number("HOPMQ_SEED") {
        if part == 0 {
            world::replay_session(seed);
        }
        return;
    }
    let seeds = number("HOPMQ_SESSION_SEEDS").unwrap_or(1_000);
    let first = number("HOPMQ_WORLD_FIRST").unwrap_or(0);
    let mut all = world::SessionTally::default();
    for seed in (first..first + seeds).filter(|seed| seed % PARTS == part) {
        all += world::check_session(seed);
    }
    println!("{all:?}");
    if seeds >= 1_000 {
        assert_eq!(all.missing(), [""; 0], "worlds in which this never happens prove little");
    }
}

macro_rules! parts {
    ($($name:ident $part:literal)*) => {
        $(#[test] fn $name() { part($part) })*
    };
}

parts! { seeds_0 0 seeds_1 1 seeds_2 2 seeds_3 3 }
