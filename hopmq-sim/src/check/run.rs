use std::fmt;
use std::future::Future;

use super::fault::Fault;
use super::panics::{Panicked, catch};
use crate::settings::Builder;
use crate::sim::{RunError, Sim};
use crate::trace::Seconds;

/// What a test says at its end: nothing, or a [`Result`].
pub trait Outcome {
    /// Why it has failed, if so.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// What became of one run.
#[derive(Debug)]
pub(super) struct Run {
    /// Why it failed, if so.
    pub(super) cause: Option<Cause>,
    pub(super) schedules: Vec<Vec<Fault>>,
    pub(super) hash: u64,
    /// The end of its trace.
    pub(super) events: String,
    pub(super) at: hopmq::Instant,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    Panic(Panicked),
    Error(String),
    World(RunError),
}

impl Cause {
    /// Whether it is the same failure, as far as one can tell: texts differ from run to run.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Panic(one), Self::Panic(other)) => one.location == other.location,
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(Panicked { message, location }) => write!(f, "{message}\n  panicked at {location}"),
            Self::Error(text) => f.write_str(text),
            Self::World(error) => fmt::Display::fmt(error, f),
        }
    }
}

/// Runs the test in the world that `builder` makes, with these faults in place of the drawn ones if there are any.
pub(super) fn run<F: Future<Output: Outcome>>(
    builder: Builder,
    schedules: Option<Vec<Vec<Fault>>>,
    test: &impl Fn(Sim) -> F,
) -> Run {
    let sim = builder.build();
    sim.world.set_schedules(schedules);
    let result = catch(|| sim.run(async { test(sim.clone()).await.failure() }));
    let cause = match result {
        Ok(Ok(failure)) => failure.map(Cause::Error),
        Ok(Err(error)) => Some(Cause::World(error)),
        Err(panicked) => Some(Cause::Panic(panicked)),
    };
    let (hash, events, at) = (sim.trace_hash(), sim.last_events(), sim.now());
    Run { cause, schedules: sim.world.take_schedules(), hash, events, at }
}

/// A run of a test that failed, with as few faults as were found to be enough.
#[derive(Debug, Clone)]
pub struct Failure {
    pub(super) seed: u64,
    pub(super) cause: String,
    pub(super) faults: Vec<Fault>,
    /// The same, trouble by trouble.
    pub(super) schedules: Vec<Vec<Fault>>,
    pub(super) drawn: usize,
    pub(super) runs: usize,
    pub(super) events: String,
    pub(super) at: hopmq::Instant,
}

impl Failure {
    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// What the test said, or the world.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// The faults that it takes.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What happened last, a line each.
    #[must_use]
    pub fn events(&self) -> &str {
        &self.events
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, cause, faults, schedules: _, drawn, runs, events, at } = self;
        writeln!(f, "seed {seed} fails at {}: {cause}", Seconds(*at))?;
        if faults.is_empty() {
            writeln!(f, "\nit takes no fault ({drawn} drawn, {runs} runs)")?;
        } else {
            writeln!(f, "\nit takes {} of {drawn} faults ({runs} runs):", faults.len())?;
            faults.iter().try_for_each(|fault| writeln!(f, "  {fault}"))?;
        }
        writeln!(f, "\nwhat happened last:")?;
        events.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}
