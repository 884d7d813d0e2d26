//! One seed: whether it fails, and of what.

use std::future::Future;

use super::Check;
use super::failure::Failure;
use super::fault::Fault;
use super::run::{Cause, Outcome, Run, run};
use super::shrink::Shrink;
use crate::network::Link;
use crate::settings::Builder;
use crate::sim::Sim;

/// As many events as a run can well have.
const ALL: usize = 1_000_000;

/// Runs a world, and looks for the simplest failure if it fails. With `is_twice` it is run twice at least.
pub(super) fn search<F: Future<Output: Outcome>>(
    check: &Check,
    seed: u64,
    is_twice: bool,
    test: &impl Fn(Sim) -> F,
) -> Option<Failure> {
    let mut world = check.world(seed);
    let first = run(world, None, test);
    let again = if first.cause.is_some() || is_twice { Some(run(world, None, test)) } else { None };
    if let Some(again) = again.filter(|again| !is_the_same(&first, again)) {
        return Some(not_the_same(check, test, [&first, &again], 2));
    }
    let cause = first.cause.as_ref()?;
    let is_like = |run: &Run| run.cause.as_ref().is_some_and(|other| other.is_like(cause));
    let fails = |world, schedules: &[Vec<Fault>]| is_like(&run(world, Some(schedules.to_vec()), test));

    // In their own time they are as they were; the ties between timers may fall otherwise.
    let mut schedules = first.happened.clone();
    if !fails(world, &schedules) {
        schedules.clone_from(&first.drawn);
    }
    let plain = world.link(Link::new());
    if check.link.is_none() && fails(plain, &schedules) {
        world = plain;
    }
    let mut shrink = Shrink::new(|schedules: &[Vec<Fault>]| fails(world, schedules));
    schedules = shrink.shrink(schedules);
    let mut runs = shrink.runs + 5;
    if check.link.is_none() && fails(plain, &schedules) {
        world = plain;
    }
    let mut last = run(world.kept_events(ALL), Some(schedules.clone()), test);
    if is_like(&last) && last.happened != schedules {
        // Without the others it was another moment.
        let settled = run(world.kept_events(ALL), Some(last.happened.clone()), test);
        runs += 1;
        if is_like(&settled) && settled.happened == last.happened {
            schedules = last.happened;
            last = settled;
        }
    }
    if !is_like(&last) {
        return Some(not_the_same(check, test, [&first, &last], runs));
    }
    Some(failure(check, (world, schedules), &first, &last, runs))
}

fn failure(
    check: &Check,
    (world, schedules): (Builder, Vec<Vec<Fault>>),
    first: &Run,
    last: &Run,
    runs: usize,
) -> Failure {
    let link = world.settings().link;
    Failure {
        seed: last.sim.seed(),
        cause: last.cause.as_ref().map_or_else(String::new, Cause::to_string),
        faults: schedules.iter().flatten().cloned().collect(),
        schedules,
        world,
        link,
        is_link_drawn: check.link.is_none(),
        drawn: first.drawn.iter().map(Vec::len).sum(),
        runs,
        events: last.sim.world.lock().trace.digest(check.tail),
        at: last.at,
    }
}

/// Whether two runs that should have done the same did.
fn is_the_same(one: &Run, other: &Run) -> bool {
    let is_like = match (&one.cause, &other.cause) {
        (Some(one), Some(other)) => one.is_like(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    is_like && one.hash == other.hash
}

/// The same seed has made two different runs: the first that is to be told, and where another two part.
fn not_the_same<F: Future<Output: Outcome>>(
    check: &Check,
    test: &impl Fn(Sim) -> F,
    [first, again]: [&Run; 2],
    runs: usize,
) -> Failure {
    let mut cause = "two runs of this seed differ, so something in the test does not follow from it: \
                     a clock, a thread, a random number, the order of a HashMap"
        .to_owned();
    if let Some(own) = first.cause.as_ref().or(again.cause.as_ref()) {
        cause = format!("{cause}. One of them failed: {own}");
    }
    let world = check.world(first.sim.seed());
    let [one, other] = [(); 2].map(|()| run(world.kept_events(ALL), None, test));
    let difference = one.sim.world.lock().trace.first_difference(&other.sim.world.lock().trace);
    if let Some(difference) = difference {
        let [one, other] =
            difference.map(|line| line.unwrap_or_else(|| "              nothing more".to_owned()));
        cause = format!("{cause}.\nOf another two the first that differs is\n{one}\nand\n{other}");
    }
    Failure { cause, ..failure(check, (world, first.drawn.clone()), first, first, runs + 2) }
}
