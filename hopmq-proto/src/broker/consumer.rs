use crate::amqp::ShortStr;

use super::id::QueueId;
use super::line::Ticket;
use super::session::At;

/// Who takes messages from a queue.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) tag: ShortStr,
    pub(super) queue: QueueId,
    pub(super) at: At,
    pub(super) no_ack: bool,
    pub(super) priority: i64,
    /// How many unacknowledged deliveries it may have; 0 means any number.
    pub(super) prefetch: u16,
    pub(super) unacked: usize,
    pub(super) waits: WaitsFor,
}

/// What a consumer waits for, and its place in that line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// A message, in the queue's line.
    Message(Ticket),
    /// An acknowledgement of one of its own deliveries.
    Ack,
    /// Room in the window of its channel, in the channel's line.
    Channel(Ticket),
    /// Room in the outbox of its connection, in the connection's line.
    Outbox(Ticket),
}

impl Consumer {
    /// Whether its own prefetch lets another delivery go out.
    pub(super) fn has_room(&self) -> bool {
        self.no_ack || self.prefetch == 0 || self.unacked < usize::from(self.prefetch)
    }
}
