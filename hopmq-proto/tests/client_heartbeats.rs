//! Heartbeats both ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use hopmq_proto::amqp::{HEARTBEAT_FRAME, Properties, Publish, basic, connection};
use hopmq_proto::client::{CallError, CloseReason, Config, Event, Heartbeat, Lost};
use hopmq_proto::{Engine, Want};
use support::{Client, Sent, TUNE, deliver, seconds};

fn beating(interval: u16) -> Client {
    Client::open_with(Config::default(), connection::Tune { heartbeat: interval, ..TUNE })
}

/// Lets time pass in steps, in which the server shows a sign of life each time.
fn pass_alive(client: &mut Client, steps: u32, step: Duration) -> Vec<Sent> {
    let mut sent = Vec::new();
    for _ in 0..steps {
        client.pass(step);
        client.feed(&HEARTBEAT_FRAME);
        sent.extend(client.sent());
    }
    sent
}

fn lost(client: &mut Client) -> CloseReason {
    let reason = client.closed();
    assert!(client.sent().is_empty(), "nobody would read it");
    reason
}

#[test]
fn trap_11_one_is_sent_each_half_interval_when_idle() {
    let mut client = beating(10);
    assert_eq!(pass_alive(&mut client, 1, Duration::from_millis(4999)), []);
    assert_eq!(pass_alive(&mut client, 1, Duration::from_millis(1)), [Sent::Heartbeat]);
    assert_eq!(pass_alive(&mut client, 11, Duration::from_secs(5)), vec![Sent::Heartbeat; 11]);
    assert!(client.events().is_empty());
}

#[test]
fn an_interval_of_one_second_is_half_a_second() {
    let mut client = beating(1);
    assert_eq!(pass_alive(&mut client, 8, Duration::from_millis(250)), vec![Sent::Heartbeat; 4]);
}

#[test]
fn none_is_sent_when_there_was_traffic() {
    let mut client = beating(10);
    let id = client.channel();
    let sent = (0..10).flat_map(|_| {
        client.try_publish(id, "q", b"x").unwrap();
        pass_alive(&mut client, 1, Duration::from_secs(4))
    });
    assert!(!sent.collect::<Vec<_>>().contains(&Sent::Heartbeat));
    client.pass(Duration::from_millis(999));
    assert!(client.sent().is_empty());
    client.pass(Duration::from_millis(1));
    assert_eq!(client.sent(), [Sent::Heartbeat], "half an interval after the last publish");
}

#[test]
fn a_refused_command_is_no_traffic() {
    let mut client = beating(10);
    let id = client.channel();
    client.pass(Duration::from_secs(3));
    let long = basic::Consume {
        arguments: hopmq_proto::amqp::FieldTable::new().with("x", "y".repeat(200_000)),
        ..Default::default()
    };
    client.engine.call(id, long, client.now).unwrap_err();
    client.pass(Duration::from_secs(2));
    assert_eq!(client.sent(), [Sent::Heartbeat]);
}

#[test]
fn pain_20_one_overtakes_bulk_data_at_a_frame_boundary() {
    let mut client = beating(10);
    let id = client.channel();
    let body = Bytes::from(vec![7; 300_000]);
    let publish = Publish { routing_key: b"q", ..Default::default() };
    client.engine.publish(id, &publish, &Properties::new(), &body, client.now).unwrap();
    let method_and_header = client.engine.outbox().chunks().next().unwrap().len();
    let mut written = Vec::new();
    let mut write = |client: &mut Client, n: usize| {
        let bytes: Vec<u8> = client.engine.outbox().chunks().flatten().copied().take(n).collect();
        client.engine.outbox().consume(n);
        written.extend(bytes);
    };
    write(&mut client, method_and_header + 1000); // amid the first body frame
    client.pass(Duration::from_secs(5));
    while !client.engine.outbox().is_empty() {
        write(&mut client, 7777);
    }
    let frames = support::decode(&mut bytes::BytesMut::from(&written[..]));
    let kinds: Vec<_> = frames.iter().map(|sent| matches!(sent, Sent::Heartbeat)).collect();
    assert_eq!(
        kinds,
        [false, false, false, true, false, false],
        "behind the frame under way, ahead of the others"
    );
}

#[test]
fn a_silent_server_is_lost_after_two_intervals() {
    let mut client = beating(10);
    client.pass(Duration::from_millis(19_999));
    assert!(client.events().is_empty());
    client.pass(Duration::from_millis(1));
    assert_eq!(lost(&mut client), CloseReason::Lost(Lost::Heartbeat { seconds: 20 }));
}

#[test]
fn any_traffic_is_a_sign_of_life_even_half_a_frame() {
    let mut client = beating(10);
    let frame = support::method(0, connection::Blocked::default());
    for octet in frame.chunks(1) {
        client.pass(Duration::from_secs(19));
        client.feed(octet);
        assert_eq!(client.engine.want(), Want::ReadWrite);
    }
    client.events();
    client.pass(Duration::from_millis(19_999));
    assert!(client.events().is_empty());
    client.pass(Duration::from_millis(1));
    assert!(matches!(client.closed(), CloseReason::Lost(Lost::Heartbeat { .. })));
}

#[test]
fn the_beginning_of_a_frame_is_a_sign_of_life_once() {
    let mut client = beating(10);
    let frame = support::method(0, connection::Blocked::default());
    client.feed(&frame[..5]);
    for _ in 0..19 {
        client.pass(Duration::from_secs(1));
        client.feed(&[]); // a driver hands over what it has whenever it is woken
        assert!(client.events().is_empty());
    }
    client.pass(Duration::from_secs(1));
    assert_eq!(lost(&mut client), CloseReason::Lost(Lost::Heartbeat { seconds: 20 }));
}

#[test]
fn silence_does_not_count_while_nobody_reads() {
    let mut client = beating(10);
    client.pass(Duration::from_secs(19));
    client.engine.set_paused(true, client.now);
    assert_eq!(client.engine.want(), Want::Write);
    for _ in 0..20 {
        client.pass(Duration::from_secs(5));
        assert_eq!(client.sent(), [Sent::Heartbeat], "ours are sent");
    }
    assert!(client.events().is_empty());
    client.engine.set_paused(false, client.now);
    assert_eq!(client.engine.want(), Want::ReadWrite);
    client.pass(Duration::from_millis(19_999));
    assert!(client.events().is_empty());
    client.pass(Duration::from_millis(1));
    assert!(matches!(client.closed(), CloseReason::Lost(Lost::Heartbeat { .. })));
}

#[test]
fn silence_does_not_count_while_events_are_not_polled() {
    let config = Config { max_event_bytes: 1000, ..Config::default() };
    let mut client = Client::open_with(config, connection::Tune { heartbeat: 10, ..TUNE });
    let id = client.channel();
    let _ = client.consumer(id, "c", false);
    client.say_content(1, deliver("c", 1), &Properties::new(), &[7; 2000]);
    assert_eq!(client.engine.want(), Want::Write);
    client.pass(Duration::from_millis(39_999));
    assert_eq!(client.engine.want(), Want::Write);
    let _ = client.delivery(); // a moment before the next look at the silence
    assert_eq!(client.engine.want(), Want::ReadWrite);
    client.pass(Duration::from_secs(19));
    assert!(client.events().is_empty(), "there was no time to read");
    client.pass(Duration::from_secs(2));
    let events = client.events();
    let [Event::ChannelClosed { .. }, Event::Closed { reason }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(**reason, CloseReason::Lost(Lost::Heartbeat { seconds: 20 }));
}

#[test]
fn what_times_out_is_no_excuse_for_silence() {
    let config = Config { max_event_bytes: 1, call_timeout: Duration::from_secs(3), ..Config::default() };
    let mut client = Client::open_with(config, connection::Tune { heartbeat: 10, ..TUNE });
    let id = client.channel();
    // The first look at the silence excuses what was read, the second finds nothing to excuse.
    for _ in 0..9 {
        let call = client.call(id, support::get("q"));
        client.pass(Duration::from_secs(3));
        assert_eq!(client.reply(call).expect_err("nobody answers"), CallError::TimedOut);
        client.pass(Duration::from_secs(1));
    }
    client.pass(Duration::from_millis(3_999));
    assert!(client.events().is_empty());
    client.pass(Duration::from_millis(1));
    let events = client.events();
    let [Event::ChannelClosed { .. }, Event::Closed { reason }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(**reason, CloseReason::Lost(Lost::Heartbeat { seconds: 20 }));
}

#[test]
fn one_that_cannot_be_written_is_enough() {
    let mut client = beating(1);
    client.engine.set_paused(true, client.now);
    client.pass(Duration::from_secs(100));
    assert_eq!(client.sent(), [Sent::Heartbeat]);
    client.pass(Duration::from_secs(1));
    assert_eq!(client.sent(), [Sent::Heartbeat]);
}

#[test]
fn off_is_off_both_ways() {
    let config = Config { heartbeat: Heartbeat::Off, ..Config::default() };
    let mut client = Client::open_with(config, connection::Tune { heartbeat: 10, ..TUNE });
    assert_eq!(client.engine.poll_timeout(), None);
    client.pass(Duration::from_secs(100_000));
    assert!(client.is_quiet());
    let config = Config { heartbeat: Heartbeat::Seconds(seconds(10)), ..Config::default() };
    let mut client = Client::open_with(config, TUNE);
    client.pass(Duration::from_secs(5));
    assert_eq!(client.sent(), [Sent::Heartbeat], "though the server proposed none");
}

#[test]
fn calling_at_any_time_is_harmless() {
    let mut client = beating(10);
    for _ in 0..40 {
        client.now = client.now + Duration::from_millis(100);
        client.engine.handle_timeout(client.now);
    }
    assert!(client.is_quiet());
    client.now = client.now + Duration::from_secs(15); // late: both are due
    client.engine.handle_timeout(client.now);
    assert!(client.events().is_empty());
    assert_eq!(client.sent(), [Sent::Heartbeat]);
    client.now = client.now + Duration::from_secs(1 << 40);
    client.engine.handle_timeout(client.now);
    assert!(matches!(client.closed(), CloseReason::Lost(Lost::Heartbeat { .. })));
}
