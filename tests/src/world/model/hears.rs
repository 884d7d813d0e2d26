//! What the broker is told, and what it must make of it.

use std::collections::BTreeSet;

use hopmq_proto::amqp::{Method, ShortStr, basic, channel, confirm, connection, exchange, queue};

use super::queue::{Queue, QueueNo};
use super::topology::{Binding, Criteria, To};
use super::{Confirms, Consumer, Expected, Model, Phase, Slot};
use crate::world::ledger::{Fate, Ledger, LinkNo, MessageNo};
use crate::world::tap::{Message, Said};

/// A refusal, by its code; which codes close the whole connection AMQP says.
struct Refusal(u16);

const NOT_FOUND: Refusal = Refusal(404);
const ACCESS_REFUSED: Refusal = Refusal(403);
const RESOURCE_LOCKED: Refusal = Refusal(405);
const PRECONDITION_FAILED: Refusal = Refusal(406);
const NOT_ALLOWED: Refusal = Refusal(530);

impl Model {
    /// Whether a frame can only add messages and acknowledge them, so that it does not matter when the broker looks
    /// at what it makes possible.
    pub(in crate::world) fn is_plain(&self, link: LinkNo, number: u16, method: &Method) -> bool {
        let Some(link) = self.links.get(&link).filter(|link| link.phase == Phase::Open) else {
            return false;
        };
        let Some(Slot::Open(channel)) = link.channels.get(&number) else { return false };
        match method {
            Method::BasicPublish(publish) => self.takes(publish),
            Method::BasicAck(ack) => channel.unacked.contains_key(&ack.delivery_tag),
            _ => false,
        }
    }

    /// Whether the exchange of a publish is there.
    pub(in crate::world) fn takes(&self, publish: &basic::Publish) -> bool {
        publish.exchange.as_str().is_ok_and(|name| self.topology.has_exchange(name))
    }

    /// The broker is about to hear this from a client.
    pub(in crate::world) fn hears(&mut self, link: LinkNo, said: Said, ledger: &mut Ledger) {
        match said {
            Said::ProtocolHeader | Said::Heartbeat | Said::Part => {}
            Said::Method(0, method) => self.hears_connection(link, &method),
            Said::Method(number, method) => self.hears_channel(link, number, method),
            Said::Message(message) => self.hears_message(link, &message, ledger),
        }
    }

    fn hears_connection(&mut self, link: LinkNo, method: &Method) {
        let phase = self.link(link).phase;
        match (phase, method) {
            (Phase::Open, Method::ConnectionClose(_)) => {
                self.expect(link, Expected::Exactly(0, connection::CloseOk {}.into()));
                self.end_link(link);
            }
            (Phase::Handshake, Method::ConnectionClose(_)) => {
                self.expect(link, Expected::Exactly(0, connection::CloseOk {}.into()));
                self.link(link).phase = Phase::Ended;
            }
            (Phase::Closing, Method::ConnectionClose(_)) => {
                self.expect(link, Expected::Exactly(0, connection::CloseOk {}.into()));
            }
            (Phase::Closing, Method::ConnectionCloseOk(_)) => self.link(link).phase = Phase::Ended,
            _ => {}
        }
    }

    fn hears_channel(&mut self, link: LinkNo, number: u16, method: Method) {
        let state = self.link(link);
        if state.phase != Phase::Open {
            return;
        }
        match (state.channels.get_mut(&number), &method) {
            (None, Method::ChannelOpen(_)) => {
                self.open_channel(link, number);
                self.expect(link, Expected::Exactly(number, channel::OpenOk {}.into()));
            }
            (None, method) => panic!("the client sends {method:?} on channel {number}, which is not open"),
            (Some(Slot::Closing), Method::ChannelCloseOk(_)) => {
                state.channels.remove(&number);
            }
            (Some(Slot::Closing), Method::ChannelClose(_)) => {
                self.expect(link, Expected::Exactly(number, channel::CloseOk {}.into()));
            }
            (Some(Slot::Closing), _) => {}
            (Some(Slot::Open(_)), _) => {
                if let Err(Refusal(code)) = self.hears_method(link, number, method) {
                    self.refuse(link, number, code);
                }
            }
        }
    }

    fn refuse(&mut self, link: LinkNo, number: u16, code: u16) {
        if code == NOT_ALLOWED.0 {
            self.tally.connection_errors += 1;
            self.expect(link, Expected::ConnectionClose { code });
            self.link(link).phase = Phase::Closing;
            self.end_session(link);
            return;
        }
        self.tally.channel_errors += 1;
        self.expect(link, Expected::ChannelClose { channel: number, code });
        if let Some(Slot::Open(channel)) = self.link(link).channels.insert(number, Slot::Closing) {
            self.end_channels(vec![channel]);
        }
    }

    fn hears_message(&mut self, link: LinkNo, message: &Message, ledger: &mut Ledger) {
        let Method::BasicPublish(publish) = &message.method else {
            panic!("a client sends {:?}", message.method);
        };
        let (exchange, key) = (publish.exchange.as_bytes(), publish.routing_key.as_bytes());
        let no = ledger.identify(exchange, key, &message.properties, &message.body);
        ledger.arrived(self.channel_at(link, message.channel), no);
        if self.link(link).phase != Phase::Open || self.channel(link, message.channel).is_none() {
            return;
        }
        assert_eq!(ledger.record(no).fate, None, "message {no} comes twice");
        if !self.takes(publish) {
            self.refuse(link, message.channel, NOT_FOUND.0);
            return;
        }
        let queues = self.route(publish, message);
        let routed = !queues.is_empty();
        ledger.record_mut(no).fate = Some(if routed { Fate::Routed } else { Fate::Unroutable });
        self.enqueue(link, message.channel, no, queues, publish.mandatory);
    }

    fn route(&self, publish: &basic::Publish, message: &Message) -> BTreeSet<QueueNo> {
        let key = publish.routing_key.to_string();
        if publish.exchange.is_empty() {
            return self.names.get(&key).copied().into_iter().collect();
        }
        let headers = message.properties.headers.as_ref();
        self.topology.route(&publish.exchange.to_string(), &key, headers)
    }

    fn enqueue(
        &mut self,
        link: LinkNo,
        number: u16,
        no: MessageNo,
        queues: BTreeSet<QueueNo>,
        mandatory: bool,
    ) {
        let Some(channel) = self.channel(link, number) else { return };
        let publish = channel.confirms.as_mut().map(|confirms| {
            confirms.published += 1;
            confirms.published
        });
        if queues.is_empty() && mandatory {
            channel.returns.push_back((publish, no));
        }
        for queue in queues {
            self.changed.insert(queue);
            if let Some(queue) = self.queues.get_mut(&queue) {
                queue.push(no);
            }
        }
    }

    fn hears_method(&mut self, link: LinkNo, number: u16, method: Method) -> Result<(), Refusal> {
        let reply: Method = match method {
            Method::ChannelClose(_) => {
                if let Some(Slot::Open(channel)) = self.link(link).channels.remove(&number) {
                    // The broker answers behind the notices, which are for others.
                    self.end_channels(vec![channel]);
                }
                channel::CloseOk {}.into()
            }
            Method::ChannelCloseOk(_) => return Ok(()),
            Method::ExchangeDeclare(declare) => self.declare_exchange(&declare)?,
            Method::ExchangeDelete(delete) => self.delete_exchange(&delete)?,
            Method::ExchangeBind(bind) => {
                let binding = self.exchange_binding(&bind)?;
                self.topology.bind(binding);
                exchange::BindOk {}.into()
            }
            Method::QueueDeclare(declare) => return self.declare_queue(link, number, &declare),
            Method::QueueBind(bind) => {
                let binding = self.queue_binding(link, &bind.queue, &bind.exchange)?;
                let (key, criteria) = (bind.routing_key.to_string(), Criteria::of(&bind.arguments));
                self.topology.bind(Binding { key, criteria, ..binding });
                queue::BindOk {}.into()
            }
            Method::QueueUnbind(unbind) => {
                match self.queue_binding(link, &unbind.queue, &unbind.exchange) {
                    Ok(binding) => {
                        let (key, criteria) =
                            (unbind.routing_key.to_string(), Criteria::of(&unbind.arguments));
                        self.topology.unbind(&Binding { key, criteria, ..binding });
                    }
                    Err(Refusal(404)) => {}
                    Err(refusal) => return Err(refusal),
                }
                queue::UnbindOk {}.into()
            }
            Method::QueuePurge(purge) => {
                let no = self.own_queue(link, &purge.queue)?;
                self.changed.insert(no);
                let count = self.queues.get_mut(&no).map_or(0, Queue::purge);
                queue::PurgeOk { message_count: count as u32 }.into()
            }
            Method::QueueDelete(delete) => return self.delete_queue(link, number, &delete),
            Method::BasicQos(qos) => self.qos(link, number, &qos),
            Method::BasicConsume(consume) => return self.consume(link, number, &consume),
            Method::BasicCancel(cancel) => {
                let tag = cancel.consumer_tag.to_string();
                let channel = self.channel(link, number);
                if let Some(no) = channel.and_then(|channel| channel.consumers.remove(&tag)) {
                    self.remove_consumer(no);
                }
                basic::CancelOk { consumer_tag: cancel.consumer_tag }.into()
            }
            Method::BasicGet(get) => return self.get(link, number, &get),
            Method::BasicAck(ack) => {
                return self.settle_tag(link, number, ack.delivery_tag, ack.multiple, false);
            }
            Method::BasicNack(nack) => {
                return self.settle_tag(link, number, nack.delivery_tag, nack.multiple, nack.requeue);
            }
            Method::BasicReject(reject) => {
                return self.settle_tag(link, number, reject.delivery_tag, false, reject.requeue);
            }
            Method::BasicRecover(_) => {
                self.settle_tag(link, number, 0, true, true)?;
                basic::RecoverOk {}.into()
            }
            Method::ConfirmSelect(_) => {
                if let Some(channel) = self.channel(link, number) {
                    channel.confirms.get_or_insert_with(Confirms::default);
                }
                confirm::SelectOk {}.into()
            }
            method => panic!("worlds do not use {method:?}"),
        };
        self.expect(link, Expected::Exactly(number, reply));
        Ok(())
    }

    fn declare_exchange(&mut self, declare: &exchange::Declare) -> Result<Method, Refusal> {
        let known = self.topology.has_exchange(&declare.exchange.to_string());
        if declare.passive {
            return if known { Ok(exchange::DeclareOk {}.into()) } else { Err(NOT_FOUND) };
        }
        let agrees = self.topology.declare(declare);
        if agrees { Ok(exchange::DeclareOk {}.into()) } else { Err(PRECONDITION_FAILED) }
    }

    fn delete_exchange(&mut self, delete: &exchange::Delete) -> Result<Method, Refusal> {
        let name = delete.exchange.to_string();
        if delete.if_unused && self.topology.is_source(&name) {
            return Err(PRECONDITION_FAILED);
        }
        if self.topology.has_exchange(&name) {
            self.topology.delete(&name);
        }
        Ok(exchange::DeleteOk {}.into())
    }

    fn exchange_binding(&self, bind: &exchange::Bind) -> Result<Binding, Refusal> {
        let (source, destination) = (bind.source.to_string(), bind.destination.to_string());
        if !self.topology.has_exchange(&source) || !self.topology.has_exchange(&destination) {
            return Err(NOT_FOUND);
        }
        let (key, criteria) = (bind.routing_key.to_string(), Criteria::of(&bind.arguments));
        Ok(Binding { source, to: To::Exchange(destination), key, criteria })
    }

    fn named_queue(&self, name: &ShortStr) -> Result<QueueNo, Refusal> {
        self.names.get(&name.to_string()).copied().ok_or(NOT_FOUND)
    }

    fn own_queue(&self, link: LinkNo, name: &ShortStr) -> Result<QueueNo, Refusal> {
        let no = self.named_queue(name)?;
        match self.queues.get(&no).and_then(|queue| queue.owner) {
            Some(owner) if owner != link => Err(RESOURCE_LOCKED),
            _ => Ok(no),
        }
    }

    /// A binding of a queue, without its key and criteria.
    fn queue_binding(&self, link: LinkNo, queue: &ShortStr, source: &ShortStr) -> Result<Binding, Refusal> {
        self.named_queue(queue)?;
        let source = source.to_string();
        if !self.topology.has_exchange(&source) {
            return Err(NOT_FOUND);
        }
        let to = To::Queue(self.own_queue(link, queue)?);
        Ok(Binding { source, to, key: String::new(), criteria: Criteria::default() })
    }

    fn declare_queue(&mut self, link: LinkNo, number: u16, declare: &queue::Declare) -> Result<(), Refusal> {
        let name = declare.queue.to_string();
        let owner = declare.exclusive.then_some(link);
        let durable = declare.durable && !declare.exclusive;
        let known = self.names.get(&name).copied();
        let no = match known.and_then(|no| self.queues.get(&no).map(|queue| (no, queue))) {
            Some((no, _)) if declare.passive => {
                self.own_queue(link, &declare.queue)?;
                no
            }
            None if declare.passive => return Err(NOT_FOUND),
            Some((_, queue)) if queue.owner != owner => return Err(RESOURCE_LOCKED),
            Some((_, queue)) if (queue.durable, queue.auto_delete) != (durable, declare.auto_delete) => {
                return Err(PRECONDITION_FAILED);
            }
            Some((no, _)) => no,
            None => {
                let no = self.no();
                if !name.is_empty() {
                    self.names.insert(name.clone(), no);
                }
                self.queues.insert(no, Queue::new(name, durable, declare.auto_delete, owner));
                no
            }
        };
        self.changed.insert(no);
        let consumers = self.consumers.values().filter(|consumer| consumer.queue == no).count();
        let ready = self.queues.get(&no).map_or(0, Queue::ready);
        self.expect(link, Expected::DeclareOk { channel: number, queue: no, ready, consumers });
        Ok(())
    }

    fn delete_queue(&mut self, link: LinkNo, number: u16, delete: &queue::Delete) -> Result<(), Refusal> {
        let ok = |count: usize| {
            let ok = queue::DeleteOk { message_count: count as u32 };
            Expected::Exactly(number, ok.into())
        };
        let no = match self.own_queue(link, &delete.queue) {
            Ok(no) => no,
            Err(Refusal(404)) => {
                self.expect(link, ok(0));
                return Ok(());
            }
            Err(refusal) => return Err(refusal),
        };
        let used = self.consumers.values().any(|consumer| consumer.queue == no);
        let ready = self.queues.get(&no).map_or(0, Queue::ready);
        if (delete.if_unused && used) || (delete.if_empty && ready > 0) {
            return Err(PRECONDITION_FAILED);
        }
        self.expect(link, ok(ready));
        self.remove_queue(no);
        Ok(())
    }

    fn qos(&mut self, link: LinkNo, number: u16, qos: &basic::Qos) -> Method {
        if let Some(channel) = self.channel(link, number) {
            if qos.global {
                channel.window = qos.prefetch_count;
            } else {
                channel.window = 0;
                channel.prefetch = qos.prefetch_count;
            }
        }
        basic::QosOk {}.into()
    }

    fn consume(&mut self, link: LinkNo, number: u16, consume: &basic::Consume) -> Result<(), Refusal> {
        let tag = consume.consumer_tag.to_string();
        let Some(channel) = self.channel(link, number) else { return Ok(()) };
        if channel.consumers.contains_key(&tag) {
            return Err(NOT_ALLOWED);
        }
        let prefetch = channel.prefetch;
        let queue = self.own_queue(link, &consume.queue)?;
        let used = self.consumers.values().any(|consumer| consumer.queue == queue);
        let taken = self.queues.get(&queue).is_some_and(|queue| queue.exclusive);
        if taken || (consume.exclusive && used) {
            return Err(ACCESS_REFUSED);
        }
        let no_ack = consume.no_ack;
        let consumer = Consumer { link, channel: number, tag, queue, no_ack, prefetch, unacked: 0 };
        let exclusive = consume.exclusive;
        self.expect(link, Expected::ConsumeOk { channel: number, consumer, exclusive });
        Ok(())
    }

    fn get(&mut self, link: LinkNo, number: u16, get: &basic::Get) -> Result<(), Refusal> {
        let queue = self.own_queue(link, &get.queue)?;
        let expected = match self.queues.get(&queue).map_or(0, Queue::ready) {
            0 => Expected::Exactly(number, basic::GetEmpty {}.into()),
            ready => Expected::GetOk { channel: number, queue, no_ack: get.no_ack, left: ready - 1 },
        };
        self.expect(link, expected);
        Ok(())
    }

    fn settle_tag(
        &mut self,
        link: LinkNo,
        number: u16,
        tag: u64,
        multiple: bool,
        requeue: bool,
    ) -> Result<(), Refusal> {
        let Some(channel) = self.channel(link, number) else { return Ok(()) };
        let all = tag == 0 && multiple;
        if !all && !channel.unacked.contains_key(&tag) {
            return Err(PRECONDITION_FAILED);
        }
        let tags: Vec<u64> = match (multiple, all) {
            (_, true) => channel.unacked.keys().copied().collect(),
            (true, _) => channel.unacked.range(..=tag).map(|(tag, _)| *tag).collect(),
            (false, _) => vec![tag],
        };
        let settled: Vec<_> = tags.iter().filter_map(|tag| channel.unacked.remove(tag)).collect();
        for unacked in settled {
            self.settle(&unacked, requeue);
        }
        Ok(())
    }
}
