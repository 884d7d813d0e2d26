use std::fmt;

use super::fault::Fault;
use crate::trace::Seconds;

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
        if !events.is_empty() {
            writeln!(f, "\nwhat happened last:")?;
        }
        events.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}
