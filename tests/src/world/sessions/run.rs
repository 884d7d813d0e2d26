use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

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
    World::new(seed, lines).run()
}

/// Runs the world of sessions of a seed twice, and holds the two against each other.
///
/// # Panics
///
/// When a promise is broken, with the seed and the last lines of the trace.
pub fn check_session(seed: u64) -> SessionTally {
    let first = explain(seed);
    let second = explain(seed);
    assert_eq!(first, second, "HOPMQ_SEED={seed} does not do the same twice");
    first.1
}

fn explain(seed: u64) -> (u64, SessionTally) {
    catch_unwind(AssertUnwindSafe(|| run_session(seed, None))).unwrap_or_else(|failure| {
        let lines = Lines::keeping(80);
        let again = catch_unwind(AssertUnwindSafe(|| run_session(seed, Some(lines.clone()))));
        let same = if again.is_err() { "" } else { ", and did not fail again" };
        report(&format!("{}replay with HOPMQ_SEED={seed}{same}", lines.text()));
        resume_unwind(failure)
    })
}

/// Runs one seed and prints its whole trace.
///
/// # Panics
///
/// When a promise is broken, once the trace is printed.
pub fn replay_session(seed: u64) {
    let lines = Lines::keeping(usize::MAX);
    let result = catch_unwind(AssertUnwindSafe(|| run_session(seed, Some(lines.clone()))));
    report(&format!("{}seed {seed}: {result:?}", lines.text()));
    if let Err(failure) = result {
        resume_unwind(failure);
    }
}

#[allow(clippy::print_stderr)] // this is the report of a test
fn report(text: &str) {
    eprintln!("{text}");
}
