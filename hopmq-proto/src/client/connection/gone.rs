use alloc::collections::BTreeSet;

use crate::client::Token;

/// Consumers whose queue was declared as the session came back, and has gone before they were started: it is one that goes with
/// its last consumer, and that was one of the connection before, or one of a channel that was closed.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// There may be another connection, on which everything is brought back anew.
    may_begin_anew: bool,
    begins_anew: bool,
    /// Those for which it has been, since the session is away. Once for each: somebody else may delete the queue each time.
    consumers: BTreeSet<Token>,
}

impl Gone {
    pub(super) const fn start(&mut self, may_begin_anew: bool) {
        self.may_begin_anew = may_begin_anew;
    }

    /// The queue of a consumer is not there. Whether all begins anew for it.
    pub(super) fn on_gone(&mut self, consumer: Token) -> bool {
        let begins_anew = self.may_begin_anew && self.consumers.insert(consumer);
        self.begins_anew |= begins_anew;
        begins_anew
    }

    /// Whether all is to begin anew, since the last call.
    pub(super) const fn take(&mut self) -> bool {
        core::mem::replace(&mut self.begins_anew, false)
    }

    /// The session is back.
    pub(super) fn on_back(&mut self) {
        *self = Self::default();
    }
}
