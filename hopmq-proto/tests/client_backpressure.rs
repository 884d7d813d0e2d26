//! Room for publishes, and for what the server sends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use hopmq_proto::amqp::{Properties, ShortStr, basic, channel, connection};
use hopmq_proto::client::{CommandError, Config, Event, PeerMisbehaved, PublishError, Settle};
use hopmq_proto::{Engine, Instant, Want};
use support::{Client, Sent, TUNE, ack, channel_close, consume, deliver, method, returned};

fn blocked() -> connection::Blocked {
    connection::Blocked { reason: ShortStr::from_static("low on memory") }
}

fn small_outbox() -> Client {
    Client::open_with(Config { max_outbox: 1000, ..Config::default() }, TUNE)
}

/// Whether something is to be done at once.
fn is_due(client: &Client) -> bool {
    client.engine.poll_timeout() == Some(Instant::ZERO)
}

/// Publishes until it is refused.
fn fill(client: &mut Client, id: hopmq_proto::client::ChannelId) -> usize {
    (0..).find(|_| client.try_publish(id, "q", &[7; 50]) == Err(PublishError::Full)).unwrap()
}

#[test]
fn a_full_outbox_refuses_and_is_writable_once_it_is_half_empty() {
    let mut client = small_outbox();
    let id = client.channel();
    assert!(fill(&mut client, id) > 5);
    let len = client.engine.outbox().len();
    assert!((1000..1200).contains(&len), "one publish may go beyond the limit: {len}");
    assert_eq!(client.try_publish(id, "q", b"x"), Err(PublishError::Full));
    assert_eq!(client.engine.outbox().len(), len, "a refused publish changes nothing");
    assert!(!is_due(&client));

    client.engine.outbox().consume(len - 501);
    assert!(!is_due(&client), "not yet");
    client.engine.handle_timeout(client.now);
    assert!(client.events().is_empty());
    client.engine.outbox().consume(1);
    assert!(is_due(&client), "now");
    client.engine.handle_timeout(client.now);
    assert!(matches!(client.event(), Event::Writable));
    assert!(!is_due(&client));
    client.engine.handle_timeout(client.now);
    assert!(client.events().is_empty(), "once");
    client.try_publish(id, "q", b"x").unwrap();
}

#[test]
fn input_makes_it_writable_too() {
    let mut client = small_outbox();
    let id = client.channel();
    fill(&mut client, id);
    client.sent();
    client.say(0, blocked());
    assert!(matches!(client.events()[..], [Event::Writable, Event::Blocked { .. }]));
}

#[test]
fn nobody_is_told_who_was_not_refused() {
    let mut client = small_outbox();
    let id = client.channel();
    while client.engine.outbox().len() < 1000 {
        client.try_publish(id, "q", &[7; 50]).unwrap();
    }
    client.sent();
    assert!(!is_due(&client));
    client.engine.handle_timeout(client.now);
    assert!(client.events().is_empty());
}

#[test]
fn trap_34_blocked_refuses_publishes_and_nothing_else() {
    let mut client = Client::open();
    let id = client.confirming();
    let _ = client.consumer(id, "c", false);
    client.say_content(1, deliver("c", 1), &Properties::new(), b"x");
    let (_, delivery) = client.delivery();
    client.say(0, blocked());
    assert!(matches!(client.event(), Event::Blocked { reason } if reason == "low on memory"));
    assert_eq!(client.try_publish(id, "q", b"x"), Err(PublishError::Blocked));
    assert!(client.is_quiet());
    client.engine.settle(delivery.id.unwrap(), Settle::Ack { multiple: false }, client.now).unwrap();
    let _ = client.call(id, consume("q"));
    let _ = client.engine.open_channel(client.now).unwrap();
    assert_eq!(client.sent().len(), 3);
    client.say(0, connection::Unblocked {});
    assert!(matches!(client.events()[..], [Event::Unblocked, Event::Writable]));
    let token = client.publish(id, "q", b"x");
    client.say(1, ack(1, false));
    assert_eq!(client.confirms()[0].0, token);
}

#[test]
fn unblocked_is_not_writable_when_nobody_was_refused_or_there_is_no_room() {
    let mut client = small_outbox();
    let id = client.channel();
    client.say(0, blocked());
    client.say(0, connection::Unblocked {});
    assert!(matches!(client.events()[..], [Event::Blocked { .. }, Event::Unblocked]));
    fill(&mut client, id);
    client.say(0, blocked());
    client.say(0, connection::Unblocked {});
    assert!(matches!(client.events()[..], [Event::Blocked { .. }, Event::Unblocked]));
    client.sent();
    client.pass(Duration::ZERO);
    assert!(matches!(client.event(), Event::Writable));
}

#[test]
fn a_channel_that_has_ended_says_so_though_the_server_is_blocked() {
    let mut client = Client::open();
    let id = client.channel();
    let _ = client.engine.close_channel(id, client.now).unwrap();
    client.say(0, blocked());
    client.events();
    let refused = client.try_publish(id, "q", b"x");
    assert!(matches!(refused, Err(PublishError::Command(CommandError::Closed(_)))), "{refused:?}");
}

#[test]
fn trap_35_flow_is_answered_and_stops_its_channel_only() {
    let mut client = Client::open();
    let (id, other) = (client.channel(), client.channel());
    client.say(1, channel::Flow { active: false });
    assert_eq!(client.sent(), [Sent::method(1, channel::FlowOk { active: false })]);
    assert_eq!(client.try_publish(id, "q", b"x"), Err(PublishError::Blocked));
    client.try_publish(other, "q", b"x").unwrap();
    client.sent();
    client.say(1, channel::Flow { active: true });
    assert_eq!(client.sent(), [Sent::method(1, channel::FlowOk { active: true })]);
    assert!(matches!(client.event(), Event::Writable));
    client.try_publish(id, "q", b"x").unwrap();
    client.say(1, channel::Flow { active: true });
    assert!(client.events().is_empty());
}

#[test]
fn events_that_nobody_polls_stop_the_reading() {
    let config = Config { max_event_bytes: 10_000, ..Config::default() };
    let chatter: [(bytes::BytesMut, usize); 4] = [
        (support::content(1, deliver("c", 1), &Properties::new(), &[7; 5000], 9000), 2),
        (support::content(1, returned("k"), &Properties::new(), &[7; 5000], 9000), 2),
        (support::content(1, deliver("c", 1), &Properties::new(), b"", 9), 100),
        (method(0, blocked()), 100),
    ];
    for (bytes, at_most) in chatter {
        let mut client = Client::open_with(config.clone(), TUNE);
        let id = client.channel();
        let _ = client.consumer(id, "c", false);
        let taken = (0..).find(|_| {
            client.feed(&bytes);
            client.engine.want() == Want::Write
        });
        assert!(taken.unwrap() <= at_most, "{taken:?}");
        client.engine.poll_event();
        assert_eq!(client.engine.want(), Want::ReadWrite);
    }
}

#[test]
fn replies_and_returns_with_messages_count_too() {
    let config = Config { max_event_bytes: 10_000, ..Config::default() };
    let mut client = Client::open_with(config, TUNE);
    let id = client.confirming();
    let _ = client.call(id, support::get("q"));
    client.say_content(1, support::get_ok(1), &Properties::new(), &[7; 10_000]);
    assert_eq!(client.engine.want(), Want::Write);
    client.events();
    assert_eq!(client.engine.want(), Want::ReadWrite);
    let _ = client.publish(id, "!k", &[7; 10_000]);
    client.say_content(1, returned("!k"), &Properties::new(), &[7; 10_000]);
    client.say(1, ack(1, false));
    assert_eq!(client.engine.want(), Want::Write);
}

#[test]
fn a_server_that_asks_and_does_not_read_is_given_up() {
    let questions = [
        method(1, channel::Flow { active: true }),
        method(1, basic::Cancel { consumer_tag: ShortStr::from_static("?"), no_wait: false }),
        support::content(1, deliver("?", 1), &Properties::new(), b"", 9),
    ];
    for question in questions {
        let mut client = Client::open();
        client.channel();
        let many = question.repeat(10_000);
        while client.engine.want() != Want::Shutdown {
            let queued = client.engine.outbox().len();
            assert!(queued < 5 << 20, "{queued} bytes");
            client.feed(&many);
        }
        assert!(matches!(client.misbehaved(506), PeerMisbehaved::AnswersUnread(_)));
    }
}

#[test]
fn a_server_that_asks_and_reads_may_go_on() {
    let mut client = Client::open();
    client.channel();
    let many = method(1, channel::Flow { active: true }).repeat(10_000);
    for _ in 0..100 {
        client.feed(&many);
        assert_eq!(client.sent().len(), 10_000);
    }
    assert!(client.events().is_empty());
    client.say(1, channel_close(404));
    assert!(matches!(client.event(), Event::ChannelClosed { .. }));
}
