use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::BytesMut;

use crate::amqp::{FieldTable, FieldValue, Method, Properties, Publish, ReplyCode, ShortStr, basic};

use super::arguments::type_name;
use super::engine::Broker;
use super::exchange::Destination;
use super::fault::{self, Fault};
use super::id::ExchangeId;
use super::input::syntax;
use super::message::{Body, Message};
use super::reply_to::{REPLY_TO, is_reply_to};
use super::session::At;

/// The flags of the properties that mean something to the broker: headers, reply-to, expiration and user id.
const MEANINGFUL: u16 = 0x2000 | 0x0200 | 0x0100 | 0x0010;
/// How many routing keys the CC and BCC headers may hold: each is routed, and a header has room for thousands.
const MAX_COPIES: usize = 1000;
/// RabbitMQ's longest timer, in milliseconds.
const MAX_EXPIRATION: i128 = 4_294_967_295;

/// What the broker must know of a message's properties.
#[derive(Debug, Default)]
struct Facts {
    headers: Option<FieldTable>,
    /// Routing keys out of the CC and BCC headers.
    more_keys: Vec<ShortStr>,
    /// The properties without BCC, and with the address of replies, if that changes them.
    rewritten: Option<BytesMut>,
}

impl Broker {
    /// A whole message has come.
    pub(super) fn publish(
        &mut self,
        at: At,
        publish: &Publish<'_>,
        properties: &[u8],
        body: Body<'_>,
    ) -> Result<(), Fault> {
        self.try_publish(at, publish, properties, body)
            .map_err(|fault| if fault.method == (0, 0) { fault.on(Publish::ID) } else { fault })
    }

    fn try_publish(
        &mut self,
        at: At,
        publish: &Publish<'_>,
        properties: &[u8],
        body: Body<'_>,
    ) -> Result<(), Fault> {
        if publish.immediate {
            return Err(Fault::not_implemented("immediate=true"));
        }
        let max = self.config.max_message_size;
        if body.len() as u64 > max {
            let text = format!("message size {} is larger than configured max size {max}", body.len());
            return Err(Fault::precondition(text));
        }
        let Some(session) = self.links.get_mut(at.connection).and_then(|link| link.session()) else {
            return Ok(());
        };
        let vhost = session.vhost;
        let exchange = self.find_exchange(vhost, publish.exchange);
        let found = exchange.and_then(|id| self.exchanges.get(id).map(|exchange| (id, exchange)));
        let Some((id, exchange)) = found else {
            return Err(Fault::no_exchange(publish.exchange, self.vhost_name(vhost)));
        };
        if exchange.declared.internal {
            let what = fault::exchange(publish.exchange, self.vhost_name(vhost));
            return Err(Fault::refused(format!("cannot publish to internal {what}")));
        }
        let name = exchange.name.clone();
        let facts = self.read_facts(at, properties)?;
        let properties = facts.rewritten.as_ref().map_or(properties, |rewritten| &rewritten[..]);
        self.count_publish(at);
        self.route(id, publish.routing_key, &facts);
        if self.refuses && !self.reached_no_queue() {
            self.refuse_publish(at);
            self.scratch.routes.clear();
            return Ok(());
        }
        let unrouted = self.scratch.routes.is_empty();
        if !unrouted || publish.mandatory {
            let message = Arc::new(Message::new(name, publish.routing_key, properties, body));
            if publish.mandatory && self.reached_no_queue() {
                self.return_message(at, &message);
            }
            self.enqueue(&message);
        }
        Ok(())
    }

    /// Whether a message was routed to nobody, or to an address of replies only: RabbitMQ does not count those.
    fn reached_no_queue(&self) -> bool {
        let queues = self.scratch.routes.iter().filter_map(|id| self.queues.get(*id));
        queues.into_iter().all(|queue| is_reply_to(queue.name.as_bytes()))
    }

    /// Puts the message into the queues it was routed to, and delivers from them.
    fn enqueue(&mut self, message: &Arc<Message>) {
        let mut routes = core::mem::take(&mut self.scratch.routes);
        for id in &routes {
            if let Some(queue) = self.queues.get_mut(*id) {
                queue.push(message.clone());
            }
        }
        for id in routes.drain(..) {
            self.run_queue(id);
        }
        self.scratch.routes = routes;
    }

    /// Sends a mandatory message back that reached no queue.
    fn return_message(&mut self, at: At, message: &Message) {
        let Some(link) = self.links.get_mut(at.connection) else { return };
        let method = Method::from(basic::Return {
            reply_code: ReplyCode::NO_ROUTE.0,
            reply_text: ShortStr::from_static("NO_ROUTE"),
            exchange: message.exchange.clone(),
            routing_key: ShortStr::copy(message.routing_key()),
        });
        message.write(&mut link.outbox, at.channel, link.frame_max, |out| method.encode(out));
        link.spoke = true;
    }

    /// Finds the queues a message goes to, each once, and leaves them in `scratch.routes`.
    fn route(&mut self, start: ExchangeId, key: &[u8], facts: &Facts) {
        let Self { exchanges, queues, vhosts, scratch, routings, .. } = self;
        *routings += 1;
        scratch.routes.clear();
        scratch.pending.clear();
        scratch.pending.push(start);
        while let Some(id) = scratch.pending.pop() {
            let Some(exchange) = exchanges.get_mut(id).filter(|exchange| exchange.routed_by != *routings)
            else {
                continue;
            };
            exchange.routed_by = *routings;
            let Some(vhost) = vhosts.get(exchange.vhost) else { continue };
            let mut matched = false;
            // Only some kinds of exchange look at the key, so the others are asked once.
            let more = if exchange.declared.kind.has_keys() { &facts.more_keys[..] } else { &[] };
            for key in core::iter::once(key).chain(more.iter().map(ShortStr::as_bytes)) {
                scratch.found.clear();
                if exchange.name.is_empty() {
                    let queue = vhost.queues.get(key).map(|id| Destination::Queue(*id));
                    scratch.found.extend(queue);
                } else {
                    exchange.matches(key, facts.headers.as_ref(), &mut scratch.found);
                }
                matched |= !scratch.found.is_empty();
                for destination in &scratch.found {
                    match destination {
                        Destination::Exchange(id) => scratch.pending.push(*id),
                        Destination::Queue(id) => {
                            if let Some(queue) = queues.get_mut(*id)
                                && queue.routed_by != *routings
                            {
                                queue.routed_by = *routings;
                                scratch.routes.push(*id);
                            }
                        }
                    }
                }
                if !more.is_empty() {
                    // Each key may name the same exchanges.
                    scratch.pending.sort_unstable();
                    scratch.pending.dedup();
                }
            }
            if !matched && let Some(alternate) = &exchange.alternate {
                scratch.pending.extend(vhost.exchanges.get(alternate).copied());
            }
        }
    }

    /// Checks the properties, and takes out what routing needs.
    fn read_facts(&mut self, at: At, properties: &[u8]) -> Result<Facts, Fault> {
        let flags = properties.first_chunk().map_or(0, |flags| u16::from_be_bytes(*flags));
        if flags & MEANINGFUL == 0 {
            Properties::validate(properties).map_err(syntax)?;
            return Ok(Facts::default());
        }
        let mut decoded = Properties::decode(properties).map_err(syntax)?;
        if let Some(expiration) = &decoded.expiration {
            check_expiration(expiration)?;
        }
        let mut facts = Facts::default();
        if let Some(headers) = &decoded.headers {
            for key in ["CC", "BCC"] {
                add_keys(headers, key, &mut facts.more_keys)?;
            }
        }
        let session = self.links.get_mut(at.connection).and_then(|link| link.session());
        let user = session.map(|session| session.user.as_str()).unwrap_or_default();
        if let Some(user_id) = decoded.user_id.as_ref().filter(|id| **id != user) {
            return Err(Fault::precondition(format!(
                "user_id property set to '{user_id}' but authenticated user was '{user}'"
            )));
        }
        let hides = decoded.headers.as_mut().is_some_and(|headers| headers.remove("BCC").is_some());
        let asks = decoded.reply_to.as_ref().is_some_and(|reply_to| *reply_to == REPLY_TO);
        if asks {
            let address = self.reply_address(at);
            let none = || Fault::precondition("fast reply consumer does not exist");
            decoded.reply_to = Some(address.ok_or_else(none)?);
        }
        if hides || asks {
            let mut rewritten = BytesMut::new();
            decoded.encode(&mut rewritten).map_err(syntax)?;
            facts.rewritten = Some(rewritten);
        }
        facts.headers = decoded.headers;
        Ok(facts)
    }
}

/// Adds the routing keys in a CC or BCC header.
fn add_keys(headers: &FieldTable, name: &str, keys: &mut Vec<ShortStr>) -> Result<(), Fault> {
    match headers.get(name) {
        None => Ok(()),
        Some(FieldValue::Array(values)) => {
            let texts = values.iter().filter_map(|value| match value {
                FieldValue::String(text) => ShortStr::new(text.clone().into_bytes()).ok(),
                _ => None,
            });
            keys.extend(texts);
            if keys.len() > MAX_COPIES {
                let text = format!("invalid message: more than {MAX_COPIES} routing keys in CC and BCC");
                return Err(Fault::precondition(text));
            }
            Ok(())
        }
        Some(other) => Err(Fault::precondition(format!(
            "invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}",
            type_name(other)
        ))),
    }
}

/// An expiration is a whole number of milliseconds.
fn check_expiration(expiration: &ShortStr) -> Result<(), Fault> {
    let text = expiration.to_string_lossy();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    let value = number.parse::<i128>().unwrap_or(i128::MAX).saturating_mul(sign);
    let why: String = match (number.is_empty(), rest.is_empty(), value) {
        (true, ..) => "no_integer".to_string(),
        (_, false, _) => format!("{{leftover_string,\"{rest}\"}}"),
        (_, _, value) if value < 0 => format!("{{value_negative,{value}}}"),
        (_, _, value) if value > MAX_EXPIRATION => format!("{{value_too_big,{number}}}"),
        _ => return Ok(()),
    };
    Err(Fault::precondition(format!("invalid expiration '{text}': {why}")))
}
