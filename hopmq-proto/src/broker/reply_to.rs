//! Direct reply-to: answers that go to a channel without a queue of their own.
//!
//! To a client there is no queue. Here there is one, for its deliveries wait as any others do; its name is the address,
//! which nobody can guess, declare or bind, and it goes with its consumer.

use crate::amqp::{FieldTable, ShortStr, basic, queue};

use super::dispatch::{Reply, unless};
use super::engine::Broker;
use super::fault::Fault;
use super::id::QueueId;
use super::queue::{Declared, Queue};
use super::session::At;

/// What a client consumes from, and names as the `reply_to` of its requests.
pub(super) const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// What every address begins with.
const ADDRESS: &str = "amq.rabbitmq.reply-to.g1h2";

/// Whether the name is that of replies, of anybody's or of one channel.
pub(super) fn is_reply_to(name: &[u8]) -> bool {
    name.starts_with(REPLY_TO.as_bytes())
}

impl Broker {
    /// Makes the address that a consumer of replies gets them at.
    pub(super) fn open_replies(&mut self, at: At, consume: &basic::Consume) -> Result<QueueId, Fault> {
        if !consume.no_ack {
            return Err(Fault::precondition("reply consumer cannot acknowledge"));
        }
        if self.reply_address(at).is_some() {
            return Err(Fault::precondition("reply consumer already set"));
        }
        let vhost = self.vhost_of(at);
        let address = self.names.next(ADDRESS);
        let declared =
            Declared { durable: false, auto_delete: true, owner: None, arguments: FieldTable::new() };
        let id = self.queues.insert(Queue::new(address.clone(), vhost, declared));
        if let Some(vhost) = self.vhosts.get_mut(vhost) {
            vhost.queues.insert(address, id);
        }
        if let Some(channel) = self.channel(at) {
            channel.replies = Some(id);
        }
        Ok(id)
    }

    /// Where replies to this channel go, while it consumes them.
    pub(super) fn reply_address(&mut self, at: At) -> Option<ShortStr> {
        let id = self.channel(at)?.replies?;
        self.queues.get(id).map(|queue| queue.name.clone())
    }

    /// A declaration of a name of replies only looks whether somebody is there.
    pub(super) fn on_declare_replies(&mut self, at: At, name: &ShortStr, no_wait: bool) -> Reply {
        let vhost = self.vhost_of(at);
        if *name != REPLY_TO && self.find_queue(vhost, name).is_none() {
            return Err(Fault::no_queue(name, self.vhost_name(vhost)));
        }
        if let Some(channel) = self.channel(at) {
            channel.last_queue = name.clone();
        }
        unless(no_wait, queue::DeclareOk { queue: name.clone(), message_count: 0, consumer_count: 1 })
    }
}
