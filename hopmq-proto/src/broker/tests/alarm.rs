//! Publishers that are held back, and refused.

use std::vec;
use std::vec::Vec;

use bytes::BytesMut;

use super::{Got, Test, frame, message, short};
use crate::amqp::*;
use crate::{Engine as _, Want};

/// What is left of `input` when the broker has taken what it takes.
fn left_of(test: &mut Test, id: super::ConnectionId, input: &[u8]) -> BytesMut {
    let mut input = BytesMut::from(input);
    let now = test.now;
    test.broker.connection(id).unwrap().handle_input(&mut input, now);
    input
}

fn blocked(reason: &str) -> Got {
    Got::Method(0, connection::Blocked { reason: short(reason) }.into())
}

fn unblocked() -> Got {
    Got::Method(0, connection::Unblocked {}.into())
}

#[test]
fn who_publishes_amid_an_alarm_waits_and_everything_behind_it() {
    let mut test = Test::new();
    let (publisher, other) = (test.client(), test.client());
    test.declare(publisher, "q");
    test.broker.block("low on memory");
    assert_eq!(test.broker.poll_touched(), None, "nobody has published");

    let publish = message(1, "", "q", "a");
    let mut input = frame(1, confirm::Select::default());
    let before = input.len();
    input.extend_from_slice(&publish);
    input.extend(frame(1, queue::Delete { queue: short("q"), ..Default::default() }));
    let mut left = left_of(&mut test, publisher, &input);
    assert_eq!(left[..], input[before..], "it stays where it is");
    let select = Got::Method(1, confirm::SelectOk {}.into());
    assert_eq!(test.got(publisher), [select, blocked("low on memory")]);
    assert_eq!(test.want(publisher), Want::Write);

    // More of it changes nothing, and is told no second time.
    left.extend_from_slice(&publish);
    let mut left = left_of(&mut test, publisher, &left);
    assert_eq!(left.len(), input.len() - before + publish.len());
    assert_eq!(test.got(publisher), []);

    // Whoever does not publish notices nothing.
    test.declare(other, "other");
    assert_eq!(test.want(other), Want::ReadWrite);
    assert_eq!(test.stats("q"), Some((0, 0, 0)));

    test.broker.unblock();
    assert_eq!(test.broker.poll_touched(), Some(publisher));
    assert_eq!(test.broker.poll_touched(), None);
    assert_eq!(test.want(publisher), Want::ReadWrite);
    left = left_of(&mut test, publisher, &left);
    assert!(left.is_empty());
    let got = test.got(publisher);
    assert_eq!(got.first(), Some(&unblocked()));
    let answer = |method: Method| Got::Method(1, method);
    // The queue was there for the first, and not for the second.
    assert_eq!(
        got[1..],
        [
            answer(queue::DeleteOk { message_count: 1 }.into()),
            answer(basic::Ack { delivery_tag: 2, multiple: true }.into())
        ]
    );
}

#[test]
fn who_cannot_read_of_it_is_blocked_all_the_same() {
    let mut test = Test::new();
    let id = test.client_with(131_072, false);
    test.broker.block("low on memory");
    let input = message(1, "", "q", "a");
    let left = left_of(&mut test, id, &input);
    assert_eq!((left.len(), test.want(id)), (input.len(), Want::Write));
    test.broker.unblock();
    assert!(left_of(&mut test, id, &left).is_empty());
    assert_eq!(test.bytes(id), []);
}

#[test]
fn who_is_blocked_is_not_missed_for_its_heartbeats() {
    let mut test = Test::new();
    let id = test.client();
    test.broker.block("low on disk");
    let input = message(1, "", "q", "a");
    assert_eq!(left_of(&mut test, id, &input).len(), input.len());
    assert_eq!(test.got(id), [blocked("low on disk")]);
    let mut got = vec![];
    for _ in 0..20 {
        test.now = test.deadline(id).unwrap();
        test.timeout(id);
        got.extend(test.got(id));
    }
    assert!(test.events(id).iter().all(|event| !matches!(event, super::Event::Closed { .. })));
    assert!(got.contains(&Got::Heartbeat), "it is told that the broker lives");

    // From now on it is.
    test.broker.unblock();
    for _ in 0..20 {
        let Some(deadline) = test.deadline(id) else { break };
        test.now = deadline;
        test.timeout(id);
    }
    let closed = super::Event::Closed { reason: super::Closed::HeartbeatTimeout };
    assert!(test.events(id).contains(&closed));
}

#[test]
fn a_blocked_connection_can_be_closed() {
    let mut test = Test::new();
    let id = test.client();
    test.broker.block("low on memory");
    let input = message(1, "", "q", "a");
    let left = left_of(&mut test, id, &input);
    test.bytes(id);
    test.broker.close_connections("go away", test.now);
    assert_eq!(test.fault(id), "connection 320 CONNECTION_FORCED - go away (0,0)");
    assert_eq!(test.want(id), Want::ReadWrite, "its answer is awaited");
    let mut left = left.to_vec();
    left.extend(frame(0, connection::CloseOk {}));
    assert!(left_of(&mut test, id, &left).is_empty());
    assert_eq!(test.want(id), Want::Shutdown);
}

#[test]
fn what_is_refused_is_nacked_and_kept_nowhere() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    assert_eq!(test.ask(id, 1, confirm::Select::default()), confirm::SelectOk {}.into());
    test.publish(id, "q", "kept");
    let ack = |tag, multiple| Got::Method(1, basic::Ack { delivery_tag: tag, multiple }.into());
    let nack =
        |tag, multiple| Got::Method(1, basic::Nack { delivery_tag: tag, multiple, requeue: false }.into());
    assert_eq!(test.got(id), [ack(1, false)]);

    test.broker.refuse_publishes(true);
    let to = |queue: &str| message(1, "", queue, "x");
    // What no queue would have had is confirmed.
    let keys = ["none", "none", "q", "q", "none", "q", "none"];
    let batch: Vec<u8> = keys.into_iter().flat_map(to).collect();
    test.input(id, &batch);
    assert_eq!(test.got(id), [ack(3, true), nack(5, true), ack(6, false), nack(7, false), ack(8, false)]);
    assert_eq!(test.stats("q"), Some((1, 0, 0)));
    test.input(id, &to("q"));
    assert_eq!(test.got(id), [nack(9, false)]);

    test.broker.refuse_publishes(false);
    test.publish(id, "q", "kept too");
    assert_eq!(test.got(id), [ack(10, false)]);
    test.consume(id, "q", "c", 0);
    assert_eq!(test.bodies(id), vec!["kept", "kept too"]);
}
