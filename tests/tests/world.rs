//! Worlds of many seeds. `HOPMQ_SEED=n` replays one with its trace; `HOPMQ_WORLD_SEEDS` and `HOPMQ_WORLD_FIRST` choose
//! how many and from where.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::env;

use hopmq_tests::world;

/// The tests that share the seeds, so that they run side by side.
const PARTS: u64 = 8;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn part(part: u64) {
    if let Some(seed) = number("HOPMQ_SEED") {
        if part == 0 {
            world::replay(seed);
        }
        return;
    }
    let seeds = number("HOPMQ_WORLD_SEEDS").unwrap_or(2_000);
    let first = number("HOPMQ_WORLD_FIRST").unwrap_or(0);
    let mut all = world::Tally::default();
    for seed in (first..first + seeds).filter(|seed| seed % PARTS == part) {
        all = all.plus(world::check(seed).tally);
    }
    println!("{all:?}");
    if seeds >= 2_000 {
        assert_eq!(all.missing(), [""; 0], "worlds in which this never happens prove little");
    }
}

macro_rules! parts {
    ($($name:ident $part:literal)*) => {
        $(#[test] fn $name() { part($part) })*
    };
}

parts! { seeds_0 0 seeds_1 1 seeds_2 2 seeds_3 3 seeds_4 4 seeds_5 5 seeds_6 6 seeds_7 7 }

// Seeds that found something. A change of the workload changes what they do, so what they found is also a test of its
// own with the engine in question.

/// The client delivered a message to a consumer that had been given back while the message came.
#[test]
fn a_consumer_is_given_back_in_the_middle_of_a_message() {
    world::check(148);
}
