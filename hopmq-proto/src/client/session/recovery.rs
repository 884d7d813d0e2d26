use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use super::Entity;

/// Whether and how a connection that was lost comes back.
///
/// The default is what a service wants: the first connect fails when it fails, so that a wrong address shows; from then on
/// every loss is recovered from, for an hour at most.
///
/// ```
/// use core::time::Duration;
/// use hopmq_proto::client::{Backoff, Recovery, RecoveryMode};
///
/// let patient = Recovery {
///     mode: RecoveryMode::Always,
///     backoff: Backoff { max: Duration::from_secs(5), ..Backoff::default() },
///     max_elapsed: None,
///     ..Recovery::default()
/// };
/// # let _ = patient;
/// ```
#[derive(Debug, Clone)]
pub struct Recovery {
    /// Whether.
    pub mode: RecoveryMode,
    /// How long to wait before each round over the endpoints.
    pub backoff: Backoff,
    /// Gives up after so many rounds over the endpoints; `None` is no limit.
    pub max_rounds: Option<u32>,
    /// Gives up so long after the loss; `None` is no limit.
    pub max_elapsed: Option<Duration>,
    /// A connection that has lasted so long counts as sound: after its loss the backoff begins anew.
    pub stable_after: Duration,
    /// The endpoints are tried in an order drawn anew for each round, in place of the order they are given in. It
    /// spreads many clients over a cluster.
    pub shuffle: bool,
    /// How long an exclusive queue (405) or an exclusive consumer (403) may be locked by the connection before, which the
    /// server has not found dead yet.
    pub locked_for: Duration,
    /// How many bytes of publishes may wait for their confirm or for the connection to come back, all channels
    /// together. Publishes are refused while there are more.
    pub max_unconfirmed_bytes: usize,
    /// What to bring back of exchanges, queues and bindings; `None` is everything. Consumers always are.
    pub filter: Option<EntityFilter>,
    /// Gives a `message_id` to every publish that may be sent again and has none, so that who consumes can tell a
    /// duplicate.
    pub message_ids: bool,
}

/// When a connection is brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecoveryMode {
    /// Never: it ends with its first loss.
    Off,
    /// Once it has been open. The first connect tries each endpoint once.
    #[default]
    AfterFirstSuccess,
    /// Always: the first connect goes on until it succeeds, too, or the limits of the recovery are reached.
    Always,
}

/// How long to wait before each round over the endpoints: `initial`, then each time `factor` times as long, up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Before the first round after a loss.
    pub initial: Duration,
    /// How many times as long the next wait is.
    pub factor: u32,
    /// The longest wait.
    pub max: Duration,
    /// How much of each wait is left to chance, in percent: with 50, a wait of 2 s is one between 1 s and 2 s. So that the
    /// clients of a server that comes back do not come all at once.
    pub jitter_percent: u8,
}

/// What becomes of a publish when the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum WhenLost {
    /// One that was on its way is sent again, with the header `x-possible-duplicate`: the server may have it already. One
    /// that is made while the connection is away waits for it.
    #[default]
    Resend,
    /// One that was on its way fails: the server may have it or not. One that is made while the connection is away waits
    /// for it. Nothing is ever sent twice.
    Hold,
    /// One that was on its way fails, and so does, at once, one that is made while the connection is away, or is back and what
    /// others have held is not all sent yet.
    Fail,
}

/// Which exchanges, queues and bindings a recovery brings back.
#[derive(Clone)]
pub struct EntityFilter(Arc<dyn Fn(&Entity) -> bool + Send + Sync>);

impl Default for Recovery {
    fn default() -> Self {
        Self {
            mode: RecoveryMode::default(),
            backoff: Backoff::default(),
            max_rounds: None,
            max_elapsed: Some(Duration::from_secs(3600)),
            stable_after: Duration::from_secs(30),
            shuffle: false,
            locked_for: Duration::from_secs(120),
            max_unconfirmed_bytes: 64 << 20,
            filter: None,
            message_ids: false,
        }
    }
}

impl Recovery {
    /// None: the connection ends with its first loss.
    #[must_use]
    pub fn off() -> Self {
        Self { mode: RecoveryMode::Off, ..Self::default() }
    }

    /// Also for the first connect.
    #[must_use]
    pub fn always() -> Self {
        Self { mode: RecoveryMode::Always, ..Self::default() }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            factor: 2,
            max: Duration::from_secs(5),
            jitter_percent: 50,
        }
    }
}

impl EntityFilter {
    /// Brings back what `wanted` is true for. It is called under the lock of the connection, where there is one: it must
    /// not use its handles.
    pub fn new(wanted: impl Fn(&Entity) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(wanted))
    }

    pub(super) fn as_fn(&self) -> &dyn Fn(&Entity) -> bool {
        &*self.0
    }
}

impl fmt::Debug for EntityFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EntityFilter").finish_non_exhaustive()
    }
}
