//! A world from its seed to its end, and the proof that it ends the same each time.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::rng::Rng;
use super::tally::Tally;
use super::trace::Lines;
use super::world::World;

/// What a world did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// The hash of every event and every byte.
    pub hash: u64,
    /// How often what happened.
    pub tally: Tally,
}

/// Runs the world of a seed.
///
/// # Panics
///
/// When a property does not hold.
#[must_use]
pub fn run(seed: u64, lines: Option<Lines>) -> Summary {
    World::new(Rng::new(seed), seed, lines).run()
}

/// Runs the world of a seed twice, and holds the two against each other.
///
/// # Panics
///
/// When a property does not hold, with the seed and the last lines of the trace.
pub fn check(seed: u64) -> Summary {
    check_with(seed, run)
}

/// Runs one seed and prints its whole trace.
///
/// # Panics
///
/// When a property does not hold, once the trace is printed.
pub fn replay(seed: u64) {
    replay_with(seed, run);
}

/// Runs the world whose choices a script makes, as long as it goes.
///
/// # Panics
///
/// When a property does not hold, with the last lines of the trace.
pub fn run_script(script: &[u8]) {
    explain("", |lines| World::new(Rng::of_script(script), 0, lines).run());
}

/// How a world is run from its seed.
type Run<T> = fn(u64, Option<Lines>) -> T;

/// Runs a world twice, and holds the two against each other.
pub(super) fn check_with<T: PartialEq + Debug>(seed: u64, run: Run<T>) -> T {
    let replay = format!("replay with HOPMQ_SEED={seed}");
    let [first, second] = [(); 2].map(|()| explain(&replay, |lines| run(seed, lines)));
    assert_eq!(first, second, "HOPMQ_SEED={seed} does not do the same twice");
    first
}

/// Runs a world; when it fails, once more to say what led up to it.
pub(super) fn explain<T>(replay: &str, run: impl Fn(Option<Lines>) -> T) -> T {
    catch_unwind(AssertUnwindSafe(|| run(None))).unwrap_or_else(|failure| {
        let lines = Lines::keeping(80);
        let again = catch_unwind(AssertUnwindSafe(|| run(Some(lines.clone()))));
        let same = if again.is_err() { "" } else { ", and did not fail again" };
        report(&format!("{}{replay}{same}", lines.text()));
        resume_unwind(failure)
    })
}

/// Runs a world and prints its whole trace.
pub(super) fn replay_with<T: Debug>(seed: u64, run: Run<T>) {
    let lines = Lines::keeping(usize::MAX);
    let result = catch_unwind(AssertUnwindSafe(|| run(seed, Some(lines.clone()))));
    report(&format!("{}seed {seed}: {result:?}", lines.text()));
    if let Err(failure) = result {
        resume_unwind(failure);
    }
}

#[allow(clippy::print_stderr)] // this is the report of a test
fn report(text: &str) {
    eprintln!("{text}");
}
