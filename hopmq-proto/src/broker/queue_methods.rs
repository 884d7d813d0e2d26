use alloc::format;

use crate::amqp::{Method, ShortStr, basic, queue};

use super::consumer::WaitsFor;
use super::dispatch::{Reply, unless};
use super::engine::Broker;
use super::exchange::Destination;
use super::fault::{self, Fault};
use super::id::{ConsumerId, ExchangeId, QueueId};
use super::link::Link;
use super::queue::{Declared, Queue};
use super::reply_to::is_reply_to;
use super::session::At;

impl Broker {
    /// The virtual host of a connection.
    pub(super) fn vhost_of(&mut self, at: At) -> usize {
        self.links.get_mut(at.connection).and_then(Link::session).map_or(0, |session| session.vhost)
    }

    /// The queue that a method names, where an empty name means the last one declared on the channel.
    pub(super) fn named_queue(&mut self, at: At, name: &ShortStr) -> Result<QueueId, Fault> {
        let name = if name.is_empty() {
            let last = self.channel(at).map(|channel| channel.last_queue.clone()).unwrap_or_default();
            if last.is_empty() {
                let code = crate::amqp::ReplyCode::NOT_FOUND;
                return Err(Fault::new(code, "no previously declared queue"));
            }
            last
        } else {
            name.clone()
        };
        let vhost = self.vhost_of(at);
        let found = self.find_queue(vhost, &name).filter(|_| !is_reply_to(name.as_bytes()));
        found.ok_or_else(|| Fault::no_queue(&name, self.vhost_name(vhost)))
    }

    /// The same, refused when another connection has it exclusively.
    pub(super) fn own_queue(&mut self, at: At, name: &ShortStr) -> Result<QueueId, Fault> {
        let id = self.named_queue(at, name)?;
        if let Some(queue) = self.queues.get(id) {
            queue.check_access(at.connection, self.vhost_name(queue.vhost))?;
        }
        Ok(id)
    }

    pub(super) fn on_queue_declare(&mut self, at: At, declare: queue::Declare) -> Reply {
        let vhost = self.vhost_of(at);
        let name = declare.queue.without_line_breaks();
        let no_wait = declare.no_wait;
        if is_reply_to(name.as_bytes()) {
            return self.on_declare_replies(at, &name, no_wait);
        }
        let name = if declare.passive {
            let id = self.find_queue(vhost, &name);
            let Some(queue) = id.and_then(|id| self.queues.get(id)) else {
                return Err(Fault::no_queue(&name, self.vhost_name(vhost)));
            };
            queue.check_access(at.connection, self.vhost_name(vhost))?;
            name
        } else {
            self.declare_queue(at, vhost, name, declare)?
        };
        if let Some(channel) = self.channel(at) {
            channel.last_queue = name.clone();
        }
        let id = self.find_queue(vhost, &name);
        let (ready, consumers) = id
            .and_then(|id| self.queues.get(id))
            .map_or((0, 0), |queue| (queue.len(), queue.consumers.len()));
        let message_count = u32::try_from(ready).unwrap_or(u32::MAX);
        let consumer_count = u32::try_from(consumers).unwrap_or(u32::MAX);
        unless(no_wait, queue::DeclareOk { queue: name, message_count, consumer_count })
    }

    fn declare_queue(
        &mut self,
        at: At,
        vhost: usize,
        name: ShortStr,
        declare: queue::Declare,
    ) -> Result<ShortStr, Fault> {
        if name.as_bytes().starts_with(b"amq.") {
            return Err(Fault::refused(format!("queue name '{name}' contains reserved prefix 'amq.*'")));
        }
        let declared = Declared {
            // As RabbitMQ does: an exclusive queue goes with its connection anyway.
            durable: declare.durable && !declare.exclusive,
            auto_delete: declare.auto_delete,
            owner: declare.exclusive.then_some(at.connection),
            arguments: declare.arguments,
        };
        if let Some(queue) = self.find_queue(vhost, &name).and_then(|id| self.queues.get(id)) {
            queue.check_declared(&declared, self.vhost_name(vhost))?;
            return Ok(name);
        }
        let limit = self.config.max_queues_per_vhost;
        let count = self.vhosts.get(vhost).map_or(0, |vhost| vhost.queues.len());
        if count >= limit {
            return Err(Fault::precondition(format!(
                "cannot declare queue '{name}': queue limit in vhost '{}' ({limit}) is reached",
                self.vhost_name(vhost)
            )));
        }
        let name = if name.is_empty() { self.names.next("amq.gen") } else { name };
        let exclusive = declared.owner.is_some();
        let id = self.queues.insert(Queue::new(name.clone(), vhost, declared));
        if let Some(vhost) = self.vhosts.get_mut(vhost) {
            vhost.queues.insert(name.clone(), id);
        }
        if exclusive && let Some(session) = self.links.get_mut(at.connection).and_then(Link::session) {
            session.owns.insert(id);
        }
        Ok(name)
    }

    pub(super) fn on_queue_bind(&mut self, at: At, bind: &queue::Bind) -> Reply {
        let (source, destination, key) =
            self.queue_binding(at, &bind.queue, &bind.exchange, &bind.routing_key)?;
        self.bind(source, destination, &key, &bind.arguments)?;
        unless(bind.no_wait, queue::BindOk {})
    }

    pub(super) fn on_queue_unbind(&mut self, at: At, unbind: &queue::Unbind) -> Reply {
        // What is not there is not bound: RabbitMQ answers ok.
        match self.queue_binding(at, &unbind.queue, &unbind.exchange, &unbind.routing_key) {
            Ok((source, destination, key)) => self.unbind(source, destination, &key, &unbind.arguments)?,
            Err(fault)
                if fault.code == crate::amqp::ReplyCode::NOT_FOUND && !fault.text.starts_with("no prev") => {}
            Err(fault) => return Err(fault),
        }
        unless(false, queue::UnbindOk {})
    }

    /// What a binding of a queue names: its source, its destination and its key.
    fn queue_binding(
        &mut self,
        at: At,
        queue: &ShortStr,
        exchange: &ShortStr,
        key: &ShortStr,
    ) -> Result<(ExchangeId, Destination, ShortStr), Fault> {
        let vhost = self.vhost_of(at);
        let (queue, exchange) = (&queue.without_line_breaks(), exchange.without_line_breaks());
        if exchange.is_empty() {
            // RabbitMQ looks at an empty queue name first.
            if queue.is_empty() {
                self.named_queue(at, queue)?;
            }
            return Err(Fault::refused("operation not permitted on the default exchange"));
        }
        let id = self.named_queue(at, queue)?;
        let source = self.find_exchange(vhost, exchange.as_bytes());
        let Some(source) = source else {
            return Err(Fault::no_exchange(exchange.as_bytes(), self.vhost_name(vhost)));
        };
        let Some(found) = self.queues.get(id) else {
            return Err(Fault::no_queue(queue, self.vhost_name(vhost)));
        };
        found.check_access(at.connection, self.vhost_name(vhost))?;
        // An empty key with an empty queue name means the queue's name, too.
        let key = if queue.is_empty() && key.is_empty() { found.name.clone() } else { key.clone() };
        Ok((source, Destination::Queue(id), key))
    }

    pub(super) fn on_queue_purge(&mut self, at: At, purge: &queue::Purge) -> Reply {
        let id = self.own_queue(at, &purge.queue)?;
        let count = self.queues.get_mut(id).map_or(0, Queue::purge);
        unless(purge.no_wait, queue::PurgeOk { message_count: u32::try_from(count).unwrap_or(u32::MAX) })
    }

    pub(super) fn on_queue_delete(&mut self, at: At, delete: &queue::Delete) -> Reply {
        let id = match self.own_queue(at, &delete.queue.without_line_breaks()) {
            Ok(id) => id,
            Err(fault)
                if fault.code == crate::amqp::ReplyCode::NOT_FOUND && !fault.text.starts_with("no prev") =>
            {
                return unless(delete.no_wait, queue::DeleteOk { message_count: 0 });
            }
            Err(fault) => return Err(fault),
        };
        let Some(queue) = self.queues.get(id) else { return Ok(None) };
        let what = || fault::queue(&queue.name, self.vhost_name(queue.vhost));
        if delete.if_unused && !queue.consumers.is_empty() {
            return Err(Fault::precondition(format!("{} in use", what())));
        }
        if delete.if_empty && !queue.is_empty() {
            return Err(Fault::precondition(format!("{} not empty", what())));
        }
        let count = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        let Some(queue) = self.remove_queue(id) else { return Ok(None) };
        // The answer goes out before the notices to the consumers.
        if !delete.no_wait
            && let Some(link) = self.links.get_mut(at.connection)
        {
            link.send(at.channel, &queue::DeleteOk { message_count: count }.into());
        }
        self.cancel_consumers(&queue);
        Ok(None)
    }

    /// Takes a queue out of everything that knows it but its consumers.
    pub(super) fn remove_queue(&mut self, id: QueueId) -> Option<Queue> {
        let mut queue = self.queues.remove(id)?;
        if let Some(vhost) = self.vhosts.get_mut(queue.vhost) {
            vhost.queues.remove(&queue.name);
        }
        let owner = queue.declared.owner.and_then(|owner| self.links.get_mut(owner));
        if let Some(session) = owner.and_then(Link::session) {
            session.owns.remove(&id);
        }
        let incoming = core::mem::take(&mut queue.incoming);
        self.unbind_all(Destination::Queue(id), incoming);
        Some(queue)
    }

    /// Ends the consumers of a queue that is gone, and tells those who want to know.
    pub(super) fn cancel_consumers(&mut self, queue: &Queue) {
        for id in &queue.consumers {
            let Some(consumer) = self.consumers.remove(*id) else { continue };
            let Some(link) = self.links.get_mut(consumer.at.connection) else { continue };
            let Some(session) = link.session() else { continue };
            if let WaitsFor::Outbox(ticket) = consumer.waits {
                session.line.leave(ticket);
            }
            let wants_cancel = session.wants_cancel;
            let Some(channel) = session.channel(consumer.at.channel) else { continue };
            if let WaitsFor::Channel(ticket) = consumer.waits {
                channel.window.line.leave(ticket);
            }
            channel.consumers.remove(&consumer.tag);
            if wants_cancel {
                let cancel = basic::Cancel { consumer_tag: consumer.tag, no_wait: true };
                link.send(consumer.at.channel, &Method::from(cancel));
            }
            self.touched.mark(consumer.at.connection, link);
        }
    }

    /// Ends a consumer, and with the last one an auto-delete queue.
    pub(super) fn remove_consumer(&mut self, id: ConsumerId) {
        let Some(consumer) = self.consumers.remove(id) else { return };
        if let Some(session) = self.links.get_mut(consumer.at.connection).and_then(Link::session) {
            match consumer.waits {
                WaitsFor::Outbox(ticket) => session.line.leave(ticket),
                WaitsFor::Channel(ticket) => {
                    if let Some(channel) = session.channel(consumer.at.channel) {
                        channel.window.line.leave(ticket);
                    }
                }
                WaitsFor::Message(_) | WaitsFor::Ack => {}
            }
        }
        let Some(queue) = self.queues.get_mut(consumer.queue) else { return };
        if let WaitsFor::Message(ticket) = consumer.waits {
            queue.line.leave(ticket);
        }
        queue.consumers.remove(&id);
        if queue.exclusive_consumer == Some(id) {
            queue.exclusive_consumer = None;
        }
        if queue.declared.auto_delete && queue.consumers.is_empty() {
            self.remove_queue(consumer.queue);
        }
    }
}
