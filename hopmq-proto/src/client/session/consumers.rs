use alloc::collections::{BTreeMap, BTreeSet};

use crate::amqp::ShortStr;
use crate::client::Token;

/// Who consumes from what, of this session. An auto-delete queue goes with its last consumer.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    queues: BTreeMap<Token, ShortStr>,
    by_queue: BTreeMap<ShortStr, BTreeSet<Token>>,
}

impl Consumers {
    pub(super) fn insert(&mut self, consumer: Token, queue: ShortStr) {
        self.remove(consumer);
        self.by_queue.entry(queue.clone()).or_default().insert(consumer);
        self.queues.insert(consumer, queue);
    }

    /// Forgets a consumer; gives its queue, and whether it was the queue's last.
    pub(super) fn remove(&mut self, consumer: Token) -> Option<(ShortStr, bool)> {
        let queue = self.queues.remove(&consumer)?;
        let Some(others) = self.by_queue.get_mut(&queue) else { return Some((queue, true)) };
        others.remove(&consumer);
        let was_last = others.is_empty();
        if was_last {
            self.by_queue.remove(&queue);
        }
        Some((queue, was_last))
    }

    /// Forgets the consumers of a queue that is gone.
    pub(super) fn forget(&mut self, queue: &ShortStr) {
        for consumer in self.by_queue.remove(queue).unwrap_or_default() {
            self.queues.remove(&consumer);
        }
    }

    pub(super) fn rename(&mut self, old: &ShortStr, new: &ShortStr) {
        let consumers = self.by_queue.remove(old).unwrap_or_default();
        for consumer in consumers {
            self.insert(consumer, new.clone());
        }
    }
}
