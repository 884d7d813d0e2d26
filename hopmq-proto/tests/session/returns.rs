use std::time::Duration;

use hopmq_proto::amqp::{ShortStr, basic, queue};
use hopmq_proto::client::{
    CallError, CloseReason, EntityFilter, Event, Recovery, RecoveryMode, Reply, Settle, SettleError, Token,
    WhenLost,
};
use hopmq_proto::{Engine, Want};

use crate::net::Net;

fn exclusive(name: &'static str) -> queue::Declare {
    queue::Declare { queue: ShortStr::from_static(name), exclusive: true, ..queue::Declare::default() }
}

#[test]
fn a_consumer_comes_back_and_takes_what_is_published() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.confirms(channel);
    net.call(channel, basic::Qos { prefetch_size: 0, prefetch_count: 3, global: false });
    net.declare(channel, exclusive("q"));
    let consumer = net.consume(channel, &ShortStr::from_static("q"));
    net.cut_and_recover();
    for body in ["1", "2", "3", "4", "5"] {
        let _ = net.publish(channel, "q", body, WhenLost::Resend);
    }
    net.run();
    let bodies: Vec<_> = net.delivered(consumer).into_iter().map(|(body, _)| body).collect();
    assert_eq!(bodies, ["1", "2", "3"], "its prefetch came back too");
    assert!(
        net.events
            .iter()
            .any(|event| matches!(event, Event::ConsumerResumed { consumer: c } if *c == consumer))
    );
}

#[test]
fn a_delivery_of_before_is_stale() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.confirms(channel);
    net.declare(channel, queue::Declare { durable: true, ..exclusive("q") });
    let queue = ShortStr::from_static("q");
    let consumer = net.consume(channel, &queue);
    let _ = net.publish(channel, "q", "a", WhenLost::Resend);
    net.run();
    let at = net.events.iter().position(|event| matches!(event, Event::Delivery { .. })).unwrap();
    let Event::Delivery { delivery, .. } = net.events.remove(at) else { unreachable!() };
    net.cut_and_recover();
    let settled = net.session.settle(delivery.id.unwrap(), Settle::Ack { multiple: false }, net.now);
    assert_eq!(settled, Err(SettleError::Stale));
    let _ = consumer;
}

#[test]
fn a_queue_that_the_server_named_gets_its_new_name_everywhere() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.confirms(channel);
    let old = net.declare(channel, exclusive(""));
    let bind = queue::Bind {
        queue: old.clone(),
        exchange: ShortStr::from_static("amq.fanout"),
        ..queue::Bind::default()
    };
    net.call(channel, bind);
    let consumer = net.consume(channel, &old);
    net.cut_and_recover();
    let renamed = net.events.iter().find_map(|event| match event {
        Event::QueueRenamed { old, new } => Some((old.clone(), new.clone())),
        _ => None,
    });
    let (was, new) = renamed.expect("it has another name");
    assert!(was == old && new != old);
    let _ = net.publish(channel, old.as_str().unwrap(), "by the old name", WhenLost::Resend);
    let _ = net.publish(channel, new.as_str().unwrap(), "by the new name", WhenLost::Resend);
    net.run();
    let bodies: Vec<_> = net.delivered(consumer).into_iter().map(|(body, _)| body).collect();
    assert_eq!(bodies, ["by the old name", "by the new name"]);
}

#[test]
fn calls_that_can_be_repeated_are_and_the_others_fail() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    let declare = net.session.call(channel, exclusive("q"), net.now).unwrap();
    let get = basic::Get { queue: ShortStr::from_static("q"), no_ack: false };
    let get = net.session.call(channel, get, net.now).unwrap();
    net.cut();
    let failed = net.events.iter().any(
        |event| matches!(event, Event::Reply { token, result: Err(CallError::Closed(_)) } if *token == get),
    );
    assert!(failed, "{:?}", net.events);
    let consume = basic::Consume { queue: ShortStr::from_static("q"), ..basic::Consume::default() };
    let consume = net.session.call(channel, consume, net.now).unwrap();
    let (opened, opening) = net.session.open_channel(net.now).unwrap();
    net.pass(Duration::from_secs(1));
    assert!(matches!(net.reply(declare), Some(Reply::Method(_))));
    assert!(matches!(net.reply(consume), Some(Reply::Consumer { .. })));
    assert!(matches!(net.reply(opening), Some(Reply::Channel(id)) if id == opened));
}

#[test]
fn a_call_has_its_deadline_while_the_connection_is_away() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.up[0] = false;
    net.cut();
    let call = net.session.call(channel, exclusive("q"), net.now).unwrap();
    net.pass(Duration::from_secs(31));
    let timed_out = net.events.iter().any(
        |event| matches!(event, Event::Reply { token, result: Err(CallError::TimedOut) } if *token == call),
    );
    assert!(timed_out, "{:?}", net.events);
}

#[test]
fn it_gives_up_with_the_first_cause() {
    let mut net = Net::new(Recovery { max_rounds: Some(3), ..Recovery::default() });
    let channel = net.channel();
    net.confirms(channel);
    let held = net.publish(channel, "q", "a", WhenLost::Resend);
    net.up[0] = false;
    net.cut();
    net.pass(Duration::from_secs(60));
    assert_eq!(net.dialled.len(), 1 + 3);
    assert_eq!(net.fate(held), Some(false));
    assert!(matches!(net.session.close_reason().map(|reason| &**reason), Some(CloseReason::Lost(_))));
    assert!(
        matches!(net.events.last(), Some(Event::Closed { reason }) if matches!(**reason, CloseReason::Lost(_)))
    );
    assert_eq!(net.session.want(), Want::Shutdown);
    assert_eq!(net.session.poll_timeout(), None);
}

#[test]
fn without_recovery_it_ends_with_its_first_loss() {
    let mut net = Net::new(Recovery::off());
    net.channel();
    net.cut();
    assert!(matches!(net.events.last(), Some(Event::Closed { .. })));
    assert_eq!(net.session.want(), Want::Shutdown);
}

#[test]
fn the_first_connect_fails_when_every_endpoint_has() {
    for (mode, attempts) in [(RecoveryMode::Off, 2), (RecoveryMode::AfterFirstSuccess, 2)] {
        let recovery = Recovery { mode, ..Recovery::default() };
        let mut net = Net::with(Default::default(), recovery, 2);
        assert_eq!(net.dialled, [0]); // it was up
        net.up = vec![false; 2];
        let recovery = Recovery { mode, ..Recovery::default() };
        net.session = hopmq_proto::client::Session::new(Default::default(), recovery, 2, 1, net.now);
        net.dialled.clear();
        net.run();
        assert_eq!(net.dialled.len(), attempts);
        assert!(net.session.close_reason().is_some());
    }
}

#[test]
fn close_wins_over_recovery_at_any_moment() {
    for wait in [0, 1, 40, 90, 150, 1000] {
        let mut net = Net::new(Recovery::default());
        let channel = net.channel();
        net.confirms(channel);
        let token = net.publish(channel, "q", "a", WhenLost::Resend);
        net.up[0] = false;
        net.cut();
        net.pass(Duration::from_millis(wait));
        let close = net.session.close(net.now).unwrap();
        net.run();
        assert!(matches!(net.reply(close), Some(Reply::Closed)));
        assert_eq!(net.fate(token), Some(false));
        let dialled = net.dialled.len();
        net.up[0] = true;
        net.pass(Duration::from_secs(1000));
        assert_eq!(net.dialled.len(), dialled, "nothing is dialled after the close");
        assert_eq!(net.session.want(), Want::Shutdown);
    }
}

#[test]
fn a_consumer_whose_queue_is_gone_ends_and_the_rest_comes_back() {
    let filter = EntityFilter::new(|entity| entity.to_string() != "queue \"gone\"");
    let mut net = Net::new(Recovery { filter: Some(filter), ..Recovery::default() });
    let channel = net.channel();
    net.confirms(channel);
    net.declare(channel, exclusive("first"));
    net.declare(channel, exclusive("gone"));
    net.declare(channel, exclusive("last"));
    let [first, gone, last] =
        ["first", "gone", "last"].map(|queue| net.consume(channel, &ShortStr::from_static(queue)));
    net.cut_and_recover();
    let ended: Vec<_> = net
        .events
        .iter()
        .filter_map(|event| match event {
            Event::ConsumerNotRestored { consumer, .. } => Some(*consumer),
            _ => None,
        })
        .collect();
    assert_eq!(ended, [gone]);
    assert!(net.events.iter().any(|event| matches!(event, Event::Degraded { .. })));
    let _ = net.publish(channel, "first", "1", WhenLost::Resend);
    let _ = net.publish(channel, "last", "2", WhenLost::Resend);
    net.run();
    assert_eq!((net.delivered(first).len(), net.delivered(last).len()), (1, 1));
}

#[test]
fn a_queue_that_the_dead_connection_still_locks_is_tried_again() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.confirms(channel);
    net.declare(channel, exclusive("mine"));
    let consumer = net.consume(channel, &ShortStr::from_static("mine"));
    let dead = net.cut_unnoticed();
    net.pass(Duration::from_secs(5));
    assert!(!net.session.is_open(), "the server thinks that another has the queue");
    net.broker.connection(dead).unwrap().handle_eof(net.now);
    net.pass(Duration::from_secs(10));
    assert!(net.session.is_open());
    let _ = net.publish(channel, "mine", "a", WhenLost::Resend);
    net.run();
    assert_eq!(net.delivered(consumer).len(), 1);
    assert!(!net.events.iter().any(|event| matches!(event, Event::Degraded { .. })));
}

/// An exclusive consumer whose connection is cut, and the server does not notice.
fn exclusive_consumer(net: &mut Net) -> (Token, hopmq_proto::broker::ConnectionId) {
    let channel = net.channel();
    net.declare(channel, queue::Declare { exclusive: false, durable: true, ..exclusive("jobs") });
    let queue = ShortStr::from_static("jobs");
    let consume = basic::Consume { queue, exclusive: true, ..basic::Consume::default() };
    let consumer = net.session.call(channel, consume, net.now).unwrap();
    net.run();
    net.reply(consumer).unwrap();
    (consumer, net.cut_unnoticed())
}

#[test]
fn an_exclusive_consumer_waits_until_the_server_has_noticed_the_loss() {
    let mut net = Net::new(Recovery::default());
    let (consumer, dead) = exclusive_consumer(&mut net);
    net.pass(Duration::from_secs(40));
    assert!(!net.session.is_open(), "the dead connection has its consumer still");
    net.broker.connection(dead).unwrap().handle_eof(net.now);
    net.pass(Duration::from_secs(6));
    assert!(net.session.is_open());
    let resumed = |event: &Event| matches!(event, Event::ConsumerResumed { consumer: c } if *c == consumer);
    assert!(net.events.iter().any(resumed), "{:?}", net.events);
    assert!(!net.events.iter().any(|event| matches!(event, Event::Degraded { .. })));
}

#[test]
fn an_exclusive_consumer_that_stays_locked_out_is_given_up() {
    let mut net = Net::new(Recovery { locked_for: Duration::from_secs(3), ..Recovery::default() });
    let (consumer, _) = exclusive_consumer(&mut net);
    net.pass(Duration::from_secs(10));
    assert!(net.session.is_open());
    let ended =
        |event: &Event| matches!(event, Event::ConsumerNotRestored { consumer: c, .. } if *c == consumer);
    assert!(net.events.iter().any(ended), "{:?}", net.events);
    assert!(net.events.iter().any(|event| matches!(event, Event::Degraded { .. })));
    let left_out = net.events.iter().any(|event| match event {
        Event::Recovered { outcomes, .. } => outcomes.last().is_some_and(|last| last.result.is_err()),
        _ => false,
    });
    assert!(left_out, "{:?}", net.events);
}
