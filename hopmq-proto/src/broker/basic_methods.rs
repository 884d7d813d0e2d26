use alloc::format;

use crate::amqp::{Method, ShortStr, basic};

use super::arguments::type_name;
use super::consumer::{Consumer, WaitsFor};
use super::dispatch::{Reply, unless};
use super::engine::Broker;
use super::fault::{self, Fault};
use super::id::QueueId;
use super::reply_to;
use super::session::At;
use super::unacked::Delivery;

impl Broker {
    pub(super) fn on_qos(&mut self, at: At, qos: &basic::Qos) -> Reply {
        if qos.prefetch_size != 0 {
            return Err(Fault::not_implemented(format!("prefetch_size!=0 ({})", qos.prefetch_size)));
        }
        if let Some(channel) = self.channel(at) {
            if qos.global {
                channel.window.limit = qos.prefetch_count;
            } else {
                channel.window.limit = 0;
                channel.prefetch = qos.prefetch_count;
            }
        }
        if let Some(link) = self.links.get_mut(at.connection) {
            link.send(at.channel, &Method::from(basic::QosOk {}));
        }
        self.run_channel(at);
        Ok(None)
    }

    pub(super) fn on_consume(&mut self, at: At, consume: basic::Consume) -> Reply {
        let limit = self.config.max_consumers_per_channel;
        let Some(channel) = self.channel(at) else { return Ok(None) };
        if channel.consumers.contains_key(&consume.consumer_tag) {
            let text = format!("attempt to reuse consumer tag '{}'", consume.consumer_tag);
            return Err(Fault::not_allowed(text));
        }
        if channel.consumers.len() >= limit {
            let text = format!("reached maximum ({limit}) of consumers per channel");
            return Err(Fault::not_allowed(text));
        }
        let prefetch = channel.prefetch;
        let (id, priority) = if consume.queue == reply_to::REPLY_TO {
            (self.open_replies(at, &consume)?, 0) // RabbitMQ does not look at its arguments
        } else {
            let id = self.own_queue(at, &consume.queue)?;
            (id, self.check_consume(id, &consume)?)
        };
        let tag = match consume.consumer_tag {
            tag if tag.is_empty() => self.names.next("amq.ctag"),
            tag => tag,
        };
        let Some(queue) = self.queues.get_mut(id) else { return Ok(None) };
        let consumer_id = self.consumers.insert(Consumer {
            tag: tag.clone(),
            queue: id,
            at,
            no_ack: consume.no_ack,
            priority,
            prefetch,
            unacked: 0,
            waits: WaitsFor::Ack,
        });
        queue.consumers.insert(consumer_id);
        if consume.exclusive {
            queue.exclusive_consumer = Some(consumer_id);
        }
        if let Some(channel) = self.channel(at) {
            channel.consumers.insert(tag.clone(), consumer_id);
        }
        if !consume.no_wait
            && let Some(link) = self.links.get_mut(at.connection)
        {
            link.send(at.channel, &Method::from(basic::ConsumeOk { consumer_tag: tag }));
        }
        self.wake(consumer_id);
        self.run_queue(id);
        Ok(None)
    }

    /// Whether the queue takes this consumer, and with which priority.
    fn check_consume(&self, id: QueueId, consume: &basic::Consume) -> Result<i64, Fault> {
        let Some(queue) = self.queues.get(id) else { return Ok(0) };
        let what = || fault::queue(&queue.name, self.vhost_name(queue.vhost));
        let priority = match consume.arguments.get("x-priority") {
            None => 0,
            Some(value) => value.as_i64().ok_or_else(|| {
                Fault::precondition(format!(
                    "invalid arg 'x-priority' for {}: {{unacceptable_type,{}}}",
                    what(),
                    type_name(value)
                ))
            })?,
        };
        let taken = queue.exclusive_consumer.is_some() || (consume.exclusive && !queue.consumers.is_empty());
        if taken {
            return Err(Fault::refused(format!("{} in exclusive use", what())));
        }
        Ok(priority)
    }

    pub(super) fn on_cancel(&mut self, at: At, cancel: basic::Cancel) -> Reply {
        let consumer = self.channel(at).and_then(|channel| channel.consumers.remove(&cancel.consumer_tag));
        if let Some(consumer) = consumer {
            self.remove_consumer(consumer);
        }
        unless(cancel.no_wait, basic::CancelOk { consumer_tag: cancel.consumer_tag })
    }

    pub(super) fn on_get(&mut self, at: At, get: &basic::Get) -> Reply {
        let id = self.own_queue(at, &get.queue)?;
        let Some(queue) = self.queues.get_mut(id) else { return Ok(None) };
        let Some(next) = queue.pop() else { return unless(false, basic::GetEmpty {}) };
        if !get.no_ack {
            queue.unacked += 1;
        }
        let message_count = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        let Some(channel) = self.channel(at) else { return Ok(None) };
        channel.last_tag += 1;
        let delivery_tag = channel.last_tag;
        let message = next.message.clone();
        if !get.no_ack {
            let (position, message) = (next.position, next.message);
            channel.unacked.push(delivery_tag, Delivery { queue: id, position, message, consumer: None });
        }
        let method = Method::from(basic::GetOk {
            delivery_tag,
            redelivered: next.redelivered,
            exchange: message.exchange.clone(),
            routing_key: ShortStr::copy(message.routing_key()),
            message_count,
        });
        if let Some(link) = self.links.get_mut(at.connection) {
            message.write(&mut link.outbox, at.channel, link.frame_max, |out| method.encode(out));
            link.spoke = true;
        }
        Ok(None)
    }
}
