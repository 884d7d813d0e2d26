//! Who is to blame when something does not come back, and who is not.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hopmq_proto::amqp::{Method, Properties, Publish, ShortStr, basic, channel, confirm, connection, queue};
use hopmq_proto::client::{Config, Event, Heartbeat, Recovery};

use crate::script::{Act, Acting, Script};

/// The deadlines of calls are the only ones.
fn script() -> Script {
    Script::with(Config { heartbeat: Heartbeat::Off, ..Config::default() }, Recovery::default())
}

fn declare(name: &'static str) -> queue::Declare {
    queue::Declare { queue: ShortStr::from_static(name), durable: true, ..Default::default() }
}

fn degraded(script: &Script) -> Vec<String> {
    let events = script.events.iter();
    let degraded = events.filter_map(|event| match event {
        Event::Degraded { entity, .. } => Some(entity.to_string()),
        _ => None,
    });
    degraded.collect()
}

#[test]
fn a_server_that_answers_slowly_is_not_given_up() {
    let mut script = script();
    let channel = script.channel();
    let tags: [&str; 20] =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    for tag in tags {
        let _ = script.consume(channel, tag);
    }
    let asked: Rc<RefCell<VecDeque<ShortStr>>> = Rc::default();
    let asks = asked.clone();
    script.act = Box::new(move |_, method| match method {
        Method::BasicConsume(consume) => {
            asks.borrow_mut().push_back(consume.consumer_tag.clone());
            Act::Nothing
        }
        _ => Act::Answer,
    });
    script.cut();
    for _ in tags {
        script.pass(Duration::from_secs(4));
        let consumer_tag = asked.borrow_mut().pop_front().expect("it is asked for");
        script.say(channel.number(), basic::ConsumeOk { consumer_tag });
        script.run();
    }
    assert!(script.session.is_open());
    assert_eq!((script.dials, degraded(&script).len()), (2, 0));
}

#[test]
fn outcomes_are_told_once_however_often_a_recovery_begins_anew() {
    let mut script = script();
    let channel = script.channel();
    let _ = script.call(channel, declare("only"));
    let _ = script.consume(channel, "c");
    script.act = Box::new(|_, method| match method {
        Method::BasicConsume(_) => Act::Nothing,
        _ => Act::Answer,
    });
    for _ in 0..10 {
        script.cut();
        script.pass(Duration::from_secs(10));
    }
    script.act = Box::new(|_, _| Act::Answer);
    script.cut();
    script.pass(Duration::from_secs(10));
    let outcomes = script.events.iter().find_map(|event| match event {
        Event::Recovered { outcomes, .. } => Some(outcomes.len()),
        _ => None,
    });
    assert_eq!(outcomes, Some(1));
}

#[test]
fn what_was_answered_in_between_is_not_left_out() {
    let mut script = script();
    let channel = script.channel();
    let _ = script.call(channel, declare("only"));
    let _ = script.consume(channel, "c");
    let silent = |queue: bool| -> Box<Acting> {
        Box::new(move |_, method| match method {
            Method::QueueDeclare(_) if queue => Act::Nothing,
            Method::BasicConsume(_) if !queue => Act::Nothing,
            _ => Act::Answer,
        })
    };
    script.act = silent(true);
    script.cut();
    script.pass(Duration::from_secs(29));
    script.act = silent(false);
    script.pass(Duration::from_secs(10)); // given up, and on the next one the queue is answered
    assert_eq!(script.dials, 3);
    script.act = silent(true);
    script.cut();
    script.pass(Duration::from_secs(40));
    assert_eq!(degraded(&script), [""; 0]);
}

/// Frozen, or behind a network that swallows everything, whatever it was asked last is not what is wrong.
#[test]
fn a_server_that_says_nothing_at_all_is_not_held_against_what_it_was_asked() {
    for silent in [3, 4] {
        for consumer in [false, true] {
            let mut script = script();
            let channel = script.channel();
            let _ = script.call(channel, declare("q"));
            let _ = script.consume(channel, "c");
            script.act = Box::new(move |_, method| match method {
                Method::QueueDeclare(_) if !consumer => Act::Nothing,
                Method::BasicConsume(_) if consumer => Act::Nothing,
                _ => Act::Answer,
            });
            script.cut();
            while script.dials < 1 + silent {
                script.pass(Duration::from_secs(1)); // on the last one it has been asked, too
            }
            script.act = Box::new(|_, _| Act::Answer);
            script.pass(Duration::from_secs(40));
            assert!(script.session.is_open());
            assert_eq!(degraded(&script).is_empty(), silent < 4, "after {silent}: {:?}", script.events);
        }
    }
}

#[test]
fn what_needs_what_is_left_out_is_told_too() {
    let mut script = script();
    let channel = script.channel();
    let binds = |channel, method: &Method| match method {
        Method::QueueBind(_) => Act::Say(channel, queue::BindOk {}.into()),
        _ => Act::Answer,
    };
    script.act = Box::new(binds);
    let _ = script.call(channel, declare("q"));
    let bind = queue::Bind {
        queue: ShortStr::from_static("q"),
        exchange: ShortStr::from_static("amq.topic"),
        routing_key: ShortStr::from_static("k"),
        ..Default::default()
    };
    let _ = script.call(channel, bind);
    let consumer = script.consume(channel, "c"); // of the same queue
    script.act = Box::new(|_, method| match method {
        Method::QueueDeclare(_) | Method::QueueBind(_) => Act::Nothing,
        _ => Act::Answer,
    });
    script.cut();
    script.pass_with_a_living_server(Duration::from_secs(100));
    assert!(script.session.is_open());
    assert_eq!(script.dials, 4, "two that were given up, and one without any of it");
    let told = degraded(&script);
    assert_eq!(told.len(), 3, "{told:?}");
    let ended =
        |event: &Event| matches!(event, Event::ConsumerNotRestored { consumer: c, .. } if *c == consumer);
    assert_eq!(script.count(ended), 1);
}

#[test]
fn what_was_held_back_is_no_answer_however_large() {
    let mut script = script();
    let channel = script.channel();
    let _ = script.call(channel, confirm::Select::default());
    script.run();
    script.cut();
    let publish = Publish { routing_key: b"q", ..Publish::default() };
    let body = Bytes::from(vec![0; 5 << 20]);
    for _ in 0..3 {
        let published = script.session.publish(channel, &publish, &Properties::default(), &body, script.now);
        assert!(published.unwrap().is_some());
    }
    script.act = Box::new(|_, method| match method {
        Method::ConfirmSelect(_) => {
            Act::Say(0, connection::Blocked { reason: ShortStr::from_static("low on memory") }.into())
        }
        _ => Act::Answer,
    });
    script.pass(Duration::from_secs(2));
    script.say(channel.number(), confirm::SelectOk {});
    script.run();
    assert!(script.session.is_open());
    script.say(0, connection::Unblocked {});
    script.pass(Duration::from_secs(1));
    assert!(script.session.is_open(), "{:?}", script.events);
    assert_eq!(script.dials, 2);
}

#[test]
fn a_consumer_that_is_locked_out_is_tried_before_the_others_of_its_channel() {
    let mut script = script();
    let channel = script.channel();
    let before = script.consume(channel, "before");
    let exclusive = basic::Consume {
        queue: ShortStr::from_static("x"),
        consumer_tag: ShortStr::from_static("b"),
        exclusive: true,
        ..Default::default()
    };
    let _ = script.call(channel, exclusive);
    let behind = script.consume(channel, "behind");
    script.act = Box::new(|channel, method| match method {
        Method::BasicConsume(consume) if consume.exclusive => {
            let reply_text = ShortStr::from_static("ACCESS_REFUSED - queue 'x' in exclusive use");
            let close = channel::Close { reply_code: 403, reply_text, class_id: 60, method_id: 20 };
            Act::Say(channel, close.into())
        }
        _ => Act::Answer,
    });
    script.cut();
    script.pass(Duration::from_secs(60));
    assert!(!script.session.is_open(), "it waits");
    let resumed = |script: &Script, which| {
        script.count(|event| matches!(event, Event::ConsumerResumed { consumer } if *consumer == which))
    };
    // Until it was known which one is refused; not with each attempt.
    assert!(resumed(&script, before) <= 2 && resumed(&script, behind) == 0, "{:?}", script.events);
    script.act = Box::new(|_, _| Act::Answer);
    script.pass(Duration::from_secs(6));
    assert!(script.session.is_open());
    assert_eq!(resumed(&script, behind), 1);
    assert_eq!((script.dials, degraded(&script).len()), (2, 0));
}
