use core::time::Duration;

use crate::Instant;

/// The first wait for the server to notice that the connection before is dead; each is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(100);
/// The longest such wait.
const LONGEST: Duration = Duration::from_secs(5);

/// Channels that cannot come back yet: the connection before, which the server has not found dead, still has an exclusive
/// consumer where theirs is to be.
#[derive(Debug, Default)]
pub(super) struct Locked {
    /// Until then it is tried again.
    until: Instant,
    /// When it is tried next, while a channel waits for that.
    at: Option<Instant>,
    wait: Duration,
}

impl Locked {
    /// Channels are about to come back. What is locked is tried again until then.
    pub(super) fn start(&mut self, until: Instant) {
        *self = Self { until, at: None, wait: FIRST };
    }

    /// A channel found its place locked. Whether it is to be tried again.
    pub(super) fn on_locked(&mut self, now: Instant) -> bool {
        if now >= self.until {
            return false;
        }
        if self.at.is_none() {
            self.at = Some((now + self.wait).min(self.until));
            self.wait = LONGEST.min(self.wait * 2);
        }
        true
    }

    /// When to try again, if a channel waits for that.
    pub(super) const fn at(&self) -> Option<Instant> {
        self.at
    }

    /// It is tried again.
    pub(super) fn on_again(&mut self) {
        self.at = None;
    }
}
