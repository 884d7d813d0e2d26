use super::super::rng::Rng;
use super::super::run::{check_with, explain, replay_with};
use super::super::trace::Lines;
use super::tally::SessionTally;
use super::world::World;

/// Runs the world of sessions of a seed: the hash of all that happened, and how often what did.
///
/// # Panics
///
/// When a promise is broken.
#[must_use]
pub fn run_session(seed: u64, lines: Option<Lines>) -> (u64, SessionTally) {
    World::new(Rng::new(seed), seed, lines).run()
}

/// Runs the world of sessions of a seed twice, and holds the two against each other.
///
/// # Panics
///
/// When a promise is broken, with the seed and the last lines of the trace.
pub fn check_session(seed: u64) -> SessionTally {
    check_with(seed, run_session).1
}

/// Runs one seed and prints its whole trace.
///
/// # Panics
///
/// When a promise is broken, once the trace is printed.
pub fn replay_session(seed: u64) {
    replay_with(seed, run_session);
}

/// Runs the world of sessions whose choices a script makes, as long as it goes.
///
/// # Panics
///
/// When a promise is broken, with the last lines of the trace.
pub fn run_session_script(script: &[u8]) {
    explain("", |lines| World::new(Rng::of_script(script), 0, lines).run());
}
