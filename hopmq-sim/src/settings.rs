use std::time::Duration;

use crate::Sim;
use crate::network::Link;
use crate::world::World;

/// A virtual day.
const TIME_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Some seconds of computing.
const STEP_LIMIT: u64 = 5_000_000;
/// Some pages.
const KEPT_EVENTS: usize = 40;

/// A world that is to be made; [`Sim::builder`] begins it.
#[derive(Debug, Clone, Copy)]
#[must_use = "build() makes the world"]
pub struct Builder(Settings);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) link: Link,
    pub(crate) time_limit: Duration,
    pub(crate) step_limit: u64,
    pub(crate) kept_events: usize,
    pub(crate) is_told: bool,
}

impl Settings {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            seed,
            link: Link::new(),
            time_limit: TIME_LIMIT,
            step_limit: STEP_LIMIT,
            kept_events: KEPT_EVENTS,
            is_told: false,
        }
    }
}

impl Builder {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Settings::new(seed))
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.0
    }

    pub(crate) const fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// What the network is like between hosts of which nothing else is [said](crate::Host::set_link).
    pub const fn link(mut self, link: Link) -> Self {
        self.0.link = link;
        self
    }

    /// How long a run may last in virtual time: a day unless it is said.
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.0.time_limit = limit;
        self
    }

    /// How often a run may poll tasks: five million times unless it is said. It ends what waits busily, for whom no time
    /// passes.
    pub const fn step_limit(mut self, limit: u64) -> Self {
        self.0.step_limit = limit;
        self
    }

    /// How many of the last events are kept for [`Sim::last_events`]: 40 unless it is said. With 0, and when nothing is
    /// [told](Self::tell), nobody reads what hosts say, which is a little faster.
    pub const fn kept_events(mut self, count: usize) -> Self {
        self.0.kept_events = count;
        self
    }

    /// Whether every event is printed to stderr when it happens.
    pub const fn tell(mut self, is_told: bool) -> Self {
        self.0.is_told = is_told;
        self
    }

    /// The world.
    #[must_use]
    pub fn build(self) -> Sim {
        Sim::of(World::new(self.0))
    }
}
