use std::fmt;
use std::future::Future;
use std::mem::discriminant;

use super::fault::Fault;
use super::panics::{Panicked, catch};
use crate::settings::Builder;
use crate::sim::{RunError, Sim};

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
    /// Its faults, trouble by trouble: as they were drawn, and as they happened.
    pub(super) drawn: Vec<Vec<Fault>>,
    pub(super) happened: Vec<Vec<Fault>>,
    pub(super) hash: u64,
    pub(super) at: hopmq::Instant,
    /// Its world, which is over.
    pub(super) sim: Sim,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    Panic(Panicked),
    Error(String),
    World(RunError),
}

impl Cause {
    /// Whether it is the same failure, as far as one can tell: numbers differ from run to run, and so does what an assertion has
    /// to say of its values.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Panic(one), Self::Panic(other)) => {
                let first =
                    |panicked: &Panicked| without_digits(panicked.message.lines().next().unwrap_or_default());
                one.location == other.location && first(one) == first(other)
            }
            (Self::Error(one), Self::Error(other)) => without_digits(one) == without_digits(other),
            (Self::World(one), Self::World(other)) => discriminant(one) == discriminant(other),
            _ => false,
        }
    }
}

/// Each number as one sign.
fn without_digits(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for char in text.chars() {
        let char = if char.is_ascii_digit() { '#' } else { char };
        if char != '#' || !masked.ends_with('#') {
            masked.push(char);
        }
    }
    masked
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(Panicked { message, location }) => write!(f, "{message}\n  panicked at {location}"),
            Self::Error(text) => f.write_str(text),
            Self::World(error) => f.write_str(&error.text()),
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
    let result = catch(sim.seed(), sim.world.settings.is_told, || {
        sim.run(async { test(sim.clone()).await.failure() })
    });
    let cause = match result {
        Ok(Ok(failure)) => failure.map(Cause::Error),
        Ok(Err(error)) => Some(Cause::World(error)),
        Err(panicked) => Some(Cause::Panic(panicked)),
    };
    let schedules = sim.world.take_schedules();
    let drawn = schedules.iter().map(|schedule| schedule.drawn.clone()).collect();
    let mut happened: Vec<_> = schedules.into_iter().map(|schedule| schedule.happened).collect();
    happened.iter_mut().for_each(|faults| faults.sort_by_key(|fault| fault.at));
    Run { cause, drawn, happened, hash: sim.trace_hash(), at: sim.now(), sim }
}
