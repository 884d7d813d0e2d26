use alloc::collections::BTreeSet;

use crate::Instant;
use crate::amqp::ShortStr;

/// Queues that go with their last consumer, and have gone between their declaration and the start of their consumers: with one of the
/// connection before, or with their channel, which was closed over another consumer.
///
/// Then all that was brought back is left, and begins anew on another connection. Once for each queue, for somebody else may delete it
/// each time; once more after a consumer was left out that may have been the cause.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Those that were declared again in this life.
    restored: BTreeSet<ShortStr>,
    /// Until then there may be another connection; `None` when there may not.
    until: Option<Instant>,
    /// Those for which it has begun anew already.
    tried: BTreeSet<ShortStr>,
    begins_anew: bool,
}

impl Gone {
    /// Consumers are about to be started.
    pub(super) fn start(&mut self, restored: BTreeSet<ShortStr>, until: Option<Instant>) {
        (self.restored, self.until) = (restored, until);
    }

    /// Whether a queue, by its name today, is one that can go so.
    pub(super) fn may_go(&self, queue: &ShortStr) -> bool {
        self.restored.contains(queue)
    }

    /// It is not there. Whether all begins anew.
    pub(super) fn on_gone(&mut self, queue: &ShortStr, now: Instant) -> bool {
        let begins_anew = self.may_go(queue)
            && self.until.is_some_and(|until| now < until)
            && self.tried.insert(queue.clone());
        self.begins_anew |= begins_anew;
        begins_anew
    }

    /// A consumer was left out, and takes no queue with it any more.
    pub(super) fn on_left_out(&mut self) {
        self.tried.clear();
    }

    /// Whether all is to begin anew, since the last call.
    pub(super) const fn take(&mut self) -> bool {
        core::mem::replace(&mut self.begins_anew, false)
    }

    /// Everything is back.
    pub(super) fn on_back(&mut self) {
        *self = Self::default();
    }
}
