use super::Transition;

/// Why a machine has not done as it was asked, of events `V` and errors `E`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error<V, E> {
    /// The state does not expect this event. Nothing has changed.
    #[error("{state} does not expect {name}")]
    Unexpected {
        /// The state's name.
        state: &'static str,
        /// The event's name.
        name: &'static str,
        /// The event.
        event: V,
    },
    /// The machine is [finalized](super::Outcome::Finalize) or has halted. Nothing has changed.
    #[error("it has ended in {state}, and {name} comes too late")]
    Ended {
        /// The last state's name.
        state: &'static str,
        /// The event's name.
        name: &'static str,
        /// The event.
        event: V,
    },
    /// [`MAX_QUEUED`](super::MAX_QUEUED) events wait already. Nothing has changed.
    #[error("too many events wait for {name} to be queued")]
    Full {
        /// The event's name.
        name: &'static str,
        /// The event.
        event: V,
    },
    /// The state has failed, is not retried and has no fallback: the machine has halted.
    #[error("{state} has failed: {error}")]
    Failed {
        /// The state's name.
        state: &'static str,
        /// Why.
        error: E,
    },
    /// A transition is not in the table: it was not taken, and the machine has halted.
    #[error("there is no transition from {} to {} by {}", .0.from, .0.to, .0.event)]
    NotInTable(Transition),
    /// One event has caused more than [`MAX_STEPS`](super::MAX_STEPS) transitions: the machine has halted.
    #[error("transitions go round and round, now in {state}")]
    Endless {
        /// The state's name.
        state: &'static str,
    },
}

impl<V, E> Error<V, E> {
    /// The event that was not handled, if there is one.
    pub fn into_event(self) -> Option<V> {
        match self {
            Self::Unexpected { event, .. } | Self::Ended { event, .. } | Self::Full { event, .. } => {
                Some(event)
            }
            Self::Failed { .. } | Self::NotInTable(_) | Self::Endless { .. } => None,
        }
    }
}

/// A state has waited longer than its deadline allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{state} took too long")]
pub struct Overdue {
    /// The state's name.
    pub state: &'static str,
}
