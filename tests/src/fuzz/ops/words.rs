use hopmq_proto::amqp::{
    FieldTable, LongStr, Method, Properties, ShortStr, basic, confirm, exchange, queue, tx,
};

use super::super::script::Script;

/// Queues that commands name; the server calls those that it names `amq.gen-0` and so on.
const QUEUES: [&str; 8] =
    ["", "q0", "q1", "q2", "amq.gen-0", "amq.gen-1", "amq.gen-2", "amq.rabbitmq.reply-to"];
const EXCHANGES: [&str; 6] = ["x0", "x1", "amq.fanout", "amq.direct", "amq.topic", ""];
const KINDS: [&str; 5] = ["fanout", "direct", "topic", "headers", "x-unknown"];
const TAGS: [&str; 4] = ["", "c0", "c1", "c2"];
const KEYS: [&str; 5] = ["q0", "q1", "a.b", "*.b.#", ""];

fn word(words: &[&'static str], script: &mut Script<'_>) -> ShortStr {
    match script.next() {
        255 => ShortStr::truncated(&"w".repeat(255)),
        octet => ShortStr::from_static(words[usize::from(octet) % words.len()]),
    }
}

/// The queues that there can be.
pub(super) fn queues() -> impl Iterator<Item = ShortStr> {
    QUEUES[1..7].iter().map(|name| ShortStr::from_static(name))
}

pub(super) fn queue(script: &mut Script<'_>) -> ShortStr {
    word(&QUEUES, script)
}

pub(super) fn exchange(script: &mut Script<'_>) -> ShortStr {
    word(&EXCHANGES, script)
}

pub(super) fn tag(script: &mut Script<'_>) -> ShortStr {
    word(&TAGS, script)
}

pub(super) fn key(script: &mut Script<'_>) -> ShortStr {
    word(&KEYS, script)
}

/// Most often none; some that a server refuses or ignores, and one that no frame can hold.
fn arguments(script: &mut Script<'_>) -> FieldTable {
    match script.next() {
        200..=219 => FieldTable::new().with("x-max-length", 3),
        220..=239 => FieldTable::new().with("x-match", LongStr::from_static("any")).with("k", 1),
        240..=254 => FieldTable::new().with("x-message-ttl", LongStr::from_static("never")),
        255 => FieldTable::new().with("too-long", vec![7; 300_000]),
        _ => FieldTable::new(),
    }
}

/// A method of a client that is answered, or would be without `no_wait`.
pub(super) fn call(kind: u8, no_wait: bool, script: &mut Script<'_>) -> Method {
    match kind % 20 {
        0 | 1 => confirm::Select { no_wait }.into(),
        2 | 3 => declare_queue(no_wait, script).into(),
        4 | 5 => consume(no_wait, script).into(),
        6 => basic::Get { queue: queue(script), no_ack: script.next() & 1 != 0 }.into(),
        7 => basic::Cancel { consumer_tag: tag(script), no_wait }.into(),
        8 => {
            let (count, flags) = (script.next(), script.next());
            let prefetch_size = u32::from(flags >> 7);
            basic::Qos { prefetch_size, prefetch_count: count.into(), global: flags & 1 != 0 }.into()
        }
        9 => declare_exchange(no_wait, script).into(),
        10 => bind_queue(no_wait, script).into(),
        11 => queue::Unbind {
            queue: queue(script),
            exchange: exchange(script),
            routing_key: key(script),
            arguments: arguments(script),
        }
        .into(),
        12 => queue::Purge { queue: queue(script), no_wait }.into(),
        13 => {
            let (queue, flags) = (queue(script), script.next());
            queue::Delete { queue, if_unused: flags & 1 != 0, if_empty: flags & 2 != 0, no_wait }.into()
        }
        14 => {
            exchange::Delete { exchange: exchange(script), if_unused: script.next() & 1 != 0, no_wait }.into()
        }
        15 => exchange::Bind {
            destination: exchange(script),
            source: exchange(script),
            routing_key: key(script),
            no_wait,
            arguments: arguments(script),
        }
        .into(),
        16 => exchange::Unbind {
            destination: exchange(script),
            source: exchange(script),
            routing_key: key(script),
            no_wait,
            arguments: arguments(script),
        }
        .into(),
        17 => basic::Recover { requeue: script.next() & 1 == 0 }.into(),
        18 => match script.next() % 3 {
            0 => tx::Select {}.into(),
            1 => tx::Commit {}.into(),
            _ => tx::Rollback {}.into(),
        },
        _ => {
            let all = Method::all();
            all[usize::from(script.next()) % all.len()].clone() // most of these are no calls
        }
    }
}

fn declare_queue(no_wait: bool, script: &mut Script<'_>) -> queue::Declare {
    let (queue, flags) = (queue(script), script.next());
    queue::Declare {
        queue,
        passive: flags & 7 == 7,
        durable: flags & 8 == 0,
        exclusive: flags & 16 != 0,
        auto_delete: flags & 32 != 0,
        no_wait,
        arguments: arguments(script),
    }
}

fn declare_exchange(no_wait: bool, script: &mut Script<'_>) -> exchange::Declare {
    let (exchange, kind, flags) = (exchange(script), word(&KINDS, script), script.next());
    exchange::Declare {
        exchange,
        kind,
        passive: flags & 7 == 7,
        durable: flags & 8 == 0,
        auto_delete: flags & 16 != 0,
        internal: flags & 96 == 96,
        no_wait,
        arguments: arguments(script),
    }
}

fn bind_queue(no_wait: bool, script: &mut Script<'_>) -> queue::Bind {
    let (queue, exchange) = (queue(script), exchange(script));
    queue::Bind { queue, exchange, routing_key: key(script), no_wait, arguments: arguments(script) }
}

fn consume(no_wait: bool, script: &mut Script<'_>) -> basic::Consume {
    let (queue, consumer_tag, flags) = (queue(script), tag(script), script.next());
    basic::Consume {
        queue,
        consumer_tag,
        no_local: false,
        no_ack: flags & 1 != 0,
        exclusive: flags & 6 == 6,
        no_wait,
        arguments: arguments(script),
    }
}

pub(super) fn properties(octet: u8) -> Properties {
    match octet % 8 {
        0 => Properties::new().persistent(),
        1 => Properties { message_id: Some(ShortStr::from_static("id")), ..Properties::new() },
        2 => Properties::new().with_headers(FieldTable::new().with("k", 1)),
        3 => Properties::new().with_headers(FieldTable::new().with("CC", LongStr::from_static("q1"))),
        _ => Properties::new(),
    }
}

/// The length of a body: nothing, little, about a frame, many frames.
pub(super) fn body_len(octet: u8) -> usize {
    [0, 1, 40, 1000, 4088, 8184, 9000, 20_000][usize::from(octet % 8)] + usize::from(octet >> 3)
}

/// A consumer whose name nobody is told has one of ours.
pub(super) fn with_tag(method: Method) -> Method {
    match method {
        Method::BasicConsume(consume) if consume.no_wait && consume.consumer_tag.is_empty() => {
            basic::Consume { consumer_tag: ShortStr::from_static("c3"), ..consume }.into()
        }
        method => method,
    }
}
