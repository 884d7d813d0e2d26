//! Publishers that are held back, and refused.

use core::time::Duration;
use std::vec;
use std::vec::Vec;

use bytes::BytesMut;

use super::{Got, Test, frame, message, short};
use crate::amqp::*;
use crate::{Engine as _, Want};

/// A body frame of one byte.
const BODY: usize = FRAME_OVERHEAD + 1;

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
    // It is blocked behind the header: the body stays where it is.
    let before = before + publish.len() - BODY;
    assert_eq!(left[..], input[before..]);
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
    assert_eq!((left.len(), test.want(id)), (BODY, Want::Write));
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
    assert_eq!(left_of(&mut test, id, &input).len(), BODY);
    assert_eq!(test.got(id), [blocked("low on disk")]);
    let mut got = vec![];
    for _ in 0..20 {
        test.now = test.deadline(id).unwrap();
        test.timeout(id);
        got.extend(test.got(id));
    }
    assert!(test.events(id).iter().all(|event| !matches!(event, super::Event::Closed { .. })));
    assert!(got.contains(&Got::Heartbeat), "it is told that the broker lives");

    // From now on it is, and has its two intervals.
    test.broker.unblock();
    let unblocked = test.now;
    while let Some(deadline) = test.deadline(id) {
        test.now = deadline;
        test.timeout(id);
    }
    assert!(test.now - unblocked >= Duration::from_secs(120));
    let closed = super::Event::Closed { reason: super::Closed::HeartbeatTimeout };
    assert!(test.events(id).contains(&closed));
}

#[test]
fn an_empty_message_is_taken_before_its_connection_is_blocked() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    test.ask(id, 1, confirm::Select::default());
    test.broker.block("low on memory");
    assert!(left_of(&mut test, id, &message(1, "", "q", "")).is_empty());
    let ack = Got::Method(1, basic::Ack { delivery_tag: 1, multiple: false }.into());
    assert_eq!(test.got(id), [blocked("low on memory"), ack]);
    assert_eq!((test.stats("q"), test.want(id)), (Some((1, 0, 0)), Want::Write));
}

#[test]
fn who_is_amid_a_message_is_blocked_by_its_next_frame() {
    let mut test = Test::new();
    let id = test.client();
    test.declare(id, "q");
    let publish = message(1, "", "q", "a");
    let (begun, rest) = publish.split_at(publish.len() - BODY);
    assert!(left_of(&mut test, id, begun).is_empty());
    test.broker.block("low on memory");
    assert!(left_of(&mut test, id, rest).is_empty());
    assert_eq!(test.got(id), [blocked("low on memory")]);
    assert_eq!((test.stats("q"), test.want(id)), (Some((1, 0, 0)), Want::Write));
}

#[test]
fn a_crash_ends_alarms_and_refusals() {
    let mut test = Test::new();
    test.broker.block("low on memory");
    test.broker.refuse_publishes();
    test.broker.crash(super::super::Disk::Kept);
    let id = test.client();
    test.declare(id, "q");
    test.publish(id, "q", "a");
    assert_eq!(test.stats("q"), Some((1, 0, 0)));
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

    test.broker.refuse_publishes();
    let to = |queue: &str| message(1, "", queue, "x");
    // What no queue would have had is confirmed.
    let keys = ["none", "none", "q", "q", "none", "q", "none"];
    let batch: Vec<u8> = keys.into_iter().flat_map(to).collect();
    test.input(id, &batch);
    assert_eq!(test.got(id), [ack(3, true), nack(5, true), ack(6, false), nack(7, false), ack(8, false)]);
    assert_eq!(test.stats("q"), Some((1, 0, 0)));
    test.input(id, &to("q"));
    assert_eq!(test.got(id), [nack(9, false)]);

    test.broker.accept_publishes();
    test.publish(id, "q", "kept too");
    assert_eq!(test.got(id), [ack(10, false)]);
    test.consume(id, "q", "c", 0);
    assert_eq!(test.bodies(id), vec!["kept", "kept too"]);
}

/// A small generator (xorshift64).
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    }
}

/// Every publish is answered, once and in order, and is where it would be without them.
#[test]
fn alarms_that_come_and_go_change_only_when() {
    for seed in 1..1000_u64 {
        let mut random = numbers(seed);
        let mut test = Test::new();
        let id = test.client();
        test.declare(id, "q");
        test.ask(id, 1, confirm::Select::default());
        let (mut input, mut published, mut declares, mut is_alarmed) = (BytesMut::new(), 0, 0, false);
        let mut answers = Answers::default();
        for step in (0..120).rev() {
            match if step == 0 { 7 } else { random(10) } {
                0..=4 => {
                    input.extend_from_slice(&message(1, "", "q", &"x".repeat(random(40))));
                    published += 1;
                }
                5 => {
                    input.extend(frame(1, queue::Declare { queue: short("q"), ..Default::default() }));
                    declares += 1;
                }
                6 => {
                    test.broker.block("low on memory");
                    is_alarmed = true;
                }
                7 => {
                    test.broker.unblock();
                    is_alarmed = false;
                    while test.broker.poll_touched().is_some() {}
                }
                8 if random(2) == 0 => test.broker.refuse_publishes(),
                _ => test.broker.accept_publishes(),
            }
            // Torn anywhere, but for the last of it.
            let behind = input.split_off(if step == 0 { input.len() } else { random(input.len() + 1) });
            let left = left_of(&mut test, id, &input);
            input = left;
            input.extend_from_slice(&behind);
            test.got(id).into_iter().for_each(|got| answers.add(got));
            if test.want(id) == Want::Write {
                assert!(is_alarmed && answers.told.last() == Some(&true), "seed {seed}");
            }
        }
        assert!(input.is_empty(), "seed {seed}");
        assert_eq!((answers.last, answers.declared), (published, declares), "seed {seed}");
        let ready = test.stats("q").unwrap().0 as u64;
        assert_eq!(ready + answers.nacked, published, "seed {seed}");
        assert!(answers.told.chunks(2).all(|told| told == [true, false]), "seed {seed}");
    }
}

/// What a client has heard.
#[derive(Default)]
struct Answers {
    /// The last publish that had its answer.
    last: u64,
    nacked: u64,
    declared: u64,
    /// That it is blocked, and that it is not.
    told: Vec<bool>,
}

impl Answers {
    fn add(&mut self, got: Got) {
        let (tag, multiple, is_nack) = match got {
            Got::Method(1, Method::BasicAck(ack)) => (ack.delivery_tag, ack.multiple, false),
            Got::Method(1, Method::BasicNack(nack)) => (nack.delivery_tag, nack.multiple, true),
            Got::Method(1, Method::QueueDeclareOk(_)) => return self.declared += 1,
            Got::Method(0, Method::ConnectionBlocked(_)) => return self.told.push(true),
            Got::Method(0, Method::ConnectionUnblocked(_)) => return self.told.push(false),
            other => panic!("{other:?}"),
        };
        assert!(tag > self.last && multiple == (tag > self.last + 1));
        self.nacked += if is_nack { tag - self.last } else { 0 };
        self.last = tag;
    }
}
