//! Worlds of sessions of many seeds. `HOPMQ_SEED=n` replays one with its trace; `HOPMQ_SESSION_SEEDS` and
//! `HOPMQ_WORLD_FIRST` choose how many and from where.

use hopmq_tests::seeds::Seeds;
use hopmq_tests::world::{self, SessionTally};

const SEEDS: Seeds<SessionTally> = Seeds {
    count: "HOPMQ_SESSION_SEEDS",
    usual: 1_000,
    first: "HOPMQ_WORLD_FIRST",
    replay: world::replay_session,
    check: world::check_session,
    missing: SessionTally::missing,
};

macro_rules! parts {
    ($($name:ident $part:literal)*) => {
        $(#[test] fn $name() { SEEDS.part($part) })*
    };
}

parts! { seeds_0 0 seeds_1 1 seeds_2 2 seeds_3 3 }
