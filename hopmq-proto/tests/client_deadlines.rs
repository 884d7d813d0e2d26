//! `poll_timeout` covers everything that is pending: who calls at that time and no other, sees every operation end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use hopmq_proto::client::{CallError, Config, Event, Token};
use hopmq_proto::{Engine, Instant};
use support::{Client, TUNE, consume, get};

/// What times out, and when, counted from the start of the connection.
fn timeouts(client: &mut Client) -> Vec<(Token, Duration)> {
    let mut all = Vec::new();
    while let Some(due) = client.engine.poll_timeout() {
        assert!(due >= client.now, "a deadline that has passed already");
        client.now = due;
        client.engine.handle_timeout(client.now);
        for event in client.events() {
            match event {
                Event::Reply { token, result: Err(CallError::TimedOut) }
                | Event::Confirmed { token, result: Err(CallError::TimedOut) } => {
                    all.push((token, client.now - Instant::from_nanos(1_000_000_000)));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    all
}

#[test]
fn every_operation_ends_at_its_own_deadline() {
    let config = Config {
        call_timeout: Duration::from_secs(5),
        confirm_timeout: Duration::from_secs(7),
        ..Config::default()
    };
    let mut client = Client::open_with(config, TUNE);
    let (a, b) = (client.confirming(), client.confirming());
    let mut expected = Vec::new();
    for at in 0..3u64 {
        let mut expect = |token, timeout| expected.push((token, Duration::from_secs(at + timeout)));
        expect(client.call(a, consume("q")), 5);
        expect(client.call(b, get("q")), 5);
        expect(client.publish(a, "q", b"x"), 7);
        expect(client.publish(b, "q", b"x"), 7);
        expect(client.engine.open_channel(client.now).unwrap().1, 5);
        client.sent();
        client.now = client.now + Duration::from_secs(1);
    }
    let mut ended = timeouts(&mut client);
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected);
}

#[test]
fn a_channels_close_ends_at_its_own_deadline() {
    let mut client = Client::open();
    let ids = [client.channel(), client.channel()];
    let first = client.engine.close_channel(ids[0], client.now).unwrap();
    client.now = client.now + Duration::from_secs(1);
    let second = client.engine.close_channel(ids[1], client.now).unwrap();
    client.events();
    assert_eq!(timeouts(&mut client), [(first, Duration::from_secs(30)), (second, Duration::from_secs(31))]);
}

#[test]
fn what_is_answered_leaves_no_deadline_that_does_anything() {
    let mut client = Client::open();
    let id = client.confirming();
    let _ = client.consumer(id, "c", false);
    let _ = client.publish(id, "q", b"x");
    client.say(1, support::ack(1, false));
    client.events();
    client.sent();
    assert_eq!(timeouts(&mut client), []);
    assert!(client.is_quiet());
}

#[test]
fn a_timeout_of_nothing_and_a_timeout_of_for_ever() {
    let config = Config { call_timeout: Duration::ZERO, confirm_timeout: Duration::MAX, ..Config::default() };
    let mut client = Client::open_with(config, TUNE);
    let (_, token) = client.engine.open_channel(client.now).unwrap();
    assert_eq!(client.engine.poll_timeout(), Some(client.now));
    client.pass(Duration::ZERO);
    assert!(matches!(client.reply(token), Err(CallError::TimedOut)));

    let config = Config { confirm_timeout: Duration::MAX, ..Config::default() };
    let mut client = Client::open_with(config, TUNE);
    let id = client.confirming();
    let _ = client.publish(id, "q", b"x");
    client.pass(Duration::from_secs(1 << 32));
    assert!(client.events().is_empty());
}

#[test]
fn the_end_of_time_is_reached() {
    for heartbeat in [0, 1] {
        let tune = hopmq_proto::amqp::connection::Tune { heartbeat, ..TUNE };
        let mut client = Client::open_with(Config::default(), tune);
        let id = client.confirming();
        let _ = client.publish(id, "q", b"x");
        let _ = client.call(id, consume("q"));
        client.engine.set_paused(true, client.now);
        client.now = Instant::from_nanos(u64::MAX);
        client.engine.handle_timeout(client.now);
        assert_eq!(client.events().len(), 2);
    }
}
