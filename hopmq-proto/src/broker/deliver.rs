use crate::amqp::{Deliver, write_deliver};

use super::consumer::{Consumer, WaitsFor};
use super::engine::Broker;
use super::id::{ConnectionId, ConsumerId, QueueId};
use super::link::Link;
use super::session::At;
use super::unacked::Delivery;

/// What a consumer must wait for before it can be given a message.
enum Obstacle {
    Ack,
    Channel,
    Outbox,
}

fn obstacle(consumer: &Consumer, link: &mut Link, ceiling: usize) -> Option<Obstacle> {
    if !consumer.has_room() {
        return Some(Obstacle::Ack);
    }
    if !link.has_room() {
        return Some(Obstacle::Outbox);
    }
    let channel = link.session()?.channel(consumer.at.channel)?;
    if !consumer.no_ack && !channel.window.has_room(ceiling) {
        return Some(Obstacle::Channel);
    }
    None
}

impl Broker {
    /// Delivers from a queue until it is empty or no consumer can take more.
    pub(super) fn run_queue(&mut self, id: QueueId) {
        while let Some(queue) = self.queues.get(id).filter(|queue| !queue.is_empty())
            && let Some(consumer) = queue.line.first()
            && self.serve(id, consumer)
        {}
    }

    /// Gives the consumer at the head of the line a message, or takes it out of the line. Returns whether to go on.
    fn serve(&mut self, id: QueueId, consumer_id: ConsumerId) -> bool {
        let Self { queues, consumers, links, touched, config, .. } = self;
        let (Some(queue), Some(consumer)) = (queues.get_mut(id), consumers.get_mut(consumer_id)) else {
            return false;
        };
        let (connection, number) = (consumer.at.connection, consumer.at.channel);
        let Some(link) = links.get_mut(connection) else { return false };
        let WaitsFor::Message(ticket) = consumer.waits else { return false };
        if let Some(obstacle) = obstacle(consumer, link, config.max_unacked_per_channel) {
            queue.line.leave(ticket);
            let Some(session) = link.session() else { return false };
            consumer.waits = match obstacle {
                Obstacle::Ack => WaitsFor::Ack,
                Obstacle::Outbox => WaitsFor::Outbox(session.line.join(consumer_id, consumer.priority)),
                Obstacle::Channel => match session.channel(number) {
                    Some(channel) => {
                        WaitsFor::Channel(channel.window.line.join(consumer_id, consumer.priority))
                    }
                    None => WaitsFor::Ack,
                },
            };
            // The deadline of its connection may have changed.
            touched.mark(connection, link);
            return true;
        }
        let frame_max = link.frame_max;
        let Some(channel) = link.session().and_then(|session| session.channel(number)) else { return false };
        let Some(next) = queue.pop() else { return false };
        channel.last_tag += 1;
        let tag = channel.last_tag;
        let message = next.message.clone();
        if !consumer.no_ack {
            consumer.unacked += 1;
            channel.window.unacked += 1;
            queue.unacked += 1;
            let (position, message, consumer) = (next.position, next.message, Some(consumer_id));
            channel.unacked.push(tag, Delivery { queue: id, position, message, consumer });
        }
        message.write(&mut link.outbox, number, frame_max, |out| {
            let deliver = Deliver {
                consumer_tag: consumer.tag.as_bytes(),
                delivery_tag: tag,
                redelivered: next.redelivered,
                exchange: message.exchange.as_bytes(),
                routing_key: message.routing_key(),
            };
            write_deliver(out, &deliver)
        });
        link.spoke = true;
        touched.mark(connection, link);
        if queue.line.has_others() {
            queue.line.leave(ticket);
            consumer.waits = WaitsFor::Message(queue.line.join(consumer_id, consumer.priority));
        }
        true
    }

    /// Puts a consumer that waited for something else back into the line of its queue, and names the queue.
    pub(super) fn wake(&mut self, id: ConsumerId) -> Option<QueueId> {
        let Self { queues, consumers, links, .. } = self;
        let consumer = consumers.get_mut(id)?;
        let queue = queues.get_mut(consumer.queue)?;
        if let Some(session) = links.get_mut(consumer.at.connection).and_then(Link::session) {
            match consumer.waits {
                WaitsFor::Message(_) => return Some(consumer.queue),
                WaitsFor::Ack => {}
                WaitsFor::Outbox(ticket) => session.line.leave(ticket),
                WaitsFor::Channel(ticket) => {
                    if let Some(channel) = session.channel(consumer.at.channel) {
                        channel.window.line.leave(ticket);
                    }
                }
            }
        }
        consumer.waits = WaitsFor::Message(queue.line.join(id, consumer.priority));
        Some(consumer.queue)
    }

    /// Lets consumers of a channel go on while there is room in its window.
    pub(super) fn run_channel(&mut self, at: At) {
        let ceiling = self.config.max_unacked_per_channel;
        while let Some(channel) = self.channel(at)
            && channel.window.has_room(ceiling)
            && let Some(consumer) = channel.window.line.first()
            && let Some(queue) = self.wake(consumer)
        {
            self.run_queue(queue);
        }
    }

    /// Goes on with deliveries that were held back, now that the outbox has been written.
    pub(super) fn resume(&mut self, id: ConnectionId) {
        if !self.links.get(id).is_some_and(Link::can_resume) {
            return;
        }
        while let Some(link) = self.links.get_mut(id)
            && link.has_room()
            && let Some(session) = link.session()
            && let Some(consumer) = session.line.first()
            && let Some(queue) = self.wake(consumer)
        {
            self.run_queue(queue);
        }
    }
}
