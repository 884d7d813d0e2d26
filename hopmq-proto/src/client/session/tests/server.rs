//! A server with one client: names in maps, and RabbitMQ's rules of what goes with what.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec::Vec;

use super::short;
use crate::amqp::{Method, ReplyCode, ShortStr, exchange, queue};
use crate::client::ServerClose;

/// From, to a queue or not, to, key.
type Binding = (ShortStr, bool, ShortStr, ShortStr);

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Server {
    pub(super) exchanges: BTreeMap<ShortStr, exchange::Declare>,
    pub(super) queues: BTreeMap<ShortStr, queue::Declare>,
    pub(super) bindings: BTreeSet<Binding>,
    /// Their queues, by their numbers.
    pub(super) consumers: BTreeMap<u64, ShortStr>,
    named: u32,
}

impl Server {
    /// Carries out one method; the answer is empty, but for a queue's name.
    pub(super) fn execute(&mut self, method: &Method) -> Result<Option<ShortStr>, ServerClose> {
        let refused = |code: ReplyCode| {
            let (class_id, method_id) = method.id();
            ServerClose { code, text: short("no"), class_id, method_id }
        };
        let not_found = || refused(ReplyCode::NOT_FOUND);
        match method {
            Method::ExchangeDeclare(declare) => {
                let name = &declare.exchange;
                match self.exchanges.get(name) {
                    _ if is_amq(name) => {}
                    Some(known) if known.auto_delete != declare.auto_delete && !declare.passive => {
                        return Err(refused(ReplyCode::PRECONDITION_FAILED));
                    }
                    None if declare.passive => return Err(not_found()),
                    None => {
                        let _ = self.exchanges.insert(name.clone(), declare.clone());
                    }
                    Some(_) => {}
                }
            }
            Method::ExchangeDelete(delete) => self.delete_exchange(&delete.exchange),
            Method::ExchangeBind(bind) => {
                if !self.has_exchange(&bind.source) || !self.has_exchange(&bind.destination) {
                    return Err(not_found());
                }
                let (from, to) = (bind.source.clone(), bind.destination.clone());
                self.bindings.insert((from, false, to, bind.routing_key.clone()));
            }
            Method::ExchangeUnbind(m) => {
                self.unbind(&(m.source.clone(), false, m.destination.clone(), m.routing_key.clone()));
            }
            Method::QueueDeclare(declare) => return self.declare_queue(declare).map(Some).map_err(refused),
            Method::QueueDelete(delete) => self.delete_queue(&delete.queue),
            Method::QueueBind(bind) => {
                if !self.has_exchange(&bind.exchange) || !self.queues.contains_key(&bind.queue) {
                    return Err(not_found());
                }
                let (from, to) = (bind.exchange.clone(), bind.queue.clone());
                self.bindings.insert((from, true, to, bind.routing_key.clone()));
            }
            Method::QueueUnbind(m) => {
                self.unbind(&(m.exchange.clone(), true, m.queue.clone(), m.routing_key.clone()));
            }
            other => panic!("{other:?}"),
        }
        Ok(None)
    }

    fn has_exchange(&self, name: &ShortStr) -> bool {
        is_amq(name) || self.exchanges.contains_key(name)
    }

    fn declare_queue(&mut self, declare: &queue::Declare) -> Result<ShortStr, ReplyCode> {
        let mut name = declare.queue.clone();
        if name.is_empty() {
            self.named += 1;
            name = short(&format!("amq.gen-{}", self.named));
        }
        match self.queues.get(&name) {
            None if declare.passive => Err(ReplyCode::NOT_FOUND),
            Some(known)
                if !declare.passive
                    && (known.auto_delete, known.exclusive) != (declare.auto_delete, declare.exclusive) =>
            {
                Err(ReplyCode::PRECONDITION_FAILED)
            }
            Some(_) => Ok(name),
            None => {
                self.queues.insert(name.clone(), declare.clone());
                Ok(name)
            }
        }
    }

    fn unbind(&mut self, binding: &Binding) {
        if self.bindings.remove(binding) {
            self.auto_delete(&binding.0);
        }
    }

    fn auto_delete(&mut self, exchange: &ShortStr) {
        let is_auto = self.exchanges.get(exchange).is_some_and(|declare| declare.auto_delete);
        if is_auto && !self.bindings.iter().any(|(from, ..)| from == exchange) {
            self.delete_exchange(exchange);
        }
    }

    fn delete_exchange(&mut self, name: &ShortStr) {
        self.exchanges.remove(name);
        self.bindings.retain(|(from, ..)| from != name);
        self.unbind_destination(false, name);
    }

    pub(super) fn delete_queue(&mut self, name: &ShortStr) {
        self.queues.remove(name);
        self.consumers.retain(|_, queue| queue != name);
        self.unbind_destination(true, name);
    }

    fn unbind_destination(&mut self, is_queue: bool, name: &ShortStr) {
        let leads_there = |(_, queue, to, _): &&Binding| *queue == is_queue && to == name;
        let gone: Vec<Binding> = self.bindings.iter().filter(leads_there).cloned().collect();
        for binding in &gone {
            self.bindings.remove(binding);
        }
        for (from, ..) in &gone {
            self.auto_delete(from);
        }
    }

    pub(super) fn cancel(&mut self, consumer: u64) {
        let Some(queue) = self.consumers.remove(&consumer) else { return };
        let is_auto = self.queues.get(&queue).is_some_and(|declare| declare.auto_delete);
        if is_auto && !self.consumers.values().any(|other| *other == queue) {
            self.delete_queue(&queue);
        }
    }

    /// The client's connection has gone.
    pub(super) fn lose(&mut self) {
        let exclusive: Vec<ShortStr> =
            self.queues.iter().filter(|(_, q)| q.exclusive).map(|(name, _)| name.clone()).collect();
        for queue in &exclusive {
            self.delete_queue(queue);
        }
        let consumers: Vec<u64> = self.consumers.keys().copied().collect();
        for consumer in consumers {
            self.cancel(consumer);
        }
    }

    /// Everything has gone; names go on.
    pub(super) fn restart(&mut self) {
        *self = Self { named: self.named, ..Self::default() };
    }

    /// What is there, in words, with each queue's name as `name` gives it.
    pub(super) fn describe(&self, name: impl Fn(&ShortStr) -> ShortStr) -> BTreeSet<String> {
        let exchanges = self.exchanges.values().map(|e| format!("exchange {} {}", e.exchange, e.auto_delete));
        let queues = self.queues.iter().map(|(queue, declare)| {
            format!("queue {} {} {}", name(queue), declare.exclusive, declare.auto_delete)
        });
        let bindings = self.bindings.iter().map(|(from, is_queue, to, key)| {
            let to = if *is_queue { name(to) } else { to.clone() };
            format!("binding {from} {is_queue} {to} {key}")
        });
        let consumers = self.consumers.iter().map(|(id, queue)| format!("consumer {id} {}", name(queue)));
        exchanges.chain(queues).chain(bindings).chain(consumers).collect()
    }
}

fn is_amq(name: &ShortStr) -> bool {
    name.as_bytes().starts_with(b"amq.")
}
