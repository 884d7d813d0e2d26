//! Calls: in order, each answered once, in time or not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use hopmq_proto::Engine;
use hopmq_proto::amqp::{
    FieldTable, FieldValue, LongStr, Method, Properties, ShortStr, WireError, basic, channel, confirm,
    exchange, queue, tx,
};
use hopmq_proto::client::{CallError, CommandError, Config, Event, PeerMisbehaved, Reply, Token};
use support::{Client, Sent, TUNE, consume, content, get, get_ok};

fn declare(queue: &'static str) -> queue::Declare {
    queue::Declare { queue: ShortStr::from_static(queue), ..Default::default() }
}

fn declared(queue: &'static str) -> queue::DeclareOk {
    queue::DeclareOk { queue: ShortStr::from_static(queue), message_count: 1, consumer_count: 2 }
}

/// The calls among the events, with the method that answered or nothing.
fn answers(client: &mut Client) -> Vec<(Token, Option<Method>)> {
    let answer = |event| match event {
        Event::Reply { token, result: Ok(Reply::Method(method)) } => (token, Some(*method)),
        Event::Reply { token, result: Err(CallError::TimedOut) } => (token, None),
        other => panic!("{other:?}"),
    };
    client.events().into_iter().map(answer).collect()
}

#[test]
fn every_call_has_its_answer() {
    let calls: [(Method, Method); 14] = [
        (exchange::Declare::default().into(), exchange::DeclareOk {}.into()),
        (exchange::Delete::default().into(), exchange::DeleteOk {}.into()),
        (exchange::Bind::default().into(), exchange::BindOk {}.into()),
        (exchange::Unbind::default().into(), exchange::UnbindOk {}.into()),
        (queue::Declare::default().into(), queue::DeclareOk::default().into()),
        (queue::Delete::default().into(), queue::DeleteOk::default().into()),
        (queue::Bind::default().into(), queue::BindOk {}.into()),
        (queue::Unbind::default().into(), queue::UnbindOk {}.into()),
        (queue::Purge::default().into(), queue::PurgeOk::default().into()),
        (basic::Qos::default().into(), basic::QosOk {}.into()),
        (basic::Recover::default().into(), basic::RecoverOk {}.into()),
        (basic::Cancel::default().into(), basic::CancelOk::default().into()),
        (confirm::Select::default().into(), confirm::SelectOk {}.into()),
        (confirm::Select::default().into(), confirm::SelectOk {}.into()),
    ];
    let mut client = Client::open();
    let id = client.channel();
    let tokens: Vec<_> = calls.iter().map(|(call, _)| client.call(id, call.clone())).collect();
    let sent: Vec<_> = calls.iter().map(|(call, _)| Sent::Method(1, call.clone())).collect();
    assert_eq!(client.sent(), sent, "pipelined");
    calls.iter().for_each(|(_, answer)| client.say(1, answer.clone()));
    let wanted: Vec<_> = tokens.into_iter().zip(calls.map(|(_, answer)| Some(answer))).collect();
    assert_eq!(answers(&mut client), wanted);
}

#[test]
fn answers_come_in_the_order_of_the_calls() {
    let mut client = Client::open();
    let id = client.channel();
    let (a, b) = (client.call(id, declare("a")), client.call(id, declare("b")));
    client.say(1, declared("a"));
    client.say(1, declared("b"));
    assert_eq!(answers(&mut client), [(a, Some(declared("a").into())), (b, Some(declared("b").into()))]);
}

/// RabbitMQ has a consumer's queue answer these two, and goes on with the next call meanwhile.
#[test]
fn consume_and_cancel_may_be_answered_late() {
    let cancel = |tag| basic::Cancel { consumer_tag: ShortStr::from_static(tag), no_wait: false };
    let cancelled = |tag| basic::CancelOk { consumer_tag: ShortStr::from_static(tag) };
    let mut client = Client::open();
    let id = client.channel();
    let consumed = client.call(id, consume("queue"));
    let (first, second) = (client.call(id, cancel("first")), client.call(id, cancel("second")));
    let (qos, got) = (client.call(id, basic::Qos::default()), client.call(id, get("queue")));
    client.say(1, basic::QosOk {});
    assert_eq!(answers(&mut client), [(qos, Some(basic::QosOk {}.into()))]);
    client.say_content(1, get_ok(1), &Properties::new(), b"body");
    assert!(matches!(client.reply(got), Ok(Reply::Message { .. })));
    client.say(1, cancelled("second"));
    assert_eq!(answers(&mut client), [(second, Some(cancelled("second").into()))]);
    client.say(1, basic::ConsumeOk { consumer_tag: ShortStr::from_static("tag") });
    assert!(matches!(client.reply(consumed), Ok(Reply::Consumer { .. })));
    client.say(1, cancelled("first"));
    assert_eq!(answers(&mut client), [(first, Some(cancelled("first").into()))]);
    client.say(1, cancelled("first"));
    client.misbehaved(503);
}

#[test]
fn an_answer_to_something_else_ends_the_connection() {
    let mut client = Client::open();
    let id = client.channel();
    let _ = client.call(id, declare("a"));
    let _ = client.call(id, basic::Qos::default());
    client.sent();
    client.say(1, basic::QosOk {});
    let fault = client.misbehaved(503);
    assert_eq!(fault, PeerMisbehaved::UnexpectedMethod { method: "basic.QosOk", channel: 1 });
}

#[test]
fn pain_4_a_late_answer_is_swallowed_and_the_next_call_gets_its_own() {
    let mut client = Client::open();
    let id = client.channel();
    let a = client.call(id, declare("a"));
    client.pass(Duration::from_secs(20));
    let b = client.call(id, declare("b"));
    client.pass(Duration::from_secs(10));
    assert_eq!(answers(&mut client), [(a, None)], "at its own deadline");
    client.say(1, declared("a"));
    assert!(client.events().is_empty());
    client.say(1, declared("b"));
    assert_eq!(answers(&mut client), [(b, Some(declared("b").into()))]);
    client.pass(Duration::from_secs(100));
    assert!(client.events().is_empty() && client.engine.poll_timeout().is_none());
}

#[test]
fn every_call_has_a_deadline_whatever_became_of_those_before_it() {
    let mut client = Client::open();
    let id = client.channel();
    for round in 0..3 {
        let a = client.call(id, declare("a"));
        client.pass(Duration::from_secs(1));
        let b = client.call(id, declare("b"));
        if round == 1 {
            client.engine.abandon(id, a);
        }
        client.pass(Duration::from_secs(30));
        let timed_out = answers(&mut client);
        assert_eq!(timed_out.last(), Some(&(b, None)));
        assert_eq!(timed_out.len(), if round == 1 { 1 } else { 2 });
        assert_eq!(client.engine.poll_timeout(), None);
    }
}

#[test]
fn pain_6_what_an_abandoned_consume_started_is_cancelled() {
    let mut client = Client::open();
    let id = client.channel();
    let token = client.call(id, consume("q"));
    client.engine.abandon(id, token);
    let next = client.call(id, declare("n"));
    client.sent();
    client.say(1, basic::ConsumeOk { consumer_tag: ShortStr::from_static("c") });
    let cancel = basic::Cancel { consumer_tag: ShortStr::from_static("c"), no_wait: false };
    assert_eq!(client.sent(), [Sent::method(1, cancel)]);
    client.say_content(1, support::deliver("c", 1), &Properties::new(), b"x");
    let requeue = basic::Nack { delivery_tag: 1, multiple: false, requeue: true };
    assert_eq!(client.sent(), [Sent::method(1, requeue)]);
    client.say(1, declared("n"));
    client.say(1, basic::CancelOk { consumer_tag: ShortStr::from_static("c") });
    assert_eq!(answers(&mut client), [(next, Some(declared("n").into()))]);
    client.pass(Duration::from_secs(100));
    assert!(client.is_quiet());
}

#[test]
fn pain_6_what_an_abandoned_get_brought_is_requeued() {
    let message = content(1, get_ok(4), &Properties::new(), b"body", 2);
    for at in 0..message.len() {
        let mut client = Client::open();
        let id = client.channel();
        let token = client.call(id, get("q"));
        client.sent();
        client.feed(&message[..at]);
        client.engine.abandon(id, token);
        client.feed(&message[at..]);
        let requeue = basic::Nack { delivery_tag: 4, multiple: false, requeue: true };
        assert_eq!(client.sent(), [Sent::method(1, requeue)], "abandoned after {at} bytes");
        client.pass(Duration::from_secs(100));
        assert!(client.is_quiet(), "abandoned after {at} bytes");
    }
}

#[test]
fn a_get_has_a_deadline_amid_its_content_too() {
    let message = content(1, get_ok(4), &Properties::new(), b"body", 2);
    for at in 0..message.len() {
        let mut client = Client::open();
        let id = client.channel();
        let token = client.call(id, get("q"));
        client.sent();
        client.feed(&message[..at]);
        client.pass(Duration::from_secs(30));
        assert!(matches!(client.reply(token), Err(CallError::TimedOut)), "after {at} bytes");
        client.feed(&message[at..]);
        assert!(client.events().is_empty());
        assert!(matches!(client.sent()[..], [Sent::Method(1, Method::BasicNack(_))]));
    }
}

#[test]
fn a_get_is_resolved_when_the_stream_ends_amid_its_content() {
    let message = content(1, get_ok(4), &Properties::new(), b"body", 2);
    for at in 0..message.len() {
        let mut client = Client::open();
        let id = client.channel();
        let token = client.call(id, get("q"));
        client.feed(&message[..at]);
        client.eof();
        let events = client.events();
        assert!(
            matches!(&events[0], Event::Reply { token: t, result: Err(CallError::Closed(_)) } if *t == token),
            "after {at} bytes"
        );
    }
}

#[test]
fn a_get_brings_a_message_or_nothing() {
    let mut client = Client::open();
    let id = client.channel();
    let tokens = [client.call(id, get("q")), client.call(id, get("q")), client.call(id, declare("d"))];
    let no_ack = client.call(id, basic::Get { no_ack: true, ..get("q") });
    client.say_content(1, get_ok(1), &Properties::new(), b"x");
    client.say(1, basic::GetEmpty {});
    client.say(1, declared("d"));
    client.say_content(1, get_ok(2), &Properties::new(), b"");
    let events = client.events();
    let [
        Event::Reply { token: a, result: Ok(Reply::Message { delivery, message_count: 3 }) },
        Event::Reply { token: b, result: Ok(Reply::Empty) },
        Event::Reply { token: c, result: Ok(Reply::Method(_)) },
        Event::Reply { token: d, result: Ok(Reply::Message { delivery: settled, .. }) },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(([*a, *b, *c], *d), (tokens, no_ack));
    assert_eq!((delivery.message.body(), delivery.id.as_ref().unwrap().tag()), (&b"x"[..], 1));
    assert_eq!(settled.id, None, "there is nothing to settle");
}

#[test]
fn replies_that_nobody_takes_are_given_back() {
    let mut client = Client::open();
    let id = client.channel();
    let token = client.call(id, get("q"));
    client.sent();
    client.say_content(1, get_ok(8), &Properties::new(), b"x");
    let reply = client.reply(token).unwrap();
    client.engine.give_back(reply, client.now);
    let requeue = basic::Nack { delivery_tag: 8, multiple: false, requeue: true };
    assert_eq!(client.sent(), [Sent::method(1, requeue)]);

    let token = client.call(id, consume("q"));
    client.sent();
    client.say(1, basic::ConsumeOk { consumer_tag: ShortStr::from_static("c") });
    let reply = client.reply(token).unwrap();
    client.engine.give_back(reply, client.now);
    let cancel = basic::Cancel { consumer_tag: ShortStr::from_static("c"), no_wait: false };
    assert_eq!(client.sent(), [Sent::method(1, cancel)]);
    client.say(1, basic::CancelOk { consumer_tag: ShortStr::from_static("c") });
    client.engine.give_back(Reply::Empty, client.now);
    client.engine.give_back(Reply::Closed, client.now);
    assert!(client.is_quiet());
}

#[test]
fn a_refused_call_changes_nothing() {
    let config = Config { max_calls: 2, ..Config::default() };
    let mut client = Client::open_with(config, TUNE);
    let id = client.channel();
    let publish = client.call(id, declare("a"));
    let before = format!("{:?}", client.engine);
    let large = FieldTable::new().with("x", FieldValue::Bytes(LongStr::new(vec![0; 200_000]).unwrap()));
    let mut deep = FieldTable::new();
    (0..40).for_each(|_| deep = FieldTable::new().with("x", std::mem::take(&mut deep)));
    let refuse =
        |client: &mut Client, method: Method| client.engine.call(id, method, client.now).unwrap_err();

    let error = refuse(&mut client, queue::Declare { arguments: large, ..declare("b") }.into());
    assert!(
        matches!(error, CommandError::Wire(WireError::FrameTooLarge { .. })),
        "trap 8: before it is sent"
    );
    let error = refuse(&mut client, queue::Declare { arguments: deep, ..declare("b") }.into());
    assert_eq!(error, CommandError::Wire(WireError::TableTooDeep));
    let not_calls: [Method; 8] = [
        queue::Declare { no_wait: true, ..declare("b") }.into(),
        basic::Consume { no_wait: true, ..consume("b") }.into(),
        basic::Publish::default().into(),
        basic::Ack::default().into(),
        channel::Open {}.into(),
        channel::Close::default().into(),
        tx::SelectOk {}.into(),
        queue::DeclareOk::default().into(),
    ];
    for method in not_calls {
        let name = method.name();
        assert_eq!(refuse(&mut client, method), CommandError::NotACall(name));
    }
    let strip = |shown: String| {
        shown.split("tokens").map(|s| s.split_once(',').unwrap().1.to_owned()).collect::<String>()
    };
    assert_eq!(strip(format!("{:?}", client.engine)), strip(before), "nothing but the numbers of tokens");

    let _ = client.call(id, declare("b"));
    assert_eq!(refuse(&mut client, declare("c").into()), CommandError::TooManyCalls);
    client.engine.abandon(id, publish);
    assert_eq!(refuse(&mut client, declare("c").into()), CommandError::TooManyCalls, "tombstones count");
    client.say(1, declared("a"));
    client.sent();
    let _ = client.call(id, declare("c"));
    assert_eq!(client.sent().len(), 1);
}

fn no_waits() -> [Method; 8] {
    [
        exchange::Declare { no_wait: true, ..Default::default() }.into(),
        exchange::Delete { no_wait: true, ..Default::default() }.into(),
        exchange::Bind { no_wait: true, ..Default::default() }.into(),
        exchange::Unbind { no_wait: true, ..Default::default() }.into(),
        queue::Declare { no_wait: true, ..declare("a") }.into(),
        queue::Bind { no_wait: true, queue: ShortStr::from_static("a"), ..Default::default() }.into(),
        queue::Purge { no_wait: true, queue: ShortStr::from_static("a") }.into(),
        queue::Delete { no_wait: true, queue: ShortStr::from_static("a"), ..Default::default() }.into(),
    ]
}

#[test]
fn what_asks_for_no_answer_gets_none_and_waits_for_none() {
    let mut client = Client::open_with(Config { max_calls: 1, ..Config::default() }, TUNE);
    let id = client.channel();
    let call = client.call(id, declare("b"));
    for method in no_waits() {
        client.engine.send_no_wait(id, method, client.now).unwrap();
    }
    let mut sent = vec![Sent::method(1, declare("b"))];
    sent.extend(no_waits().map(|method| Sent::Method(1, method)));
    assert_eq!(client.sent(), sent);
    client.say(1, declared("b"));
    assert_eq!(answers(&mut client), [(call, Some(declared("b").into()))]);
    client.pass(Duration::from_secs(100));
    assert!(client.is_quiet() && client.engine.poll_timeout().is_none());
    client.say(1, support::channel_close(404));
    assert!(matches!(client.event(), Event::ChannelClosed { channel, .. } if channel == id));
    let error = client.engine.send_no_wait(id, no_waits()[0].clone(), client.now).unwrap_err();
    assert!(matches!(error, CommandError::Closed(_)));
}

#[test]
fn what_the_server_answers_is_not_sent_without_waiting() {
    let mut client = Client::open_with(Config { max_outbox: 100, ..Config::default() }, TUNE);
    let id = client.channel();
    let answered: [Method; 8] = [
        declare("a").into(),
        queue::Unbind::default().into(),
        basic::Consume { no_wait: true, ..consume("a") }.into(),
        basic::Cancel { no_wait: true, ..Default::default() }.into(),
        confirm::Select { no_wait: true }.into(),
        basic::Qos::default().into(),
        basic::Publish::default().into(),
        channel::Close::default().into(),
    ];
    for method in answered {
        let error = client.engine.send_no_wait(id, method.clone(), client.now).unwrap_err();
        assert_eq!(error, CommandError::Answered(method.name()));
    }
    assert!(client.is_quiet());
    let [purge, ..] = no_waits();
    let sent =
        (0..100).take_while(|_| client.engine.send_no_wait(id, purge.clone(), client.now).is_ok()).count();
    assert!((2..20).contains(&sent), "{sent}");
    assert_eq!(client.engine.send_no_wait(id, purge.clone(), client.now), Err(CommandError::Full));
    assert_eq!(client.sent().len(), sent);
    client.engine.send_no_wait(id, purge, client.now).expect("there is room again");
}
