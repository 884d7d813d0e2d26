//! Channels: numbers, incarnations, and closes from either side.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use hopmq_proto::amqp::{
    FrameKind, Method, Properties, ReplyCode, ShortStr, basic, channel, connection, queue,
};
use hopmq_proto::client::{
    CallError, ChannelId, CloseReason, CommandError, Config, Event, PeerMisbehaved, PublishError, Reply,
    Settle, SettleError, Token,
};
use support::{Client, Sent, TUNE, channel_close, consume, content, deliver, frame, get_ok, method, seconds};

/// The server closes the channel, and the client answers.
fn server_closes(client: &mut Client, channel: ChannelId, code: u16) {
    client.say(channel.number(), channel_close(code));
    assert_eq!(
        client.sent(),
        [Sent::method(channel.number(), channel::CloseOk {})],
        "close-ok and nothing else"
    );
}

fn close(client: &mut Client, channel: ChannelId) -> Token {
    let token = client.engine.close_channel(channel, client.now).unwrap();
    let closed = client.event();
    assert!(
        matches!(closed, Event::ChannelClosed { channel: c, reason } if c == channel && *reason == CloseReason::Requested)
    );
    assert!(matches!(client.sent()[..], [Sent::Method(_, Method::ChannelClose(_))]));
    token
}

#[test]
fn the_lowest_free_number_is_used_again() {
    let mut client = Client::open();
    let ids: Vec<_> = (0..4).map(|_| client.channel()).collect();
    assert_eq!(ids.iter().map(|id| id.number()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for at in [2, 0] {
        server_closes(&mut client, ids[at], 404);
        client.events();
    }
    let again: Vec<_> = (0..3).map(|_| client.channel()).collect();
    assert_eq!(again.iter().map(|id| id.number()).collect::<Vec<_>>(), [1, 3, 5]);
    assert!(!again.contains(&ids[0]) && !again.contains(&ids[2]), "a new incarnation");
}

#[test]
fn trap_15_a_number_is_free_only_when_both_sides_are_done() {
    let mut client = Client::open();
    let first = client.channel();
    let token = close(&mut client, first);
    assert_eq!(client.engine.open_channel(client.now).unwrap().0.number(), 2);
    client.say(1, channel::CloseOk {});
    assert!(matches!(client.reply(token), Ok(Reply::Closed)));
    assert_eq!(client.engine.open_channel(client.now).unwrap().0.number(), 1);
}

#[test]
fn a_stale_id_is_refused_even_when_its_number_is_in_use() {
    let mut client = Client::open();
    let old = client.channel();
    let consumer = client.consumer(old, "c", false);
    client.say_content(1, deliver("c", 1), &Properties::new(), b"x");
    let (from, delivery) = client.delivery();
    assert_eq!(from, consumer);
    let id = delivery.id.unwrap();
    client.say_content(1, deliver("c", 2), &Properties::new(), b"y");
    let later = client.delivery().1.id.unwrap();
    server_closes(&mut client, old, 406);
    client.events();
    let Err(CommandError::Closed(reason)) = client.engine.call(old, consume("q"), client.now) else {
        panic!()
    };
    assert!(matches!(&*reason, CloseReason::Server(close) if close.code == ReplyCode(406)));
    let new = client.channel();
    assert_eq!((new.number(), new == old), (1, false));
    let closed = CommandError::Closed(reason.clone());
    assert_eq!(
        client.engine.call(old, consume("q"), client.now),
        Err(closed.clone()),
        "the first cause stays"
    );
    assert_eq!(client.engine.close_channel(old, client.now), Err(closed.clone()));
    assert_eq!(client.try_publish(old, "q", b"x"), Err(PublishError::Command(closed)));
    let settled = client.engine.settle(id, Settle::Ack { multiple: false }, client.now);
    assert_eq!(
        settled,
        Err(SettleError::Closed(reason)),
        "pain point 12: the tag would be another message's"
    );

    server_closes(&mut client, new, 404);
    client.events();
    assert_eq!(client.channel().number(), 1);
    let Err(CommandError::Closed(reason)) = client.engine.call(new, consume("q"), client.now) else {
        panic!()
    };
    assert!(matches!(&*reason, CloseReason::Server(close) if close.code == ReplyCode(404)));
    assert_eq!(client.engine.call(old, consume("q"), client.now), Err(CommandError::Stale));
    assert_eq!(client.engine.close_channel(old, client.now), Err(CommandError::Stale));
    assert_eq!(client.try_publish(old, "q", b"x"), Err(PublishError::Command(CommandError::Stale)));
    let settled = client.engine.settle(later, Settle::Ack { multiple: false }, client.now);
    assert_eq!(settled, Err(SettleError::Stale), "pain point 12: the tag would be another message's");
    assert!(client.is_quiet());
}

#[test]
fn trap_9_there_are_no_more_channels_than_agreed() {
    let config = Config { channel_max: seconds(2), ..Config::default() };
    let mut client = Client::open_with(config, TUNE);
    client.channel();
    client.channel();
    assert_eq!(client.engine.open_channel(client.now), Err(CommandError::TooManyChannels(2)));
    assert!(client.is_quiet());
}

#[test]
fn trap_14_a_close_from_the_server_resolves_everything_with_its_reason() {
    let mut client = Client::open();
    let id = client.confirming();
    let other = client.channel();
    let publish = client.publish(id, "q", b"x");
    let calls = [client.call(id, consume("q")), client.call(id, basic::Qos::default())];
    client.sent();
    server_closes(&mut client, id, 404);
    let events = client.events();
    let [
        Event::Reply { token: a, result: Err(CallError::Closed(ra)) },
        Event::Reply { token: b, result: Err(CallError::Closed(rb)) },
        Event::Confirmed { token: c, result: Err(CallError::Closed(rc)) },
        Event::ChannelClosed { channel, reason },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(([*a, *b], *c, *channel), (calls, publish, id));
    assert!([ra, rb, rc].iter().all(|r| *r == reason));
    let CloseReason::Server(close) = &**reason else { panic!() };
    assert_eq!((close.code.0, close.class_id, close.method_id), (404, 50, 10));
    assert_eq!(client.try_publish(id, "q", b"x"), Err(CommandError::Closed(reason.clone()).into()));
    client.say(1, channel::CloseOk {});
    assert!(matches!(client.misbehaved(504), PeerMisbehaved::UnknownChannel(1)));
    assert_ne!(id, other);
}

#[test]
fn trap_14_closes_that_cross_are_both_answered() {
    let mut client = Client::open();
    let id = client.channel();
    let token = close(&mut client, id);
    server_closes(&mut client, id, 406);
    assert!(client.events().is_empty(), "our own close-ok is still to come");
    let Err(CommandError::Closed(reason)) = client.engine.call(id, consume("q"), client.now) else {
        panic!()
    };
    assert_eq!(*reason, CloseReason::Requested, "the first cause");
    client.say(1, channel::CloseOk {});
    assert!(matches!(client.reply(token), Ok(Reply::Closed)));
    assert!(client.is_quiet());
}

#[test]
fn trap_16_what_comes_late_on_a_closing_channel_is_dropped() {
    let mut client = Client::open();
    let id = client.confirming();
    let _ = client.consumer(id, "c", false);
    let late = [
        content(1, deliver("c", 1), &Properties::new(), &[7; 30_000], 10_000),
        content(1, support::returned("q"), &Properties::new(), b"x", 10),
        content(1, get_ok(2), &Properties::new(), b"x", 10),
        method(1, support::ack(9, true)),
        method(1, basic::Cancel { consumer_tag: ShortStr::from_static("c"), no_wait: false }),
        method(1, queue::DeclareOk::default()),
    ];
    let begun = content(1, deliver("c", 1), &Properties::new(), &[7; 30_000], 10_000);
    client.feed(&begun[..20_000]); // amid the second body frame
    let token = close(&mut client, id);
    client.feed(&begun[20_000..]);
    late.iter().for_each(|bytes| client.feed(bytes));
    assert!(client.is_quiet());
    client.say(1, channel::CloseOk {});
    assert!(matches!(client.reply(token), Ok(Reply::Closed)));
    let again = client.channel();
    assert_eq!(again.number(), 1);
    let _ = client.consumer(again, "c", false);
    client.say_content(1, deliver("c", 1), &Properties::new(), b"fresh");
    assert_eq!(client.delivery().1.message.body(), b"fresh");
}

#[test]
fn a_close_that_is_not_answered_times_out() {
    let mut client = Client::open();
    let id = client.channel();
    let token = close(&mut client, id);
    client.pass(Duration::from_secs(30));
    assert!(matches!(client.reply(token), Err(CallError::TimedOut)));
    client.say(1, channel::CloseOk {});
    assert!(client.is_quiet());
    assert_eq!(client.channel().number(), 1);
}

#[test]
fn a_close_that_is_abandoned_has_no_event() {
    let mut client = Client::open();
    let id = client.channel();
    let token = close(&mut client, id);
    client.engine.abandon(id, token);
    client.say(1, channel::CloseOk {});
    client.pass(Duration::from_secs(60));
    assert!(client.is_quiet());
}

#[test]
fn a_close_is_done_when_the_connection_is() {
    let mut client = Client::open();
    let id = client.channel();
    let token = close(&mut client, id);
    client.eof();
    let events = client.events();
    assert!(matches!(&events[0], Event::Reply { token: t, result: Ok(Reply::Closed) } if *t == token));
    assert!(matches!(events[1..], [Event::Closed { .. }]));
}

#[test]
fn commands_wait_until_a_channel_is_open() {
    let mut client = Client::open();
    let (id, token) = client.engine.open_channel(client.now).unwrap();
    client.sent();
    assert_eq!(client.engine.call(id, consume("q"), client.now), Err(CommandError::NotOpen));
    assert_eq!(client.engine.close_channel(id, client.now), Err(CommandError::NotOpen));
    assert_eq!(client.try_publish(id, "q", b""), Err(CommandError::NotOpen.into()));
    assert!(client.is_quiet());
    client.say(1, channel::OpenOk {});
    assert!(matches!(client.reply(token), Ok(Reply::Channel(c)) if c == id));
}

#[test]
fn a_channel_that_is_refused_was_never_open() {
    let mut client = Client::open();
    let (id, token) = client.engine.open_channel(client.now).unwrap();
    client.sent();
    server_closes(&mut client, id, 403);
    assert!(matches!(client.reply(token), Err(CallError::Closed(_))), "and no ChannelClosed");
}

#[test]
fn pain_6_a_channel_that_opens_too_late_is_closed_again() {
    type End = fn(&mut Client, ChannelId, Token);
    let ends: [End; 2] = [
        |client, id, token| client.engine.abandon(id, token),
        |client, _, token| {
            client.pass(Duration::from_secs(30));
            assert!(matches!(client.reply(token), Err(CallError::TimedOut)));
        },
    ];
    for end in ends {
        let mut client = Client::open();
        let (id, token) = client.engine.open_channel(client.now).unwrap();
        client.sent();
        end(&mut client, id, token);
        client.say(1, channel::OpenOk {});
        assert!(matches!(client.sent()[..], [Sent::Method(1, Method::ChannelClose(_))]));
        assert!(client.events().is_empty());
        client.say(1, channel::CloseOk {});
        assert!(client.events().is_empty());
        assert_eq!(client.channel().number(), 1);
    }
}

#[test]
fn an_open_channel_that_is_given_back_is_closed() {
    let mut client = Client::open();
    let id = client.channel();
    client.engine.give_back(Reply::Channel(id), client.now);
    assert!(matches!(client.sent()[..], [Sent::Method(1, Method::ChannelClose(_))]));
    assert!(matches!(client.event(), Event::ChannelClosed { .. }));
    client.engine.give_back(Reply::Channel(id), client.now);
    assert!(client.is_quiet(), "once");
}

#[test]
fn frames_that_may_not_come_end_the_connection_with_their_code() {
    let body = frame(FrameKind::Body, 1, b"x");
    let cases = [
        (frame(FrameKind::Body, 7, b"x"), 504),
        (method(7, deliver("c", 1)), 504),
        (method(65_535, channel::OpenOk {}), 504),
        (method(1, channel::OpenOk {}), 503),
        (method(1, queue::DeclareOk::default()), 503),
        (method(1, connection::OpenOk {}), 503),
        (method(0, connection::OpenOk {}), 503),
        (method(0, deliver("c", 1)), 503),
        (method(1, consume("q")), 503),
        (body, 505),
        (frame(FrameKind::Header, 1, &[0; 14]), 505),
        (frame(FrameKind::Header, 0, &[0; 14]), 505),
        (frame(FrameKind::Heartbeat, 1, b""), 505),
        (frame(FrameKind::Method, 1, &[0, 60, 0, 60, 5]), 502),
        (frame(FrameKind::Method, 1, &[0, 99, 0, 99]), 540),
        (frame(FrameKind::Method, 0, &[0]), 502),
        (bytes::BytesMut::from(&b"\x05"[..]), 501),
        (bytes::BytesMut::from(&b"\x01\0\x01\0\0\0\0!"[..]), 501),
        (bytes::BytesMut::from(&b"\x01\0\x01\0\x02\0\0"[..]), 501), // trap 8: larger than frame-max
    ];
    for (bytes, code) in cases {
        let mut client = Client::open();
        client.channel();
        client.feed(&bytes);
        assert_eq!(client.misbehaved(code).reply_code(), ReplyCode(code), "{bytes:?}");
        client.say(1, channel::OpenOk {});
        assert!(client.is_quiet() && client.input.is_empty());
    }
}

#[test]
fn a_channel_that_is_opening_takes_nothing_but_its_answer() {
    for early in
        [method(1, deliver("c", 1)), method(1, support::returned("q")), method(1, support::ack(1, false))]
    {
        let mut client = Client::open();
        let (_, token) = client.engine.open_channel(client.now).unwrap();
        client.sent();
        client.feed(&early);
        assert_eq!(client.sent(), [Sent::method(0, support::violation(503))]);
        let events = client.events();
        assert!(matches!(&events[..], [Event::Reply { token: t, .. }, Event::Closed { .. }] if *t == token));
    }
}

#[test]
fn trap_17_messages_of_channels_may_interleave_but_a_method_may_not_come_amid_one() {
    let mut client = Client::open();
    let (a, b) = (client.channel(), client.channel());
    let _ = client.consumer(a, "c", false);
    let _ = client.consumer(b, "c", false);
    let none = Properties::new();
    let (one, two) =
        (content(1, deliver("c", 1), &none, b"one!", 2), content(2, deliver("c", 1), &none, b"two!", 2));
    assert_eq!(one.len(), two.len());
    let mut at = 0;
    while at < one.len() {
        let len = 8 + u32::from_be_bytes(one[at + 3..at + 7].try_into().unwrap()) as usize;
        client.feed(&one[at..at + len]);
        client.feed(&two[at..at + len]);
        at += len;
    }
    let events = client.events();
    let [Event::Delivery { delivery: x, .. }, Event::Delivery { delivery: y, .. }] = &events[..] else {
        panic!()
    };
    assert_eq!((x.message.body(), y.message.body()), (&b"one!"[..], &b"two!"[..]));

    client.feed(&one[..one.len() - 1 - 9]); // without the last body frame
    client.say(2, deliver("c", 2));
    client.say(1, basic::Cancel { consumer_tag: ShortStr::from_static("c"), no_wait: true });
    assert!(matches!(
        client.misbehaved(505),
        PeerMisbehaved::UnexpectedFrame { frame: "method", channel: 1 }
    ));
}
