use core::time::Duration;

/// How often a state is tried, with pauses that grow from one to the next.
///
/// ```
/// use core::time::Duration;
/// use hopmq_proto::fsm::Retry;
///
/// let seconds = Duration::from_secs;
/// let retry = Retry { attempts: 4, initial: seconds(1), factor: 3, max: seconds(5) };
/// assert_eq!(retry.pause(1), Some(seconds(1)));
/// assert_eq!(retry.pause(2), Some(seconds(3)));
/// assert_eq!(retry.pause(3), Some(seconds(5))); // not 9
/// assert_eq!(retry.pause(4), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts there are in all, the first included.
    pub attempts: u32,
    /// The pause after the first attempt.
    pub initial: Duration,
    /// By how much each pause is longer than the one before.
    pub factor: u32,
    /// The longest pause.
    pub max: Duration,
}

impl Retry {
    /// The pause after the `attempt`th attempt has failed, counted from 1. `None` when it was the last.
    #[must_use]
    pub fn pause(&self, attempt: u32) -> Option<Duration> {
        let growth = self.factor.saturating_pow(attempt.saturating_sub(1));
        (attempt < self.attempts).then(|| self.initial.saturating_mul(growth).min(self.max))
    }
}
