use alloc::collections::BTreeMap;
use core::cmp::Reverse;

use super::id::ConsumerId;

/// A consumer's place in a [`Line`]: higher priority first, then first come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    priority: Reverse<i64>,
    number: u64,
}

/// Consumers that wait for the same thing: a message, room in the channel's window, room in the outbox.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: BTreeMap<Ticket, ConsumerId>,
    last: u64,
}

impl Line {
    /// Puts `consumer` behind all others of its priority.
    pub(super) fn join(&mut self, consumer: ConsumerId, priority: i64) -> Ticket {
        self.last += 1;
        let ticket = Ticket { priority: Reverse(priority), number: self.last };
        self.waiting.insert(ticket, consumer);
        ticket
    }

    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// Who is next.
    pub(super) fn first(&self) -> Option<ConsumerId> {
        self.waiting.first_key_value().map(|(_, consumer)| *consumer)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether somebody waits behind the first.
    pub(super) fn has_others(&self) -> bool {
        self.waiting.len() > 1
    }
}
