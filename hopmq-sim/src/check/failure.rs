use std::fmt;

use super::fault::Fault;
use crate::network::Link;
use crate::settings::Builder;
use crate::trace::Seconds;

/// A run of a test that failed, with as few faults as were found to be enough.
#[derive(Debug, Clone)]
pub struct Failure {
    pub(super) seed: u64,
    pub(super) cause: String,
    pub(super) faults: Vec<Fault>,
    /// The same, trouble by trouble.
    pub(super) schedules: Vec<Vec<Fault>>,
    /// The world, as far as the test does not make it.
    pub(super) world: Builder,
    pub(super) link: Link,
    pub(super) is_link_drawn: bool,
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

    /// What the network was like between hosts of which the test does not say it: plain, if that was enough.
    #[must_use]
    pub const fn link(&self) -> Link {
        self.link
    }

    /// What happened around the beginning and the end of each fault, and last, a line each. Of what opens a connection only
    /// that it connects and its `connection.open-ok` are told: [`Sim::last_events`](crate::Sim::last_events) and a replay tell all of it.
    #[must_use]
    pub fn events(&self) -> &str {
        &self.events
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            cause,
            faults,
            schedules: _,
            world: _,
            link,
            is_link_drawn,
            drawn,
            runs,
            events,
            at,
        } = self;
        writeln!(f, "seed {seed} fails at {}: {cause}", Seconds(*at))?;
        if faults.is_empty() {
            writeln!(f, "\nit takes no fault ({drawn} drawn, {runs} runs)")?;
        } else {
            writeln!(f, "\nit takes {} of {drawn} faults ({runs} runs):", faults.len())?;
            faults.iter().try_for_each(|fault| writeln!(f, "  {fault}"))?;
        }
        if *is_link_drawn {
            writeln!(f, "\nin a network with {link}")?;
        }
        if !events.is_empty() {
            writeln!(f, "\nwhat happened:")?;
        }
        events.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}
