use alloc::sync::Arc;

use thiserror::Error;

use crate::amqp::WireError;
use crate::client::CloseReason;

/// Why a command was refused. It changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The connection or channel is not open yet.
    #[error("not open yet")]
    NotOpen,
    /// The connection or channel has ended.
    #[error(transparent)]
    Closed(Arc<CloseReason>),
    /// The connection is lost and may come back; this is not for then.
    #[error("the connection is lost, and not recovered yet")]
    Disconnected,
    /// The channel has ended long ago: its number belongs to the second channel since, or a later one.
    #[error("the channel has ended")]
    Stale,
    /// All channel numbers are in use.
    #[error("all {0} channels are in use")]
    TooManyChannels(u16),
    /// `max_calls` calls wait for their reply on this channel.
    #[error("too many calls wait for their reply on this channel")]
    TooManyCalls,
    /// The method is none that the server answers.
    #[error("{0} is not a call that the server answers")]
    NotACall(&'static str),
    /// The method is none that asks for no answer.
    #[error("{0} does not ask for no answer, or the server answers it all the same")]
    Answered(&'static str),
    /// `max_outbox` bytes or more wait to be written.
    #[error("too much waits to be written")]
    Full,
    /// An argument cannot be encoded.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Why a publish was refused. Nothing of it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Too much waits to be written or confirmed. [`Event::Writable`](crate::client::Event::Writable) follows.
    #[error("too much waits to be written or confirmed")]
    Full,
    /// The server takes no publishes for now. [`Event::Writable`](crate::client::Event::Writable) follows.
    #[error("the server takes no publishes for now")]
    Blocked,
    /// The command cannot be carried out at all.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl From<WireError> for PublishError {
    fn from(error: WireError) -> Self {
        Self::Command(error.into())
    }
}

/// Why a delivery could not be settled. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The channel that it came on has ended, and the server has put the message back into its queue.
    #[error("the delivery's channel has ended: {0}")]
    Closed(Arc<CloseReason>),
    /// The channel that it came on has ended long ago; or the connection was lost since, and the server has put the
    /// message back into its queue.
    #[error("the delivery is of a channel or connection that is no more")]
    Stale,
    /// A later delivery was settled with `multiple`, and this one with it; or a recover has put it back into its queue.
    #[error("the delivery is already settled")]
    AlreadySettled,
}

/// How to settle a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// It is done.
    Ack {
        /// And so is everything before it on its channel.
        multiple: bool,
    },
    /// It is not done.
    Nack {
        /// And neither is anything before it on its channel.
        multiple: bool,
        /// Put it back into the queue, or else drop or dead-letter it.
        requeue: bool,
    },
    /// It is not done; AMQP's own form, for servers without nack.
    Reject {
        /// Put it back into the queue, or else drop or dead-letter it.
        requeue: bool,
    },
}
