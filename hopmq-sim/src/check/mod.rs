//! Many worlds of one test: each with faults of its own, and the simplest of those that break it.

mod draw;
mod failure;
mod fault;
mod moment;
mod panics;
mod run;
mod search;
mod shrink;
mod trouble;

use std::env;
use std::future::Future;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

pub use failure::Failure;
pub use fault::{Fault, FaultKind};
pub use moment::{Does, Moment};
pub(crate) use panics::is_heard;
pub use run::Outcome;
pub use trouble::{Calm, Trouble};

use crate::network::Link;
use crate::settings::Builder;
use crate::sim::Sim;
use run::run;
use search::search;

/// How many seeds a test has, unless it is said.
const SEEDS: u64 = 100;
/// How many lines a report ends with, unless it is said.
const TAIL: usize = 12;
/// Longer than any service may take to come to rest.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

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
/// made round for as long as it still fails, and what is left is reported, with the seed and what happened around them.
///
/// | variable | |
/// |---|---|
/// | `HOPMQ_SIM_SEEDS` | how many seeds to run, in place of what [`seeds`](Self::seeds) says |
/// | `HOPMQ_SIM_FIRST_SEED` | the first of them, in place of 1: another night's are others |
/// | `HOPMQ_SEED` | runs only that seed, and prints all of the run that it would report |
///
/// With `HOPMQ_SEED` the faults that the seed draws are printed to stderr, the same search is done, and then what it has found is run
/// once more: all events are printed as they happen, and a panic with its backtrace. Of a test that passes, libtest shows that with `--nocapture` only.
#[derive(Debug, Clone, Copy)]
#[must_use = "run() runs it"]
pub struct Check {
    first: u64,
    seeds: u64,
    /// The environment does not say which seeds.
    is_one: bool,
    /// Drawn unless it is said.
    link: Option<Link>,
    /// How many lines a report ends with.
    tail: usize,
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
        let builder = Builder::new(0).time_limit(TIME_LIMIT);
        Self { first: 1, seeds: SEEDS, is_one: false, link: None, tail: TAIL, builder }
    }

    /// How many seeds to run, at least 1, from 1 on.
    pub const fn seeds(mut self, count: u64) -> Self {
        self.seeds = count;
        self
    }

    /// Runs this seed only, whatever `HOPMQ_SIM_SEEDS` says: one that has found a bug is a regression test, for as long as the code
    /// draws what it drew. [`Trouble::exactly`] lasts longer.
    pub const fn seed(mut self, seed: u64) -> Self {
        (self.first, self.seeds, self.is_one) = (seed, 1, true);
        self
    }

    /// What the network is like between hosts of which nothing else is said. Without it each seed draws a latency from 0.2 ms to
    /// 200 ms, and as much jitter or less.
    pub const fn link(mut self, link: Link) -> Self {
        self.link = Some(link);
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

    /// How many of the last events a report has, besides those around its faults: 12 unless it is said.
    pub const fn kept_events(mut self, count: usize) -> Self {
        self.tail = count;
        self
    }

    /// The world of a seed.
    fn world(&self, seed: u64) -> Builder {
        let link = self.link.unwrap_or_else(|| draw::link(seed));
        self.builder.seed(seed).link(link).kept_events(0)
    }

    /// Runs the test, as the environment says.
    ///
    /// # Panics
    ///
    /// When it fails, with the report; when there is no seed to run; and when a variable is no number.
    #[track_caller]
    #[allow(clippy::panic)] // that is how a test fails
    pub fn run<F: Future<Output: Outcome>>(mut self, test: impl Fn(Sim) -> F) {
        let [only, first, seeds] = ["HOPMQ_SEED", "HOPMQ_SIM_FIRST_SEED", "HOPMQ_SIM_SEEDS"].map(variable);
        if !self.is_one {
            (self.first, self.seeds) = (first.unwrap_or(self.first), seeds.unwrap_or(self.seeds));
        }
        let failure = match only {
            Some(seed) => self.replay(seed, &test),
            None => self.find(test),
        };
        if let Some(failure) = failure {
            let name = thread::current().name().filter(|name| *name != "main").map(|name| format!(" {name}"));
            let name = name.unwrap_or_default();
            panic!("{failure}\nto see all of it: HOPMQ_SEED={} cargo test{name}\n", failure.seed);
        }
    }

    /// Runs the test, whatever the environment says, and gives the first failure.
    ///
    /// # Panics
    ///
    /// When there is no seed to run.
    #[must_use]
    #[track_caller]
    pub fn find<F: Future<Output: Outcome>>(self, test: impl Fn(Sim) -> F) -> Option<Failure> {
        assert!(self.seeds > 0, "with no seed at all nothing is tested");
        let seeds = self.first..self.first.saturating_add(self.seeds);
        // Once is enough to find out what is random: that seldom depends on the seed.
        seeds.into_iter().find_map(|seed| search(&self, seed, seed == self.first, &test))
    }

    /// Runs one seed, and its failure with all events.
    #[allow(clippy::print_stderr)] // somebody has asked for it
    fn replay<F: Future<Output: Outcome>>(self, seed: u64, test: &impl Fn(Sim) -> F) -> Option<Failure> {
        let mut world = self.world(seed);
        eprintln!("seed {seed} has {}, and draws", world.settings().link);
        for fault in run(world, None, test).drawn.iter().flatten() {
            eprintln!("  {fault}");
        }
        let failure = search(&self, seed, true, test);
        let schedules = failure.as_ref().map(|failure| failure.schedules.clone());
        if let Some(failure) = &failure {
            eprintln!("it fails with {} of these faults, as follows", failure.faults.len());
            world = failure.world;
        }
        run(world.tell(true), schedules, test);
        failure
    }
}

#[allow(clippy::panic)] // nothing of what was asked for would be done
fn variable<T: FromStr>(name: &str) -> Option<T> {
    let value = env::var_os(name)?;
    match value.to_str().and_then(|value| value.parse().ok()) {
        Some(number) => Some(number),
        None => panic!("{name} is {value:?}, which is no number"),
    }
}
