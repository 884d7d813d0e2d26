//! What a reader wants to know of a method, behind its name.
//!
//! Nothing of those that are not named here is told, so none of the credentials. Of tables and properties nothing is.

use std::fmt::{self, Write as _};

use hopmq::ReplyCode;
use hopmq_proto::amqp::{Method, ShortStr, basic, exchange, queue};

/// How many characters of a name are told, and of a text.
const NAME: usize = 40;
const TEXT: usize = 100;

/// `'orders' (durable)`, or nothing.
pub(super) fn words(method: &Method) -> String {
    match method {
        Method::ConnectionOpen(open) => Name(&open.virtual_host).to_string(),
        Method::ConnectionClose(close) => reason(close.reply_code, &close.reply_text),
        Method::ConnectionBlocked(blocked) => Text(&blocked.reason).to_string(),
        Method::ChannelFlow(flow) => active(flow.active),
        Method::ChannelFlowOk(flow) => active(flow.active),
        Method::ChannelClose(close) => reason(close.reply_code, &close.reply_text),
        Method::ConfirmSelect(select) => flags(&[(select.no_wait, "no-wait")]),
        method => of_entity(method).or_else(|| of_message(method)).unwrap_or_default(),
    }
}

fn of_entity(method: &Method) -> Option<String> {
    Some(match method {
        Method::ExchangeDeclare(declare) => declare_exchange(declare),
        Method::ExchangeDelete(delete) => {
            let exchange::Delete { exchange, if_unused, no_wait } = delete;
            format!("{}{}", Name(exchange), flags(&[(*if_unused, "if-unused"), (*no_wait, "no-wait")]))
        }
        Method::ExchangeBind(bind) => {
            let exchange::Bind { destination, source, routing_key, no_wait, .. } = bind;
            binding(destination, "to", source, routing_key, *no_wait)
        }
        Method::ExchangeUnbind(unbind) => {
            let exchange::Unbind { destination, source, routing_key, no_wait, .. } = unbind;
            binding(destination, "from", source, routing_key, *no_wait)
        }
        Method::QueueDeclare(declare) => declare_queue(declare),
        Method::QueueDeclareOk(ok) => format!("{}{}", Name(&ok.queue), messages(ok.message_count)),
        Method::QueueBind(bind) => {
            let queue::Bind { queue, exchange, routing_key, no_wait, .. } = bind;
            binding(queue, "to", exchange, routing_key, *no_wait)
        }
        Method::QueueUnbind(unbind) => {
            let queue::Unbind { queue, exchange, routing_key, .. } = unbind;
            binding(queue, "from", exchange, routing_key, false)
        }
        Method::QueuePurge(purge) => format!("{}{}", Name(&purge.queue), no_wait(purge.no_wait)),
        Method::QueuePurgeOk(ok) => messages(ok.message_count),
        Method::QueueDelete(delete) => {
            let queue::Delete { queue, if_unused, if_empty, no_wait } = delete;
            let flags = [(*if_unused, "if-unused"), (*if_empty, "if-empty"), (*no_wait, "no-wait")];
            format!("{}{}", Name(queue), self::flags(&flags))
        }
        Method::QueueDeleteOk(ok) => messages(ok.message_count),
        _ => return None,
    })
}

fn of_message(method: &Method) -> Option<String> {
    Some(match method {
        Method::BasicQos(qos) => format!("{}{}", qos.prefetch_count, flags(&[(qos.global, "global")])),
        Method::BasicConsume(consume) => {
            let basic::Consume { queue, consumer_tag, no_ack, exclusive, no_wait, .. } = consume;
            let flags = [(*no_ack, "no-ack"), (*exclusive, "exclusive"), (*no_wait, "no-wait")];
            format!("{}{}{}", Name(queue), consumer(consumer_tag), self::flags(&flags))
        }
        Method::BasicConsumeOk(ok) => consumer(&ok.consumer_tag),
        Method::BasicCancel(cancel) => format!("{}{}", Name(&cancel.consumer_tag), no_wait(cancel.no_wait)),
        Method::BasicCancelOk(ok) => Name(&ok.consumer_tag).to_string(),
        Method::BasicPublish(publish) => {
            let basic::Publish { exchange, routing_key, mandatory, immediate } = publish;
            let flags = [(*mandatory, "mandatory"), (*immediate, "immediate")];
            format!("to {}{}", route(exchange, routing_key), self::flags(&flags))
        }
        Method::BasicReturn(back) => {
            let why = reason(back.reply_code, &back.reply_text);
            format!("to {}, {why}", route(&back.exchange, &back.routing_key))
        }
        Method::BasicDeliver(deliver) => {
            of_route(&deliver.exchange, &deliver.routing_key, deliver.redelivered)
        }
        Method::BasicGet(get) => format!("{}{}", Name(&get.queue), flags(&[(get.no_ack, "no-ack")])),
        Method::BasicGetOk(got) => of_route(&got.exchange, &got.routing_key, got.redelivered),
        Method::BasicAck(ack) => flags(&[(ack.multiple, "multiple")]),
        Method::BasicNack(nack) => flags(&[(nack.multiple, "multiple"), (nack.requeue, "requeue")]),
        Method::BasicReject(reject) => flags(&[(reject.requeue, "requeue")]),
        Method::BasicRecover(recover) => flags(&[(recover.requeue, "requeue")]),
        Method::BasicRecoverAsync(recover) => flags(&[(recover.requeue, "requeue")]),
        _ => return None,
    })
}

fn declare_exchange(declare: &exchange::Declare) -> String {
    let exchange::Declare { exchange, kind, passive, durable, auto_delete, internal, no_wait, .. } = declare;
    let flags = [
        (*passive, "passive"),
        (*durable, "durable"),
        (*auto_delete, "auto-delete"),
        (*internal, "internal"),
        (*no_wait, "no-wait"),
    ];
    format!("{} as {}{}", Name(exchange), Text(kind), self::flags(&flags))
}

fn declare_queue(declare: &queue::Declare) -> String {
    let queue::Declare { queue, passive, durable, exclusive, auto_delete, no_wait, .. } = declare;
    let flags = [
        (*passive, "passive"),
        (*durable, "durable"),
        (*exclusive, "exclusive"),
        (*auto_delete, "auto-delete"),
        (*no_wait, "no-wait"),
    ];
    format!("{}{}", Name(queue), self::flags(&flags))
}

/// `'orders'` by the default exchange, which has no name, or else `'logs' with 'eu.paris'`.
fn route(exchange: &ShortStr, routing_key: &ShortStr) -> String {
    if exchange.is_empty() {
        return Name(routing_key).to_string();
    }
    format!("{} with {}", Name(exchange), Name(routing_key))
}

fn of_route(exchange: &ShortStr, routing_key: &ShortStr, redelivered: bool) -> String {
    format!("of {}{}", route(exchange, routing_key), flags(&[(redelivered, "redelivered")]))
}

fn binding(one: &ShortStr, to: &str, other: &ShortStr, key: &ShortStr, no_wait: bool) -> String {
    format!("{} {to} {} with {}{}", Name(one), Name(other), Name(key), self::no_wait(no_wait))
}

fn consumer(tag: &ShortStr) -> String {
    if tag.is_empty() { String::new() } else { format!(" as {}", Name(tag)) }
}

/// `404 NOT_FOUND - no queue 'orders' in vhost '/'`: texts of RabbitMQ's begin with the name of the code.
fn reason(code: u16, text: &ShortStr) -> String {
    let code = ReplyCode(code);
    let name = code.name().unwrap_or_default();
    let has_name = text.as_bytes().starts_with(name.as_bytes());
    match (text.is_empty(), has_name) {
        (true, _) => code.to_string(),
        (false, true) => format!("{} {}", code.0, Text(text)),
        (false, false) => format!("{code} - {}", Text(text)),
    }
}

fn active(is_active: bool) -> String {
    flags(&[(is_active, "active"), (!is_active, "not active")])
}

fn no_wait(is_set: bool) -> String {
    flags(&[(is_set, "no-wait")])
}

fn messages(count: u32) -> String {
    if count == 1 { " (1 message)".to_owned() } else { format!(" ({count} messages)") }
}

/// ` (durable, exclusive)`: those that are set.
fn flags(flags: &[(bool, &str)]) -> String {
    let mut text = String::new();
    for (_, name) in flags.iter().filter(|(is_set, _)| *is_set) {
        text.push_str(if text.is_empty() { " (" } else { ", " });
        text.push_str(name);
    }
    if !text.is_empty() {
        text.push(')');
    }
    text
}

/// A name, in quotes and no longer than a reader needs.
struct Name<'a>(&'a ShortStr);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('\'')?;
        write_escaped(f, self.0, NAME, |char| char == '\'' || char == '\\')?;
        f.write_char('\'')
    }
}

/// A text for people, without quotes.
struct Text<'a>(&'a ShortStr);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.0, TEXT, |_| false)
    }
}

/// Writes the beginning of a text without what a line of a log must not have, as control characters.
fn write_escaped(
    f: &mut fmt::Formatter<'_>,
    text: &ShortStr,
    max: usize,
    is_escaped: impl Fn(char) -> bool,
) -> fmt::Result {
    let text = text.to_string_lossy();
    let mut left = max;
    for char in text.chars() {
        let is_plain = matches!(char, '\'' | '"' | '\\') && !is_escaped(char);
        let escaped = char.escape_debug();
        let len = if is_plain { 1 } else { escaped.len() };
        let Some(rest) = left.checked_sub(len) else { return f.write_char('…') };
        left = rest;
        if is_plain { f.write_char(char)? } else { write!(f, "{escaped}")? }
    }
    Ok(())
}
