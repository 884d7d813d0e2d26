use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use hopmq_proto::Engine;
use hopmq_proto::amqp::{
    FieldTable, FieldValue, Properties, Reader, ShortStr, Writer, basic, confirm as confirm_class, queue,
    write_ack,
};
use hopmq_proto::client::{DeliveryId, Settle};

use crate::pair::{NOW, Pair};
use crate::{FEW, MANY, Run};

const QUEUE: ShortStr = ShortStr::from_static("orders");
/// As much is written at once, as a driver does.
const WRITE: usize = 64 * 1024;

pub(crate) enum Confirms {
    On,
    Off,
}

/// The client encodes publishes, and they are written.
pub(crate) fn publish(size: usize, confirms: Confirms, mandatory: bool) -> Run {
    let (mut pair, properties, body) = (Pair::open(), Properties::new().persistent(), body(size));
    let run = move |pair: &mut Pair| {
        for _ in 0..MANY {
            pair.publish(mandatory, &properties, &body);
            let len = pair.client.outbox().len();
            if len >= WRITE {
                pair.client.outbox().consume(len);
            }
        }
        let len = pair.client.outbox().len();
        pair.client.outbox().consume(len);
    };
    if let Confirms::On = confirms {
        pair.call(confirm_class::Select { no_wait: false });
    }
    run(&mut pair);
    if let Confirms::On = confirms {
        let mut ack = BytesMut::new();
        write_ack(&mut ack, pair.channel.number(), MANY.into(), true);
        pair.client_reads(&mut ack);
        drain_events(&mut pair, MANY);
    }
    Box::new(move || run(&mut pair))
}

/// The client reads the confirms of publishes: one for all, or one for each.
pub(crate) fn confirm(multiple: bool) -> Run {
    let (mut pair, properties, body) = (Pair::open(), Properties::new().persistent(), body(16));
    pair.call(confirm_class::Select { no_wait: false });
    let mut tag = 0;
    let mut publish_and_answer = move |pair: &mut Pair| {
        let mut acks = BytesMut::new();
        for _ in 0..MANY {
            pair.publish(false, &properties, &body);
            tag += 1;
            if !multiple {
                write_ack(&mut acks, pair.channel.number(), tag, false);
            }
        }
        if multiple {
            write_ack(&mut acks, pair.channel.number(), tag, true);
        }
        drop(pair.client_bytes());
        acks
    };
    let run = |pair: &mut Pair, acks: &mut BytesMut| {
        pair.client_reads(acks);
        drain_events(pair, MANY);
    };
    let mut acks = publish_and_answer(&mut pair);
    run(&mut pair, &mut acks);
    acks = publish_and_answer(&mut pair);
    Box::new(move || run(&mut pair, &mut acks))
}

/// The client reads deliveries of one frame each, and they are looked at.
pub(crate) fn deliver(size: usize) -> Run {
    read_deliveries(MANY, size)
}

/// The client reads deliveries of many frames each, and puts them together.
pub(crate) fn assemble(size: usize) -> Run {
    read_deliveries(FEW, size)
}

fn read_deliveries(count: u32, size: usize) -> Run {
    let mut pair = consuming();
    let mut input = delivered(&mut pair, count, size);
    pair.client_reads(&mut input);
    drain_events(&mut pair, count);
    let mut input = delivered(&mut pair, count, size);
    Box::new(move || {
        pair.client_reads(&mut input);
        drain_events(&mut pair, count);
    })
}

/// The client acks deliveries one by one.
pub(crate) fn ack() -> Run {
    let mut pair = consuming();
    let take = |pair: &mut Pair| {
        let mut input = delivered(pair, MANY, 16);
        pair.client_reads(&mut input);
        pair.deliveries()
    };
    let run = |pair: &mut Pair, ids: &mut Vec<DeliveryId>| {
        assert_eq!(ids.len(), MANY as usize);
        for id in ids.drain(..) {
            let settled = pair.client.settle(id, Settle::Ack { multiple: false }, NOW);
            assert!(settled.is_ok());
        }
        let len = pair.client.outbox().len();
        pair.client.outbox().consume(len);
    };
    let mut ids = take(&mut pair);
    run(&mut pair, &mut ids);
    ids = take(&mut pair);
    Box::new(move || run(&mut pair, &mut ids))
}

/// The broker reads publishes, routes them by a direct exchange, delivers them, and reads their acks.
pub(crate) fn broker(size: usize) -> Run {
    let mut pair = consuming();
    let (properties, body) = (Properties::new().persistent(), body(size));
    let mut publishes = || {
        (0..MANY).for_each(|_| pair.publish(false, &properties, &body));
        pair.client_bytes()
    };
    let mut inputs = [publishes(), publishes()].into_iter();
    let number = pair.channel.number();
    let mut tag = 0;
    let mut run = move || {
        pair.broker_reads(inputs.next().expect("it runs twice"));
        assert!(pair.broker_wrote() > MANY as usize * size);
        let mut acks = BytesMut::with_capacity(MANY as usize * 21);
        for _ in 0..MANY {
            tag += 1;
            write_ack(&mut acks, number, tag, false);
        }
        pair.broker_reads(acks);
    };
    run();
    Box::new(run)
}

pub(crate) fn table_encode() -> Run {
    let table = table();
    let mut out = BytesMut::new();
    let mut run = move || {
        for _ in 0..MANY {
            out.clear();
            let mut writer = Writer::new(&mut out);
            black_box(&mut writer).table(black_box(&table));
            assert!(writer.finish().is_ok());
        }
    };
    run();
    Box::new(run)
}

pub(crate) fn table_decode() -> Run {
    let mut encoded = BytesMut::new();
    Writer::new(&mut encoded).table(&table());
    let run = move || {
        for _ in 0..MANY {
            assert!(Reader::new(black_box(&encoded)).table().is_ok());
        }
    };
    run();
    Box::new(run)
}

/// The headers of a message that has seen some systems.
fn table() -> FieldTable {
    let death = FieldTable::new().with("queue", "orders").with("reason", "expired").with("count", 3_i64);
    FieldTable::new()
        .with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .with("tenant", "acme")
        .with("attempt", 2)
        .with("sampled", true)
        .with("amount", 12.5)
        .with("x-death", vec![FieldValue::from(death)])
}

fn body(size: usize) -> Bytes {
    Bytes::from(vec![b'x'; size])
}

/// A pair with a queue, bound and consumed from.
fn consuming() -> Pair {
    let mut pair = Pair::open();
    pair.call(queue::Declare { queue: QUEUE, ..Default::default() });
    pair.call(queue::Bind {
        queue: QUEUE,
        exchange: ShortStr::from_static("amq.direct"),
        routing_key: ShortStr::from_static("orders.new"),
        ..Default::default()
    });
    pair.call(basic::Consume { queue: QUEUE, ..Default::default() });
    pair
}

/// What the broker sends for `count` messages.
fn delivered(pair: &mut Pair, count: u32, size: usize) -> BytesMut {
    let (properties, body) = (Properties::new().persistent(), body(size));
    (0..count).for_each(|_| pair.publish(false, &properties, &body));
    let publishes = pair.client_bytes();
    pair.broker_reads(publishes);
    pair.broker_bytes()
}

fn drain_events(pair: &mut Pair, count: u32) {
    for _ in 0..count {
        assert!(black_box(pair.client.poll_event()).is_some());
    }
    assert!(pair.client.poll_event().is_none());
}
