//! Many worlds of one test: each with faults of its own, and the simplest of those that break it.

mod fault;
mod panics;
mod run;
mod shrink;
mod trouble;

use std::env;
use std::future::Future;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

pub use fault::{Fault, FaultKind};
pub use run::{Failure, Outcome};
pub use trouble::{Calm, Trouble};

use crate::network::Link;
use crate::settings::Builder;
use crate::sim::Sim;
use run::{Cause, Run, run};
use shrink::Shrink;

/// How many seeds a test has, unless it is said.
const SEEDS: u64 = 100;
/// Longer than any service may take to come to rest.
const TIME_LIMIT: Duration = Duration::from_secs(3600);
/// Some seconds of computing.
const STEP_LIMIT: u64 = 5_000_000;

/// Runs a test in a hundred worlds, as [`Check::new`] and [`Check::run`] do.
///
/// ```
/// use std::time::Duration;
/// use hopmq_sim::BrokerConfig;
///
/// hopmq_sim::check(|sim| async move {
///     let (rabbit, shop) = (sim.host("rabbit"), sim.host("shop"));
///     rabbit.broker(BrokerConfig::default())?;
///     let connection = shop.connect("amqp://rabbit?heartbeat=5").await?;
///     sim.trouble().host(&rabbit).link(&shop, &rabbit).begin().await;
///     // Within two minutes of the last fault the connection is back, and works.
///     sim.timeout(Duration::from_secs(120), connection.open_channel()).await??;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// });
/// ```
///
/// # Panics
///
/// When the test fails in one of them.
#[track_caller]
pub fn check<F: Future<Output: Outcome>>(test: impl Fn(Sim) -> F) {
    Check::new().run(test);
}

/// A test of many worlds, each from a seed.
///
/// A test builds its world and says which [trouble](Sim::trouble) there may be; each seed draws faults from that. It fails when it
/// panics, when it gives an `Err`, and when its world stands still or takes too long. Then faults are left out and their times
/// made round for as long as it still fails, and what is left is reported, with the seed and the last events.
///
/// | variable | |
/// |---|---|
/// | `HOPMQ_SIM_SEEDS` | how many seeds to run, in place of what the test says |
/// | `HOPMQ_SEED` | runs only that seed, and prints all events as they happen |
#[derive(Debug, Clone, Copy)]
#[must_use = "run() runs it"]
pub struct Check {
    seeds: u64,
    builder: Builder,
}

impl Default for Check {
    fn default() -> Self {
        Self::new()
    }
}

impl Check {
    /// A hundred seeds, each up to a virtual hour.
    pub const fn new() -> Self {
        let builder = Builder::new(0).time_limit(TIME_LIMIT).step_limit(STEP_LIMIT);
        Self { seeds: SEEDS, builder }
    }

    /// How many seeds to run, from 1 on.
    pub const fn seeds(mut self, count: u64) -> Self {
        self.seeds = count;
        self
    }

    /// What the network is like between hosts of which nothing else is said.
    pub const fn link(mut self, link: Link) -> Self {
        self.builder = self.builder.link(link);
        self
    }

    /// How long a run may last in virtual time: an hour unless it is said.
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.builder = self.builder.time_limit(limit);
        self
    }

    /// How often a run may poll tasks: five million times unless it is said.
    pub const fn step_limit(mut self, limit: u64) -> Self {
        self.builder = self.builder.step_limit(limit);
        self
    }

    /// How many of the last events a report has: 40 unless it is said.
    pub const fn kept_events(mut self, count: usize) -> Self {
        self.builder = self.builder.kept_events(count);
        self
    }

    /// Runs the test, as the environment says.
    ///
    /// # Panics
    ///
    /// When it fails, with the report; and when a variable is no number.
    #[track_caller]
    #[allow(clippy::panic)] // that is how a test fails
    pub fn run<F: Future<Output: Outcome>>(mut self, test: impl Fn(Sim) -> F) {
        let failure = match variable("HOPMQ_SEED") {
            Some(seed) => self.replay(seed, &test),
            None => {
                self.seeds = variable("HOPMQ_SIM_SEEDS").unwrap_or(self.seeds);
                self.find(test)
            }
        };
        if let Some(failure) = failure {
            let name = thread::current().name().filter(|name| *name != "main").map(|name| format!(" {name}"));
            let name = name.unwrap_or_default();
            panic!("{failure}\nto see all of it: HOPMQ_SEED={} cargo test{name}\n", failure.seed);
        }
    }

    /// Runs the test, whatever the environment says, and gives the first failure.
    #[must_use]
    pub fn find<F: Future<Output: Outcome>>(self, test: impl Fn(Sim) -> F) -> Option<Failure> {
        (1..=self.seeds).find_map(|seed| self.fail(seed, &test))
    }

    /// Runs one seed, and its failure with all events.
    fn replay<F: Future<Output: Outcome>>(self, seed: u64, test: &impl Fn(Sim) -> F) -> Option<Failure> {
        let failure = self.fail(seed, test);
        let schedules = failure.as_ref().map(|failure| failure.schedules.clone());
        run(self.builder.seed(seed).tell(true), schedules, test);
        failure
    }

    /// Runs one seed, and looks for the simplest failure if it fails.
    fn fail<F: Future<Output: Outcome>>(self, seed: u64, test: &impl Fn(Sim) -> F) -> Option<Failure> {
        let builder = self.builder.seed(seed);
        let first = run(builder, None, test);
        // Once is enough to find out what is random: that seldom depends on the seed.
        let again = if first.cause.is_some() || seed == 1 { Some(run(builder, None, test)) } else { None };
        if let Some(again) = again.filter(|again| again.hash != first.hash) {
            return Some(not_the_same(seed, first, &again));
        }
        let cause = first.cause.as_ref()?;
        let drawn = first.schedules.iter().map(Vec::len).sum();
        let is_like = |run: &Run| run.cause.as_ref().is_some_and(|other| other.is_like(cause));
        let mut shrink =
            Shrink::new(|schedules: &[Vec<Fault>]| is_like(&run(builder, Some(schedules.to_vec()), test)));
        let schedules = shrink.shrink(first.schedules.clone());
        let runs = shrink.runs + 2;
        let last = run(builder, Some(schedules.clone()), test);
        let said = last.cause.as_ref().map_or_else(String::new, Cause::to_string);
        let faults = schedules.iter().flatten().cloned().collect();
        Some(Failure { seed, cause: said, faults, schedules, drawn, runs, events: last.events, at: last.at })
    }
}

/// The same seed has made two different runs: the first that is to be told.
fn not_the_same(seed: u64, first: Run, again: &Run) -> Failure {
    let mut cause = "two runs of this seed differ, so something in the test does not follow from it: \
                     a clock, a thread, a random number, the order of a HashMap"
        .to_owned();
    if let Some(own) = first.cause.as_ref().or(again.cause.as_ref()) {
        cause = format!("{cause}. One of them failed: {own}");
    }
    let faults: Vec<_> = first.schedules.iter().flatten().cloned().collect();
    let drawn = faults.len();
    Failure {
        seed,
        cause,
        faults,
        schedules: first.schedules,
        drawn,
        runs: 2,
        events: first.events,
        at: first.at,
    }
}

#[allow(clippy::panic)] // nothing of what was asked for would be done
fn variable<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} is {value:?}, which is no number"),
    }
}
