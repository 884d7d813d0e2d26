use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use hopmq::Instant;

use crate::host::Host;
use crate::network::HostId;
use crate::random::Random;
use crate::settings::Builder;
use crate::tasks::JoinHandle;
use crate::timers::{Elapsed, Sleep, timeout};
use crate::trace::{Seconds, What};
use crate::world::World;

/// A world of its own: hosts, a network between them, a clock. Everything in it follows from the seed.
///
/// Cloning it gives another handle to the same world. A world that has not run is over when the last of them is dropped.
///
/// ```
/// use std::time::Duration;
/// use hopmq_sim::{BrokerConfig, Sim};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sim = Sim::new(42);
/// sim.run(async {
///     sim.host("rabbit").broker(BrokerConfig::default())?;
///     let connection = sim.host("shop").connect("amqp://rabbit").await?;
///     let channel = connection.open_channel().await?;
///     channel.declare_queue("orders").durable().await?;
///
///     sim.sleep(Duration::from_secs(3600)).await; // an hour with its heartbeats
///     assert!(channel.is_open());
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })??;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Sim {
    pub(crate) world: Arc<World>,
    _owner: Arc<Owner>,
}

/// Ends the world when no [`Sim`] is left that could run it: what it holds may hold it.
#[derive(Debug)]
struct Owner(Arc<World>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Why a world came to its end before the test.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// Nobody has anything to do, and there is no timer: nothing would ever happen again.
    Stalled {
        /// Of which world.
        seed: u64,
        /// When.
        at: Instant,
        /// The tasks that have not ended, a line each: those of HopMQ's own come last, and say so.
        waiting: String,
    },
    /// It takes longer than [`Builder::time_limit`] allows.
    OutOfTime {
        /// Of which world.
        seed: u64,
        /// The limit.
        limit: Duration,
        /// The tasks that have not ended, a line each.
        waiting: String,
    },
    /// It takes more steps than [`Builder::step_limit`] allows.
    OutOfSteps {
        /// Of which world.
        seed: u64,
        /// The limit.
        limit: u64,
        /// The tasks that have not ended, a line each.
        waiting: String,
    },
    /// A world runs once.
    Over {
        /// Which.
        seed: u64,
    },
}

/// What those overlook who see a world stand still.
const HINT: &str = "does it wait for a timer, socket, thread or runtime outside of the world, or for a message that nobody sends?";

impl RunError {
    const fn seed(&self) -> u64 {
        match self {
            Self::Stalled { seed, .. }
            | Self::OutOfTime { seed, .. }
            | Self::OutOfSteps { seed, .. }
            | Self::Over { seed } => *seed,
        }
    }

    /// The same for somebody who knows the seed.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Stalled { at, waiting, .. } => {
                format!(
                    "at {} nothing will ever happen again, and the test waits: {HINT}{waiting}",
                    Seconds(*at)
                )
            }
            Self::OutOfTime { limit, waiting, .. } => {
                format!("the test still waits after {} s: {HINT}{waiting}", limit.as_secs_f64())
            }
            Self::OutOfSteps { limit, waiting, .. } => {
                format!("the test still waits after {limit} steps: does anybody wait busily?{waiting}")
            }
            Self::Over { .. } => "a world runs once".to_owned(),
        }
    }
}

/// `in the world of seed 42: the test still waits after 86400 s: ...`.
impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in the world of seed {}: {}", self.seed(), self.text())
    }
}

impl std::error::Error for RunError {}

impl Sim {
    /// The world of a seed, with a fair network and generous limits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::builder(seed).build()
    }

    /// The world of a seed, and more to say of it.
    pub const fn builder(seed: u64) -> Builder {
        Builder::new(seed)
    }

    pub(crate) fn of(world: Arc<World>) -> Self {
        Self { _owner: Arc::new(Owner(world.clone())), world }
    }

    /// Runs `main` to its end, with everything that it starts. Then the world is over: what still runs is dropped.
    ///
    /// `main` is outside of all hosts: no crash hits it. It runs on the calling thread and need not be `'static`.
    ///
    /// # Errors
    ///
    /// When the world stands still or takes longer than allowed before `main` is ready.
    ///
    /// # Panics
    ///
    /// When anything in it does; the seed is printed to stderr then.
    pub fn run<F: Future>(&self, main: F) -> Result<F::Output, RunError> {
        self.world.run(main)
    }

    /// The host of this name, in upper or lower case: a new one, or the one that has it already.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        Host::named(&self.world, name)
    }

    /// Runs `future` outside of all hosts, until it is ready or the world is over.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.world.spawn_joinable(HostId::NOWHERE, future, Location::caller())
    }

    /// What everything follows from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.world.settings.seed
    }

    /// A generator for the test's own choices, which follow from the seed too. Each call gives another one.
    #[must_use]
    pub fn random(&self) -> Random {
        Random::new(self.world.lock().seeds.next_u64())
    }

    /// The time since the world began.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// Waits for this long.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(&self.world, duration)
    }

    /// Waits for `future`, for `duration` at most.
    ///
    /// # Errors
    ///
    /// When it took longer; the future is dropped.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        timeout(&self.world, duration, future).await
    }

    /// Puts a line into the trace.
    pub fn note(&self, text: impl Into<String>) {
        let (now, text) = (self.now(), text.into());
        self.world.lock().trace.add(now, What::Note(text));
    }

    /// A hash over everything that has happened: tasks polled, bytes carried, timers, faults, notes. The same seed and code
    /// make the same one.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.world.lock().trace.hash()
    }

    /// What happened last, a line each. Heartbeats are left out.
    ///
    /// What is said in AMQP is told frame by frame, by the names of methods and what matters of them, and when the last byte
    /// of a message was written: `shop → rabbit  #2 basic.publish to 'orders', 7 bytes`. Credentials, bodies, properties and tables are not.
    /// Of anything else, as TLS, the bytes are counted. What one side of a connection writes before anything else happens is one line.
    #[must_use]
    pub fn last_events(&self) -> String {
        self.world.lock().trace.last()
    }
}
