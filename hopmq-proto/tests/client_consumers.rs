//! Consumers: what they are delivered, how it is settled, and how they end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use hopmq_proto::amqp::{FieldTable, FieldValue, Method, Properties, ShortStr, basic, channel};
use hopmq_proto::client::{
    ChannelId, CloseReason, DeliveryId, Event, PeerMisbehaved, Reply, Settle, SettleError,
};
use support::{Client, Sent, channel_close, consume, content, deliver};

const ACK: Settle = Settle::Ack { multiple: false };
const ACK_ALL: Settle = Settle::Ack { multiple: true };

fn settle(client: &mut Client, id: DeliveryId, settle: Settle) -> Result<(), SettleError> {
    client.engine.settle(id, settle, client.now)
}

/// A client with a consumer, and what settles its first `n` deliveries.
fn delivered(n: u64) -> (Client, ChannelId, Vec<DeliveryId>) {
    let mut client = Client::open();
    let id = client.channel();
    let consumer = client.consumer(id, "c", false);
    let mut deliveries = Vec::new();
    for tag in 1..=n {
        client.say_content(1, deliver("c", tag), &Properties::new(), b"x");
        let (from, delivery) = client.delivery();
        assert_eq!(from, consumer);
        deliveries.push(delivery.id.unwrap());
    }
    (client, id, deliveries)
}

fn tag(name: &'static str) -> ShortStr {
    ShortStr::from_static(name)
}

#[test]
fn deliveries_go_to_their_consumer() {
    let mut client = Client::open();
    let (a, b) = (client.channel(), client.channel());
    let one = client.consumer(a, "one", false);
    let two = client.consumer(a, "two", true);
    let three = client.consumer(b, "one", false); // tags are per channel
    let properties = Properties::new().persistent();
    let redelivered = basic::Deliver { redelivered: true, ..deliver("two", 2) };
    client.say_content(1, deliver("one", 1), &properties, b"1");
    client.say_content(1, redelivered, &properties, b"2");
    client.say_content(2, deliver("one", 1), &properties, b"3");
    client.say_content(1, deliver("one", 3), &properties, b"4");
    let got: Vec<_> = client
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Delivery { consumer, delivery } => {
                assert_eq!(delivery.message.properties().as_ref(), Ok(&properties));
                let id = delivery.id.map(|id| (id.channel(), id.tag()));
                (consumer, id, delivery.redelivered, delivery.message.body().to_vec())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (one, Some((a, 1)), false, b"1".to_vec()),
        (two, None, true, b"2".to_vec()),
        (three, Some((b, 1)), false, b"3".to_vec()),
        (one, Some((a, 3)), false, b"4".to_vec()),
    ];
    assert_eq!(got, expected);
}

#[test]
fn trap_30_a_delivery_may_follow_consume_ok_in_one_read() {
    let mut client = Client::open();
    let id = client.channel();
    let token = client.call(id, consume("q"));
    let mut bytes = support::method(1, basic::ConsumeOk { consumer_tag: tag("c") });
    bytes.unsplit(content(1, deliver("c", 1), &Properties::new(), b"x", 9));
    client.feed(&bytes);
    let events = client.events();
    let [Event::Reply { result: Ok(Reply::Consumer { .. }), .. }, Event::Delivery { consumer, .. }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*consumer, token);
}

#[test]
fn trap_30_deliveries_come_until_cancel_ok_and_are_requeued_after_it() {
    let mut client = Client::open();
    let id = client.channel();
    let consumer = client.consumer(id, "c", false);
    let cancel = client.call(id, basic::Cancel { consumer_tag: tag("c"), no_wait: false });
    client.sent();
    client.say_content(1, deliver("c", 1), &Properties::new(), b"x");
    let _ = client.delivery();
    client.say(1, basic::CancelOk { consumer_tag: tag("c") });
    let events = client.events();
    let [Event::ConsumerCancelled { consumer: ended }, Event::Reply { token, result: Ok(_) }] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*ended, *token), (consumer, cancel));
    client.say_content(1, deliver("c", 2), &Properties::new(), b"x");
    let requeue = basic::Nack { delivery_tag: 2, multiple: false, requeue: true };
    assert_eq!(client.sent(), [Sent::method(1, requeue)]);
    assert!(client.is_quiet());
}

#[test]
fn trap_30_a_cancel_from_the_server_is_an_event_and_answered_only_when_it_asks() {
    for no_wait in [true, false] {
        let mut client = Client::open();
        let id = client.channel();
        let consumer = client.consumer(id, "c", false);
        client.say(1, basic::Cancel { consumer_tag: tag("c"), no_wait });
        assert!(matches!(client.event(), Event::ConsumerCancelled { consumer: c } if c == consumer));
        let answer = [Sent::method(1, basic::CancelOk { consumer_tag: tag("c") })];
        assert_eq!(client.sent(), answer[usize::from(no_wait)..]);
        client.say(1, basic::Cancel { consumer_tag: tag("unknown"), no_wait: true });
        assert!(client.is_quiet());
    }
}

#[test]
fn cancels_that_cross_are_both_done() {
    let mut client = Client::open();
    let id = client.channel();
    let _ = client.consumer(id, "c", false);
    let cancel = client.call(id, basic::Cancel { consumer_tag: tag("c"), no_wait: false });
    client.say(1, basic::Cancel { consumer_tag: tag("c"), no_wait: true });
    client.say(1, basic::CancelOk { consumer_tag: tag("c") });
    let events = client.events();
    let [Event::ConsumerCancelled { .. }, Event::Reply { token, result: Ok(_) }] = &events[..] else {
        panic!()
    };
    assert_eq!(*token, cancel);
}

#[test]
fn the_same_name_can_be_used_again() {
    let mut client = Client::open();
    let id = client.channel();
    let _ = client.consumer(id, "c", false);
    client.say_content(1, deliver("c", 1), &Properties::new(), b"x");
    let _ = client.delivery();
    client.say(1, basic::Cancel { consumer_tag: tag("c"), no_wait: true });
    client.events();
    let second = client.consumer(id, "c", true);
    client.say_content(1, deliver("c", 2), &Properties::new(), b"x");
    let (from, delivery) = client.delivery();
    assert_eq!((from, delivery.id), (second, None));
}

#[test]
fn each_way_to_settle_is_its_method() {
    let (mut client, _, ids) = delivered(6);
    let ways = [
        (ACK, Method::from(basic::Ack { delivery_tag: 1, multiple: false })),
        (ACK_ALL, basic::Ack { delivery_tag: 2, multiple: true }.into()),
        (
            Settle::Nack { multiple: false, requeue: true },
            basic::Nack { delivery_tag: 3, multiple: false, requeue: true }.into(),
        ),
        (
            Settle::Nack { multiple: true, requeue: false },
            basic::Nack { delivery_tag: 4, multiple: true, requeue: false }.into(),
        ),
        (Settle::Reject { requeue: true }, basic::Reject { delivery_tag: 5, requeue: true }.into()),
        (Settle::Reject { requeue: false }, basic::Reject { delivery_tag: 6, requeue: false }.into()),
    ];
    for (id, (way, method)) in ids.into_iter().zip(ways) {
        assert_eq!(settle(&mut client, id, way), Ok(()));
        assert_eq!(client.sent(), [Sent::Method(1, method)]);
    }
}

#[test]
fn trap_29_what_a_multiple_has_settled_is_not_settled_again() {
    for all in [ACK_ALL, Settle::Nack { multiple: true, requeue: true }] {
        let (mut client, _, mut ids) = delivered(4);
        assert_eq!(settle(&mut client, ids.remove(2), all), Ok(()));
        client.sent();
        for id in ids.drain(..2) {
            assert_eq!(settle(&mut client, id, ACK), Err(SettleError::AlreadySettled));
        }
        assert!(client.is_quiet(), "a second ack would be 406, and the channel's end");
        assert_eq!(settle(&mut client, ids.remove(0), ACK), Ok(()));
    }
}

/// The answer to a recover parts what was delivered before from what is delivered again.
#[test]
fn trap_29_what_a_recover_has_put_back_is_not_settled_again() {
    let (mut client, id, mut ids) = delivered(2);
    let recover = client.engine.call(id, basic::Recover { requeue: true }, client.now).unwrap();
    client.sent();
    client.say_content(1, deliver("c", 3), &Properties::new(), b"sent before");
    ids.push(client.delivery().1.id.unwrap());
    client.say_content(1, deliver("c", 4), &Properties::new(), b"sent before, too");
    let (_, nobodys) = client.delivery();
    client.engine.requeue(nobodys, client.now);
    assert_eq!(settle(&mut client, ids.remove(0), ACK), Err(SettleError::AlreadySettled));
    client.engine.abandon(id, recover); // it is answered all the same
    client.say(1, basic::RecoverOk {});
    for old in ids {
        assert_eq!(settle(&mut client, old, ACK_ALL), Err(SettleError::AlreadySettled));
    }
    assert!(client.is_quiet(), "an ack would be 406, and the channel's end");
    client.say_content(1, deliver("c", 5), &Properties::new(), b"again");
    let (_, again) = client.delivery();
    assert_eq!(settle(&mut client, again.id.unwrap(), ACK), Ok(()));
}

#[test]
fn trap_29_what_comes_for_nobody_before_a_recover_is_answered_is_put_back_by_it() {
    let (mut client, id, _) = delivered(1);
    client.engine.give_back(Reply::Consumer { channel: id, consumer_tag: tag("c") }, client.now);
    let _ = client.engine.call(id, basic::Recover { requeue: true }, client.now).unwrap();
    client.sent();
    client.say_content(1, deliver("c", 2), &Properties::new(), b"for nobody");
    assert_eq!(client.sent(), []);
    client.say(1, basic::CancelOk { consumer_tag: tag("c") });
    client.say(1, basic::RecoverOk {});
    assert_eq!(client.sent(), []);
}

#[test]
fn trap_29_tag_0_is_never_settled() {
    let (mut client, _, _) = delivered(1);
    client.say_content(1, deliver("c", 0), &Properties::new(), b"x");
    let (_, delivery) = client.delivery();
    assert_eq!(settle(&mut client, delivery.id.unwrap(), ACK_ALL), Err(SettleError::AlreadySettled));
}

#[test]
fn nothing_is_settled_on_a_channel_that_has_ended() {
    let (mut client, id, mut ids) = delivered(2);
    let _ = client.engine.close_channel(id, client.now);
    client.sent();
    client.events();
    let closed = settle(&mut client, ids.remove(0), ACK).unwrap_err();
    assert!(matches!(closed, SettleError::Closed(reason) if *reason == CloseReason::Requested));

    let (mut client, _, mut ids) = delivered(2);
    client.say(1, channel_close(406));
    assert_eq!(client.sent(), [Sent::method(1, channel::CloseOk {})]);
    client.events();
    let closed = settle(&mut client, ids.remove(0), ACK).unwrap_err();
    assert!(matches!(closed, SettleError::Closed(reason) if matches!(*reason, CloseReason::Server(_))));
    client.eof();
    client.events();
    assert!(matches!(settle(&mut client, ids.remove(0), ACK), Err(SettleError::Closed(_))));
    assert!(client.is_quiet());
}

#[test]
fn a_delivery_that_nobody_takes_is_requeued() {
    let mut client = Client::open();
    let id = client.channel();
    let _ = client.consumer(id, "c", false);
    client.say_content(1, deliver("c", 7), &Properties::new(), b"x");
    let (_, delivery) = client.delivery();
    client.engine.requeue(delivery, client.now);
    let requeue = basic::Nack { delivery_tag: 7, multiple: false, requeue: true };
    assert_eq!(client.sent(), [Sent::method(1, requeue)]);
    let _ = client.consumer(id, "n", true);
    client.say_content(1, deliver("n", 8), &Properties::new(), b"x");
    let (_, delivery) = client.delivery();
    client.engine.requeue(delivery, client.now);
    assert!(client.is_quiet(), "without acknowledgement there is nothing to requeue");
}

#[test]
fn a_consumer_that_is_dropped_in_the_middle_of_a_message_does_not_get_it() {
    let message = content(1, deliver("c", 1), &Properties::new(), b"body", 2);
    for cut in 1..message.len() {
        let mut client = Client::open();
        let channel = client.channel();
        let _ = client.consumer(channel, "c", false);
        client.feed(&message[..cut]);
        client.engine.give_back(Reply::Consumer { channel, consumer_tag: tag("c") }, client.now);
        client.feed(&message[cut..]);
        let cancel = basic::Cancel { consumer_tag: tag("c"), no_wait: false };
        let back = basic::Nack { delivery_tag: 1, multiple: false, requeue: true };
        assert_eq!(client.sent(), [Sent::method(1, cancel), Sent::method(1, back)], "cut at {cut}");
        assert_eq!(client.events().len(), 0, "cut at {cut}");
    }
}

#[test]
fn a_dropped_consumer_without_acknowledgement_sends_nothing_back() {
    let mut client = Client::open();
    let id = client.channel();
    let token = client.call(id, basic::Consume { no_ack: true, ..consume("q") });
    client.engine.abandon(id, token);
    client.say(1, basic::ConsumeOk { consumer_tag: tag("c") });
    client.sent();
    client.say_content(1, deliver("c", 1), &Properties::new(), b"x");
    assert!(client.is_quiet());
}

/// RabbitMQ closes the connection on a nack of a stream's message, with 540.
#[test]
fn what_came_from_a_stream_is_not_put_back() {
    let mut client = Client::open();
    let channel = client.channel();
    let _ = client.consumer(channel, "c", false);
    let at = |offset: FieldValue| {
        Properties::new().with_headers(FieldTable::new().with("x-stream-offset", offset))
    };
    client.say_content(1, deliver("c", 1), &at(FieldValue::I64(7)), b"x");
    let (_, delivery) = client.delivery();
    client.engine.requeue(delivery, client.now);
    client.engine.give_back(Reply::Consumer { channel, consumer_tag: tag("c") }, client.now);
    client.say_content(1, deliver("c", 2), &at(FieldValue::I64(8)), b"x");
    client.say_content(1, deliver("c", 3), &at("no offset".into()), b"x");
    let cancel = basic::Cancel { consumer_tag: tag("c"), no_wait: false };
    let back = basic::Nack { delivery_tag: 3, multiple: false, requeue: true };
    assert_eq!(client.sent(), [Sent::method(1, cancel), Sent::method(1, back)]);
}

fn named(name: &'static str) -> basic::Consume {
    basic::Consume { consumer_tag: tag(name), ..consume("q") }
}

/// RabbitMQ has the queues answer, so that one may be later than another.
#[test]
fn consumers_that_start_in_another_order_keep_their_names() {
    let mut client = Client::open();
    let id = client.channel();
    let (unnamed, a, b) =
        (client.call(id, consume("q")), client.call(id, named("a")), client.call(id, named("b")));
    client.sent();
    for (consumer_tag, token) in [("b", b), ("server's", unnamed), ("a", a)] {
        client.say(1, basic::ConsumeOk { consumer_tag: tag(consumer_tag) });
        match client.reply(token).unwrap() {
            Reply::Consumer { consumer_tag: started, .. } => assert_eq!(started, tag(consumer_tag)),
            other => panic!("{other:?}"),
        }
        client.say_content(1, deliver(consumer_tag, 1), &Properties::new(), b"x");
        assert_eq!(client.delivery().0, token);
    }
    let _ = client.call(id, named("c"));
    client.sent();
    client.say(1, basic::ConsumeOk { consumer_tag: tag("nobody's") });
    client.misbehaved(503);
}

#[test]
fn a_second_consumer_of_one_name_is_a_fault_of_the_server() {
    let mut client = Client::open();
    let id = client.channel();
    let _ = client.consumer(id, "c", false);
    let second = client.call(id, consume("q"));
    client.sent();
    client.say(1, basic::ConsumeOk { consumer_tag: tag("c") });
    let events = client.events();
    let [Event::Reply { token, result: Err(_) }, Event::ChannelClosed { .. }, Event::Closed { reason }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*token, second);
    assert_eq!(**reason, CloseReason::PeerMisbehaved(PeerMisbehaved::DuplicateConsumer(1)));
    assert_eq!(client.sent(), [Sent::method(0, support::violation(503))]);
}
