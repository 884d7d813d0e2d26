use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use super::session::{Entity, EntityOutcome, Refused};
use super::{CloseReason, Delivery, Returned};
use crate::Instant;
use crate::amqp::{FieldTable, Method, ShortStr};

/// The number of an accepted command, until one event resolves it. Numbers are never used twice.
#[must_use = "exactly one event resolves it"]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub(super) u64);

impl Token {
    /// The number, for a trace or as the key of a map.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// A channel: its number, and which of the channels that had this number it is.
///
/// A command for a channel that has ended is refused, even when its number is in use again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId {
    pub(super) number: u16,
    pub(super) incarnation: u32,
}

impl ChannelId {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.number
    }
}

/// What a delivery is settled with, once: it cannot be copied.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DeliveryId {
    pub(super) channel: ChannelId,
    /// How often its channel had been brought back before.
    pub(super) epoch: u32,
    pub(super) tag: u64,
}

impl DeliveryId {
    /// The channel it came on.
    #[must_use]
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The delivery tag on the wire.
    #[must_use]
    pub const fn tag(&self) -> u64 {
        self.tag
    }
}

/// What happened on a connection.
///
/// [`Closed`](Event::Closed) comes exactly once, and last; every token has been resolved before it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is done.
    Opened(Box<ServerInfo>),
    /// A call has ended.
    Reply {
        /// The call.
        token: Token,
        /// What the server answered, or why it did not.
        result: Result<Reply, CallError>,
    },
    /// The fate of a publish on a channel with confirms is known.
    Confirmed {
        /// The publish.
        token: Token,
        /// What became of it. An error means that it may or may not have reached the server.
        result: Result<Confirmation, CallError>,
    },
    /// A message for a consumer.
    Delivery {
        /// The `basic.consume` that started the consumer.
        consumer: Token,
        /// The message.
        delivery: Delivery,
    },
    /// A mandatory message came back, on a channel without confirms or to nobody's publish.
    Returned {
        /// The channel.
        channel: ChannelId,
        /// The message.
        returned: Box<Returned>,
    },
    /// A consumer has ended: by the server, most often because its queue is gone, or by an own `basic.cancel`, whose
    /// reply comes next.
    ConsumerCancelled {
        /// The `basic.consume` that started the consumer.
        consumer: Token,
    },
    /// A consumer has ended: it could not be started again after a loss of the connection.
    ConsumerNotRestored {
        /// The `basic.consume` that started the consumer.
        consumer: Token,
        /// Why.
        reason: Refused,
    },
    /// A channel has ended. Its calls, publishes and consumers ended with it.
    ChannelClosed {
        /// The channel.
        channel: ChannelId,
        /// Why.
        reason: Arc<CloseReason>,
    },
    /// The connection was lost, and a session is about to bring it back. What was delivered before can no longer be
    /// settled: the server delivers it again.
    Lost {
        /// Why.
        reason: Arc<CloseReason>,
    },
    /// An attempt to connect has failed.
    AttemptFailed {
        /// The number of the endpoint.
        endpoint: usize,
        /// Why.
        reason: Arc<CloseReason>,
        /// When the endpoints are tried again; `None` when the next one is tried at once, or no more.
        retry_at: Option<Instant>,
    },
    /// A consumer is back. What it gets from now on was not delivered to it before, or comes again.
    ConsumerResumed {
        /// The `basic.consume` that started the consumer.
        consumer: Token,
    },
    /// A queue that the server named has come back under another name. Commands with the old one mean the new one.
    QueueRenamed {
        /// As it was.
        old: ShortStr,
        /// As it is.
        new: ShortStr,
    },
    /// Something does not come back: the server refused it after a loss, or it could not be remembered when it was made.
    /// The session goes on without it.
    Degraded {
        /// What.
        entity: Box<Entity>,
        /// Why.
        reason: Refused,
    },
    /// The session is back, with what came back of it.
    Recovered {
        /// How long it was gone.
        took: Duration,
        /// Exchanges, queues and bindings, and whether they were brought back; then the consumers that were not. Of those that
        /// were, `ConsumerResumed` tells.
        outcomes: Vec<EntityOutcome>,
    },
    /// The server takes no publishes for now; they are refused until `Writable`.
    Blocked {
        /// Why.
        reason: ShortStr,
    },
    /// The server takes publishes again.
    Unblocked,
    /// A publish that was refused for want of room would now be accepted.
    Writable,
    /// The connection has ended. Nothing follows.
    Closed {
        /// Why.
        reason: Arc<CloseReason>,
    },
}

impl Event {
    /// About how many bytes the event holds: itself, and the message in it.
    pub(super) fn size(&self) -> usize {
        let message = match self {
            Self::Delivery { delivery, .. } => delivery.message.size(),
            Self::Reply { result: Ok(Reply::Message { delivery, .. }), .. } => delivery.message.size(),
            Self::Returned { returned, .. }
            | Self::Confirmed { result: Ok(Confirmation::Returned(returned)), .. } => returned.message.size(),
            Self::Confirmed { result: Ok(Confirmation::Unsent(unsent)), .. } => unsent.body.len(),
            _ => 0,
        };
        size_of::<Self>() + message
    }
}

/// The server's answer to a call.
#[derive(Debug)]
pub enum Reply {
    /// A channel is open.
    Channel(ChannelId),
    /// A consumer runs; its deliveries carry the token of the call.
    Consumer {
        /// The channel it runs on.
        channel: ChannelId,
        /// Its name.
        consumer_tag: ShortStr,
    },
    /// A get brought a message.
    Message {
        /// The message.
        delivery: Box<Delivery>,
        /// How many are left in the queue.
        message_count: u32,
    },
    /// A get found the queue empty.
    Empty,
    /// The channel or connection is closed, as was asked.
    Closed,
    /// Every publish on the channel is resolved.
    Confirmed {
        /// The channel.
        channel: ChannelId,
        /// What has failed, since this was last told.
        failures: ConfirmFailures,
    },
    /// Any other `-ok` method.
    Method(Box<Method>),
}

/// Why a call or a publish has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The channel or connection ended first.
    #[error(transparent)]
    Closed(Arc<CloseReason>),
    /// The answer did not come in time. It may still take effect.
    #[error("the server did not answer in time")]
    TimedOut,
}

/// What became of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// The server has taken it.
    Acked,
    /// The server could not take it, or a full queue refused it.
    Nacked,
    /// It was mandatory and no queue took it, so it came back.
    Returned(Box<Returned>),
    /// It was held while the connection was away, and was never sent: the server does not have it.
    Unsent(Box<Unsent>),
}

/// A publish that was held while the connection was away, and then could not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// Why not: why its channel or connection ended, most often.
    pub reason: Arc<CloseReason>,
    /// Its body.
    pub body: Bytes,
}

/// How many publishes of a channel are not known to be on the server, since this was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConfirmFailures {
    /// The server could not take them, or a full queue refused them.
    pub nacked: u64,
    /// They were mandatory and no queue took them.
    pub returned: u64,
    /// No confirm came within `confirm_timeout`, or before their connection was lost: the server may or may not have them.
    pub lost: u64,
}

impl ConfirmFailures {
    /// How many there are, of any kind.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.nacked + self.returned + self.lost
    }
}

/// What the two sides agreed on.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerInfo {
    /// Product, version and capabilities of the server.
    pub properties: FieldTable,
    /// The highest channel number.
    pub channel_max: u16,
    /// The largest frame in bytes.
    pub frame_max: u32,
    /// Seconds between heartbeats; 0 means none.
    pub heartbeat: u16,
}
