//! The swarm, some hundreds of seeds, each twice with equal traces. `HOPMQ_SEED=n` replays one with its trace;
//! `HOPMQ_SWARM_SEEDS` and `HOPMQ_SWARM_FIRST` choose how many and from where. `tests/swarm` runs many.

use hopmq_tests::seeds::Seeds;
use hopmq_tests::swarm::{self, SwarmTally};

const SEEDS: Seeds<SwarmTally> = Seeds {
    count: "HOPMQ_SWARM_SEEDS",
    usual: 400,
    first: "HOPMQ_SWARM_FIRST",
    replay: swarm::replay,
    check: swarm::check,
    missing: SwarmTally::missing,
};

macro_rules! parts {
    ($($name:ident $part:literal)*) => {
        $(#[test] fn $name() { SEEDS.part($part) })*
    };
}

parts! { seeds_0 0 seeds_1 1 seeds_2 2 seeds_3 3 }
