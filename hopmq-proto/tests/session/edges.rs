//! Where two things meet at a bad moment.

use std::collections::BTreeSet;
use std::time::Duration;

use hopmq_proto::amqp::{Method, ReplyCode, ShortStr, basic, channel, connection, queue, tx};
use hopmq_proto::client::{
    CallError, ChannelId, CloseReason, CommandError, Config, Entity, Event, Heartbeat, Recovery, Refused,
};
use hopmq_proto::{Engine, Want};

use crate::script::{Act, Acting, Script};

fn declare(name: &'static str, no_wait: bool) -> queue::Declare {
    queue::Declare { queue: ShortStr::from_static(name), no_wait, ..Default::default() }
}

fn refuse(code: ReplyCode, method: &Method) -> Act {
    let ((class_id, method_id), reply_text) = (method.id(), ShortStr::from_static("no"));
    Act::Say(0, connection::Close { reply_code: code.0, reply_text, class_id, method_id }.into())
}

fn refuse_on(number: u16, code: ReplyCode, method: &Method) -> Act {
    let ((class_id, method_id), reply_text) = (method.id(), ShortStr::from_static("no"));
    Act::Say(number, channel::Close { reply_code: code.0, reply_text, class_id, method_id }.into())
}

#[test]
fn a_call_times_out_behind_one_that_has_more_time() {
    let mut script = Script::new(Recovery::default());
    let channel = script.channel();
    script.act = Box::new(|_, method| match method {
        Method::QueueDeclare(_) => Act::Nothing,
        _ => Act::Answer,
    });
    script.cut();
    let first = script.call(channel, declare("a", false));
    script.session.send_no_wait(channel, declare("b", true), script.now).unwrap();
    let last = script.call(channel, declare("c", false));
    script.pass(Duration::from_secs(29));
    assert!(script.session.is_open());
    script.session.handle_timeout(script.now + Duration::from_secs(1));
    script.run();
    for token in [first, last] {
        assert!(matches!(script.reply(token), Some(Err(CallError::TimedOut))), "{token:?}");
    }
}

#[test]
fn a_life_that_is_over_is_not_kept_by_calls_that_wait() {
    let mut script = Script::new(Recovery::default());
    let channel = script.channel();
    script.act = Box::new(|_, _| Act::Nothing);
    let token = script.call(channel, declare("a", false));
    script.run();
    script.session.handle_transport_error("it is silent".into(), script.now);
    assert_eq!(script.session.want(), Want::Shutdown);
    assert_eq!(script.session.poll_timeout(), None, "nothing is waited for");
    script.act = Box::new(|_, _| Act::Answer);
    script.pass(Duration::from_secs(1));
    assert!(matches!(script.reply(token), Some(Ok(_))));
}

#[test]
fn a_close_while_consumers_come_back_says_nothing_of_a_recovery() {
    let mut script = Script::new(Recovery::default());
    let channel = script.channel();
    let _ = script.consume(channel, "c");
    script.act = Box::new(|_, method| match method {
        Method::BasicConsume(_) => Act::Nothing,
        _ => Act::Answer,
    });
    script.cut();
    script.pass(Duration::from_secs(1));
    let closed = script.session.close(script.now).unwrap();
    script.run();
    assert!(matches!(script.reply(closed), Some(Ok(_))));
    assert_eq!(script.count(|event| matches!(event, Event::Recovered { .. })), 0, "{:?}", script.events);
}

#[test]
fn nothing_is_declared_after_a_close() {
    let mut script = Script::new(Recovery::default());
    let channel = script.channel();
    for name in ["a", "b"] {
        let token = script.call(channel, declare(name, false));
        script.run();
        script.reply(token).unwrap().unwrap();
    }
    script.act = Box::new(|channel, method| match method {
        Method::QueueDeclare(_) => refuse_on(channel, ReplyCode::RESOURCE_LOCKED, method),
        Method::ConnectionClose(_) => Act::Nothing,
        _ => Act::Answer,
    });
    script.cut();
    script.pass(Duration::from_millis(150));
    let _ = script.session.close(script.now).unwrap();
    script.pass(Duration::from_secs(4));
    assert!(matches!(script.sent.last(), Some((0, Method::ConnectionClose(_)))), "{:?}", script.sent);
    script.pass(Duration::from_secs(60));
    let is_told = |event: &Event| matches!(event, Event::Degraded { .. } | Event::Recovered { .. });
    assert_eq!(script.count(is_told), 0, "{:?}", script.events);
    assert!(script.session.close_reason().is_some());
}

#[test]
fn who_does_not_read_does_not_blame_the_server() {
    let mut script = Script::new(Recovery::default());
    let channel = script.channel();
    let _ = script.consume(channel, "c");
    script.act = Box::new(|_, method| match method {
        Method::BasicConsume(_) => Act::Nothing,
        _ => Act::Answer,
    });
    script.cut();
    script.pass(Duration::from_secs(1));
    script.session.set_paused(true, script.now);
    script.pass(Duration::from_secs(300));
    assert_eq!(script.dials, 2, "{:?}", script.events);
    script.session.set_paused(false, script.now);
    script.say(channel.number(), basic::ConsumeOk { consumer_tag: ShortStr::from_static("c") });
    script.run();
    assert!(script.session.is_open());
}

#[test]
fn a_server_that_allows_fewer_channels_gets_no_more() {
    let mut script = Script::new(Recovery::default());
    let channels: Vec<ChannelId> = (0..10).map(|_| script.channel()).collect();
    for channel in &channels[5..] {
        let _ = script.session.close_channel(*channel, script.now).unwrap();
    }
    script.run();
    script.tune.channel_max = 4;
    script.cut();
    script.pass(Duration::from_secs(1));
    assert!(script.session.is_open());
    let refused = script.session.open_channel(script.now);
    assert_eq!(refused.err(), Some(CommandError::TooManyChannels(3)));
    script.tune.channel_max = 2047;
    script.cut();
    script.pass(Duration::from_secs(1));
    let numbers: Vec<u16> = (0..8).map(|_| script.channel().number()).collect();
    assert_eq!(numbers, [4, 5, 6, 7, 8, 9, 10, 11], "every number is used again");
}

#[test]
fn a_channel_that_nobody_was_given_does_not_come_back() {
    let mut script = Script::new(Recovery::default());
    script.act = Box::new(|_, method| match method {
        Method::ChannelOpen(_) => refuse(ReplyCode::INTERNAL_ERROR, method),
        _ => Act::Answer,
    });
    let (_, token) = script.session.open_channel(script.now).unwrap();
    script.run();
    assert!(matches!(script.reply(token), Some(Err(_))));
    script.act = Box::new(|_, _| Act::Answer);
    script.pass(Duration::from_secs(1));
    assert!(script.session.is_open());
    let opened = script.sent.iter().filter(|(_, method)| matches!(method, Method::ChannelOpen(_))).count();
    assert_eq!(opened, 0, "{:?}", script.sent);
}

#[test]
fn a_consumer_that_ends_the_connection_is_left_out() {
    for names_it in [true, false] {
        let mut script = Script::new(Recovery::default());
        let channels = [script.channel(), script.channel()];
        let _ = script.consume(channels[0], "good");
        let bad = script.consume(channels[1], "bad");
        let _ = script.consume(channels[1], "better");
        script.act = Box::new(move |_, method| match method {
            Method::BasicConsume(consume) if consume.consumer_tag == ShortStr::from_static("bad") => {
                let Act::Say(0, Method::ConnectionClose(mut close)) =
                    refuse(ReplyCode::NOT_IMPLEMENTED, method)
                else {
                    unreachable!()
                };
                if !names_it {
                    (close.class_id, close.method_id) = (0, 0);
                }
                Act::Say(0, close.into())
            }
            _ => Act::Answer,
        });
        script.cut();
        script.pass(Duration::from_secs(60));
        assert!(script.session.is_open(), "{:?}", script.events);
        assert!(script.dials < 6, "{}", script.dials);
        let ended =
            |event: &Event| matches!(event, Event::ConsumerNotRestored { consumer, .. } if *consumer == bad);
        assert_eq!(script.count(ended), 1);
        assert_eq!(script.count(|event| matches!(event, Event::ConsumerNotRestored { .. })), 1);
        assert_eq!(script.count(|event| matches!(event, Event::Degraded { .. })), 1);
    }
}

#[test]
fn who_waits_for_a_lock_does_not_blame_the_server() {
    let config = Config { call_timeout: Duration::from_secs(1), ..Config::default() };
    let mut script = Script::with(config, Recovery::default());
    let channel = script.channel();
    let consume =
        basic::Consume { exclusive: true, consumer_tag: ShortStr::from_static("c"), ..Default::default() };
    let token = script.call(channel, consume);
    script.run();
    script.reply(token).unwrap().unwrap();
    script.act = Box::new(|channel, method| match method {
        Method::BasicConsume(_) => refuse_on(channel, ReplyCode::ACCESS_REFUSED, method),
        _ => Act::Answer,
    });
    script.cut();
    script.pass(Duration::from_secs(30));
    script.act = Box::new(|_, _| Act::Answer);
    script.pass(Duration::from_secs(10));
    assert!(script.session.is_open(), "{:?}", script.events);
    assert_eq!(script.dials, 2, "{:?}", script.events);
    assert_eq!(script.count(|event| matches!(event, Event::ConsumerNotRestored { .. })), 0);
}

/// As a quorum queue without a leader: nothing behind it on its channel is answered either.
fn never_answers(is_it: impl Fn(&Method) -> bool + 'static) -> Box<Acting> {
    let mut stuck = BTreeSet::new();
    Box::new(move |channel, method| {
        if let Method::ConnectionStartOk(_) = method {
            stuck.clear(); // another connection
        }
        if is_it(method) {
            stuck.insert(channel);
        }
        if stuck.contains(&channel) { Act::Nothing } else { Act::Answer }
    })
}

#[test]
fn what_the_server_never_answers_is_left_out_and_the_rest_goes_on() {
    for what in ["consumer", "queue"] {
        let config = Config { heartbeat: Heartbeat::Off, ..Config::default() };
        let mut script = Script::with(config, Recovery::default());
        let channels = [script.channel(), script.channel()];
        let _ = script.call(channels[0], declare("good", false));
        let _ = script.call(channels[0], declare("bad", false));
        let good = script.consume(channels[0], "good");
        let bad = script.consume(channels[1], "bad");
        let better = script.consume(channels[1], "better");
        script.act = match what {
            "consumer" => never_answers(
                |method| matches!(method, Method::BasicConsume(consume) if consume.consumer_tag.as_bytes() == b"bad"),
            ),
            _ => never_answers(
                |method| matches!(method, Method::QueueDeclare(declare) if declare.queue.as_bytes() == b"bad"),
            ),
        };
        script.cut();
        // Once may be the network's doing.
        script.pass_with_a_living_server(Duration::from_secs(40));
        assert_eq!(script.dials, 3, "{:?}", script.events);
        assert_eq!(script.count(|event| matches!(event, Event::Degraded { .. })), 0);
        script.pass_with_a_living_server(Duration::from_secs(30));
        assert_eq!(script.dials, 4, "{:?}", script.events);
        assert!(script.session.is_open(), "{:?}", script.events);
        let degraded: Vec<_> = script
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Degraded { entity, reason } => Some((&**entity, reason)),
                _ => None,
            })
            .collect();
        let [(entity, Refused::Unanswered)] = degraded[..] else { panic!("{degraded:?}") };
        assert_eq!(matches!(entity, Entity::Consumer(_)), what == "consumer", "{entity}");
        let resumed = |which| {
            script.count(|event| matches!(event, Event::ConsumerResumed { consumer } if *consumer == which))
        };
        let ended = script.count(|event| matches!(event, Event::ConsumerNotRestored { .. }));
        assert!(resumed(good) > 0 && resumed(better) > 0);
        assert_eq!((resumed(bad) == 0, ended), (what == "consumer", usize::from(what == "consumer")));
    }
}

#[test]
fn what_was_left_without_an_answer_before_a_recovery_is_not_held_against_it() {
    let config = Config { heartbeat: Heartbeat::Off, ..Config::default() };
    let mut script = Script::with(config, Recovery::default());
    let channel = script.channel();
    let _ = script.consume(channel, "c");
    for _ in 0..3 {
        script.act = never_answers(|method| matches!(method, Method::BasicConsume(_)));
        script.cut();
        script.pass(Duration::from_secs(10));
        assert!(!script.session.is_open());
        script.act = Box::new(|_, _| Act::Answer);
        script.pass(Duration::from_secs(30));
        assert!(script.session.is_open());
    }
    assert_eq!(script.count(|event| matches!(event, Event::Degraded { .. })), 0);
}

#[test]
fn a_channel_with_a_transaction_ends_with_its_connection_and_the_others_come_back() {
    let mut script = Script::new(Recovery::default());
    let channels = [script.channel(), script.channel()];
    script.act = Box::new(|channel, method| match method {
        Method::TxSelect(_) => Act::Say(channel, tx::SelectOk {}.into()),
        Method::TxCommit(_) => Act::Nothing,
        _ => Act::Answer,
    });
    let selected = script.call(channels[0], tx::Select {});
    script.run();
    script.reply(selected).unwrap().unwrap();
    let commit = script.call(channels[0], tx::Commit {});
    script.run();
    script.cut();
    let lost = script.reply(commit).unwrap();
    assert!(
        matches!(&lost, Err(CallError::Closed(reason)) if matches!(**reason, CloseReason::Lost(_))),
        "{lost:?}"
    );
    let closed =
        |event: &Event| matches!(event, Event::ChannelClosed { channel, .. } if *channel == channels[0]);
    assert_eq!(script.count(closed), 1);
    script.pass(Duration::from_secs(1));
    assert!(script.session.is_open());
    assert!(script.session.call(channels[0], tx::Select {}, script.now).is_err());
    let declared = script.call(channels[1], declare("a", false));
    script.run();
    script.reply(declared).unwrap().unwrap();
}
