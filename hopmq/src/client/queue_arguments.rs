use std::time::Duration;

use super::arguments::{age, milliseconds, number};
use super::queue::DeclareQueue;

/// What a queue does that is full. See <https://www.rabbitmq.com/docs/maxlength#overflow-behaviour>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest messages are dropped, or dead-lettered. This is what happens when nothing is said.
    DropHead,
    /// New messages are refused; with confirms the publisher gets
    /// [`PublishError::Nacked`](super::PublishError::Nacked).
    RejectPublish,
    /// The same, and they are dead-lettered. Classic queues only.
    RejectPublishDlx,
}

/// How sure dead lettering is. See
/// <https://www.rabbitmq.com/docs/quorum-queues#dead-lettering>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterStrategy {
    /// A message may be lost on its way. This is what happens when nothing is said.
    AtMostOnce,
    /// A message is kept until its new queues have it. Quorum queues only, and with [`Overflow::RejectPublish`].
    AtLeastOnce,
}

/// On which node of a cluster a queue's leader starts. See
/// <https://www.rabbitmq.com/docs/clustering#replica-placement>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaderLocator {
    /// On the node that this client is connected to.
    ClientLocal,
    /// Where there are few leaders.
    Balanced,
}

/// Arguments that RabbitMQ documents. The broker refuses one that does not suit the queue's type, or differs from what
/// the queue was declared with, with 406 and the argument's name; for any other, there is
/// [`argument`](DeclareQueue::argument).
///
/// Numbers and times that do not fit 64 bits with a sign are [`Error::TooLarge`](super::Error::TooLarge). Times are
/// rounded up to milliseconds, and RabbitMQ takes none of 2^32 milliseconds or more, which is 49 days.
impl<L> DeclareQueue<L> {
    /// `x-queue-type: classic`, where the virtual host's default is another.
    pub fn classic(self) -> Self {
        self.argument("x-queue-type", "classic")
    }

    /// `x-message-ttl`: a message that has waited this long is dropped or dead-lettered. Zero means that it is, unless
    /// it can be delivered at once. See <https://www.rabbitmq.com/docs/ttl>.
    pub fn message_ttl(self, time: Duration) -> Self {
        self.put("x-message-ttl", milliseconds("x-message-ttl", time))
    }

    /// `x-expires`: the queue is deleted when nobody has used it for this long. Consumers, gets and declares are use;
    /// messages are not. It must not be zero. See <https://www.rabbitmq.com/docs/ttl#queue-ttl>.
    pub fn expires(self, time: Duration) -> Self {
        self.put("x-expires", milliseconds("x-expires", time))
    }

    /// `x-max-length`: at most so many messages wait in it. See <https://www.rabbitmq.com/docs/maxlength>.
    pub fn max_length(self, messages: u64) -> Self {
        self.put("x-max-length", number("x-max-length", messages))
    }

    /// `x-max-length-bytes`: at most so many bytes of bodies wait in it; for a stream, are kept.
    pub fn max_length_bytes(self, bytes: u64) -> Self {
        self.put("x-max-length-bytes", number("x-max-length-bytes", bytes))
    }

    /// `x-overflow`: what happens when it is full.
    pub fn overflow(self, overflow: Overflow) -> Self {
        let name = match overflow {
            Overflow::DropHead => "drop-head",
            Overflow::RejectPublish => "reject-publish",
            Overflow::RejectPublishDlx => "reject-publish-dlx",
        };
        self.argument("x-overflow", name)
    }

    /// `x-dead-letter-exchange`: where messages go that are rejected, expire, or have no room. Empty is the default
    /// exchange. See <https://www.rabbitmq.com/docs/dlx>.
    pub fn dead_letter_exchange(self, exchange: &str) -> Self {
        self.argument("x-dead-letter-exchange", exchange)
    }

    /// `x-dead-letter-routing-key`: the routing key they go with, in place of their own. Needs
    /// [`dead_letter_exchange`](DeclareQueue::dead_letter_exchange).
    pub fn dead_letter_routing_key(self, routing_key: &str) -> Self {
        self.argument("x-dead-letter-routing-key", routing_key)
    }

    /// `x-dead-letter-strategy`, of a quorum queue.
    pub fn dead_letter_strategy(self, strategy: DeadLetterStrategy) -> Self {
        let name = match strategy {
            DeadLetterStrategy::AtMostOnce => "at-most-once",
            DeadLetterStrategy::AtLeastOnce => "at-least-once",
        };
        self.argument("x-dead-letter-strategy", name)
    }

    /// `x-max-priority`, of a classic queue: messages of a higher priority are delivered first, up to this one. Each
    /// level costs memory; RabbitMQ recommends 5 or less. See <https://www.rabbitmq.com/docs/priority>.
    pub fn max_priority(self, priority: u8) -> Self {
        self.put("x-max-priority", number("x-max-priority", priority.into()))
    }

    /// `x-single-active-consumer`: one consumer gets all messages, and when it ends, the next. See
    /// <https://www.rabbitmq.com/docs/consumers#single-active-consumer>.
    pub fn single_active_consumer(self) -> Self {
        self.argument("x-single-active-consumer", true)
    }

    /// `x-consumer-timeout`: a delivery that is not settled for this long closes its channel with 406. RabbitMQ 3.12
    /// or later. See <https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>.
    pub fn consumer_timeout(self, time: Duration) -> Self {
        self.put("x-consumer-timeout", milliseconds("x-consumer-timeout", time))
    }

    /// `x-delivery-limit`, of a quorum queue: a message that came back so often is dropped or dead-lettered the next
    /// time. See <https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>.
    pub fn delivery_limit(self, times: u32) -> Self {
        self.put("x-delivery-limit", number("x-delivery-limit", times.into()))
    }

    /// `x-queue-mode: lazy`, of a classic queue before RabbitMQ 3.12: messages wait on disk only. Later ones do so
    /// anyway, and 4.3 refuses the argument.
    pub fn lazy(self) -> Self {
        self.argument("x-queue-mode", "lazy")
    }

    /// `x-queue-version`, of a classic queue before RabbitMQ 4.3: the layout of its files, 1 or 2. RabbitMQ 3.10 to 3.13
    /// make 1 when nothing is said. See <https://www.rabbitmq.com/docs/3.13/classic-queues>.
    pub fn queue_version(self, version: u8) -> Self {
        self.put("x-queue-version", number("x-queue-version", version.into()))
    }

    /// `x-queue-leader-locator`: where in a cluster its leader starts.
    pub fn leader_locator(self, locator: LeaderLocator) -> Self {
        let name = match locator {
            LeaderLocator::ClientLocal => "client-local",
            LeaderLocator::Balanced => "balanced",
        };
        self.argument("x-queue-leader-locator", name)
    }

    /// `x-quorum-initial-group-size`: on how many nodes a quorum queue starts.
    pub fn quorum_initial_group_size(self, nodes: u32) -> Self {
        self.put("x-quorum-initial-group-size", number("x-quorum-initial-group-size", nodes.into()))
    }

    /// `x-quorum-target-group-size`: to how many nodes a quorum queue grows as its cluster does. RabbitMQ 3.13 or later.
    pub fn quorum_target_group_size(self, nodes: u32) -> Self {
        self.put("x-quorum-target-group-size", number("x-quorum-target-group-size", nodes.into()))
    }

    /// `x-initial-cluster-size`: on how many nodes a stream starts.
    pub fn initial_cluster_size(self, nodes: u32) -> Self {
        self.put("x-initial-cluster-size", number("x-initial-cluster-size", nodes.into()))
    }

    /// `x-max-age`, of a stream: how long messages are kept at least, rounded up to seconds. See
    /// <https://www.rabbitmq.com/docs/streams#retention>.
    pub fn max_age(self, time: Duration) -> Self {
        self.argument("x-max-age", age(time))
    }

    /// `x-stream-max-segment-size-bytes`: how large the files of a stream are; what is kept is counted in whole files.
    pub fn max_segment_size_bytes(self, bytes: u64) -> Self {
        self.put("x-stream-max-segment-size-bytes", number("x-stream-max-segment-size-bytes", bytes))
    }

    /// `x-stream-filter-size-bytes`: how large the filter of each chunk of a stream is, 16 to 255. RabbitMQ 3.13 or
    /// later. See <https://www.rabbitmq.com/docs/streams#filtering>.
    pub fn filter_size_bytes(self, bytes: u8) -> Self {
        self.put("x-stream-filter-size-bytes", number("x-stream-filter-size-bytes", bytes.into()))
    }
}
