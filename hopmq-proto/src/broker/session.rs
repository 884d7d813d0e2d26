use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use crate::amqp::ShortStr;

use super::content::Content;
use super::id::{ConnectionId, ConsumerId, QueueId};
use super::line::Line;
use super::unacked::Unacked;

/// A channel of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) connection: ConnectionId,
    pub(super) channel: u16,
}

/// A connection whose virtual host is open: everything that ends with it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: String,
    /// The virtual host, by index.
    pub(super) vhost: usize,
    pub(super) channel_max: u16,
    pub(super) wants_cancel: bool,
    /// It wants to be told of alarms.
    pub(super) wants_blocked: bool,
    /// It has published amid an alarm: nothing is read from it.
    pub(super) blocked: bool,
    pub(super) channels: BTreeMap<u16, Slot>,
    /// The exclusive queues.
    pub(super) owns: BTreeSet<QueueId>,
    /// The consumers that wait for room in the outbox.
    pub(super) line: Line,
    /// The channels with publishes to confirm.
    pub(super) to_confirm: Vec<u16>,
}

impl Session {
    pub(super) fn channel(&mut self, number: u16) -> Option<&mut Channel> {
        match self.channels.get_mut(&number) {
            Some(Slot::Open(channel)) => Some(channel),
            _ => None,
        }
    }
}

/// A channel number in use.
#[derive(Debug)]
pub(super) enum Slot {
    Open(Box<Channel>),
    /// We closed it and wait for close-ok; whatever else comes is ignored.
    Closing,
}

/// An open channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) content: Content,
    /// The last delivery tag.
    pub(super) last_tag: u64,
    pub(super) unacked: Unacked,
    /// The prefetch of consumers to come.
    pub(super) prefetch: u16,
    pub(super) window: Window,
    pub(super) consumers: BTreeMap<ShortStr, ConsumerId>,
    /// The queue that an empty name means.
    pub(super) last_queue: ShortStr,
    pub(super) confirms: Confirms,
    /// Where replies to it come in, if it has consumed from `amq.rabbitmq.reply-to`.
    pub(super) replies: Option<QueueId>,
}

/// How many deliveries all consumers of a channel may have under way together.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// 0 means any number.
    pub(super) limit: u16,
    pub(super) unacked: usize,
    /// The consumers that wait for room in it.
    pub(super) line: Line,
}

impl Window {
    pub(super) fn has_room(&self, ceiling: usize) -> bool {
        let limit = if self.limit == 0 { ceiling } else { ceiling.min(self.limit.into()) };
        self.unacked < limit
    }
}

/// Publisher confirms of a channel.
#[derive(Debug, Default)]
pub(super) enum Confirms {
    #[default]
    Off,
    On {
        /// The last publish; they are counted from 1.
        published: u64,
        /// The last that has had its answer.
        confirmed: u64,
        /// Those behind it that are to be nacked.
        refused: Vec<u64>,
    },
}
