//! One seed: whether it fails, and of what.

use std::future::Future;

use super::failure::Failure;
use super::fault::Fault;
use super::run::{Cause, Outcome, Run, run};
use super::shrink::Shrink;
use crate::settings::Builder;
use crate::sim::Sim;

/// Runs a world, and looks for the simplest failure if it fails. With `is_twice` it is run twice at least.
pub(super) fn search<F: Future<Output: Outcome>>(
    seed: u64,
    builder: Builder,
    is_twice: bool,
    test: &impl Fn(Sim) -> F,
) -> Option<Failure> {
    let builder = builder.seed(seed);
    let first = run(builder, None, test);
    let again = if first.cause.is_some() || is_twice { Some(run(builder, None, test)) } else { None };
    if let Some(again) = again.filter(|again| !is_the_same(&first, again)) {
        return Some(not_the_same(seed, first, &again, 2));
    }
    let cause = first.cause.as_ref()?;
    let drawn = first.schedules.iter().map(Vec::len).sum();
    let is_like = |run: &Run| run.cause.as_ref().is_some_and(|other| other.is_like(cause));
    let mut shrink =
        Shrink::new(|schedules: &[Vec<Fault>]| is_like(&run(builder, Some(schedules.to_vec()), test)));
    let schedules = shrink.shrink(first.schedules.clone());
    let runs = shrink.runs + 3;
    let last = run(builder, Some(schedules.clone()), test);
    if !is_like(&last) {
        return Some(not_the_same(seed, first, &last, runs));
    }
    let said = last.cause.as_ref().map_or_else(String::new, Cause::to_string);
    let faults = schedules.iter().flatten().cloned().collect();
    Some(Failure { seed, cause: said, faults, schedules, drawn, runs, events: last.events, at: last.at })
}

/// Whether two runs that should have done the same did.
fn is_the_same(one: &Run, other: &Run) -> bool {
    let is_like = match (&one.cause, &other.cause) {
        (Some(one), Some(other)) => one.is_like(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    is_like && one.hash == other.hash
}

/// The same seed has made two different runs: the first that is to be told.
fn not_the_same(seed: u64, first: Run, again: &Run, runs: usize) -> Failure {
    let mut cause = "two runs of this seed differ, so something in the test does not follow from it: \
                     a clock, a thread, a random number, the order of a HashMap"
        .to_owned();
    if let Some(own) = first.cause.as_ref().or(again.cause.as_ref()) {
        cause = format!("{cause}. One of them failed: {own}");
    }
    let faults: Vec<_> = first.schedules.iter().flatten().cloned().collect();
    let drawn = faults.len();
    let Run { schedules, events, at, .. } = first;
    Failure { seed, cause, faults, schedules, drawn, runs, events, at }
}
