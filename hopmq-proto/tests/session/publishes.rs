use std::time::Duration;

use bytes::Bytes;
use hopmq_proto::Engine;
use hopmq_proto::amqp::{Properties, Publish, ShortStr, queue};
use hopmq_proto::client::{
    CallError, CloseReason, CommandError, Config, Confirmation, Event, Heartbeat, PublishError, Recovery,
    Token, WhenLost,
};

use crate::net::Net;

fn durable(name: &'static str) -> queue::Declare {
    queue::Declare { queue: ShortStr::from_static(name), durable: true, ..queue::Declare::default() }
}

#[test]
fn what_was_on_its_way_is_sent_again_in_order_and_marked() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.confirms(channel);
    net.declare(channel, durable("q"));
    let lost: Vec<_> = ["a", "b", "c"].map(|body| net.publish(channel, "q", body, WhenLost::Resend)).into();
    net.cut();
    let held = net.publish(channel, "q", "d", WhenLost::Resend);
    assert!(lost.iter().all(|token| net.fate(*token).is_none()));
    net.pass(Duration::from_secs(1));
    assert!(lost.iter().chain([&held]).all(|token| net.fate(*token) == Some(true)), "{:?}", net.events);
    let consumer = net.consume(channel, &ShortStr::from_static("q"));
    let expected = [("a", true), ("b", true), ("c", true), ("d", false)];
    assert_eq!(net.delivered(consumer), expected.map(|(body, marked)| (body.to_owned(), marked)));
}

#[test]
fn what_is_confirmed_is_never_sent_again() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.confirms(channel);
    net.declare(channel, durable("q"));
    let token = net.publish(channel, "q", "a", WhenLost::Resend);
    net.run();
    assert_eq!(net.fate(token), Some(true));
    net.cut_and_recover();
    net.cut_and_recover();
    assert_eq!(net.fate(token), Some(true));
    let consumer = net.consume(channel, &ShortStr::from_static("q"));
    assert_eq!(net.delivered(consumer), [("a".to_owned(), false)]);
}

#[test]
fn a_policy_decides_what_becomes_of_a_publish() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.confirms(channel);
    net.declare(channel, durable("q"));
    let [resent, hold, fail] = [WhenLost::Resend, WhenLost::Hold, WhenLost::Fail]
        .map(|policy| net.publish(channel, "q", "x", policy));
    net.cut();
    assert_eq!([resent, hold, fail].map(|token| net.fate(token)), [None, Some(false), Some(false)]);
    let held = net.publish(channel, "q", "held", WhenLost::Hold);
    let publish = Publish { routing_key: b"q", ..Publish::default() };
    let (properties, body) = (Properties::new(), Bytes::from_static(b"never"));
    let refused = net.session.publish_with(channel, &publish, &properties, &body, WhenLost::Fail, net.now);
    assert_eq!(refused, Err(PublishError::Command(CommandError::Disconnected)));
    net.pass(Duration::from_secs(1));
    assert_eq!([resent, held].map(|token| net.fate(token)), [Some(true), Some(true)]);
    let consumer = net.consume(channel, &ShortStr::from_static("q"));
    assert_eq!(net.delivered(consumer), [("x".to_owned(), true), ("held".to_owned(), false)]);
}

#[test]
fn a_large_backlog_is_sent_as_the_outbox_empties() {
    let mut net = Net::new(Recovery::default());
    let channel = net.channel();
    net.confirms(channel);
    net.declare(channel, durable("q"));
    net.cut();
    let body = Bytes::from(vec![7; 200_000]);
    let publish = Publish { routing_key: b"q", ..Publish::default() };
    let tokens: Vec<_> = (0..100)
        .map(|_| {
            let published = net.session.publish(channel, &publish, &Properties::new(), &body, net.now);
            published.unwrap().unwrap()
        })
        .collect();
    let mut most = 0;
    for _ in 0..100 {
        net.pass(Duration::from_millis(10));
        most = most.max(net.session.outbox().len());
    }
    assert!(tokens.iter().all(|token| net.fate(*token) == Some(true)));
    assert!(most < 2 << 20, "{most} bytes waited to be written");
}

/// Messages of a backlog, and a session that has just sent what its outbox takes of them.
fn with_a_backlog() -> (Net, Vec<Token>) {
    let config = Config { heartbeat: Heartbeat::Off, max_outbox: 4000, ..Config::default() };
    let mut net = Net::with(config, Recovery::default(), 1);
    let channel = net.channel();
    net.confirms(channel);
    net.declare(channel, durable("q"));
    net.cut();
    let body = Bytes::from(vec![7; 3000]);
    let publish = Publish { routing_key: b"q", ..Publish::default() };
    let tokens = (0..4).map(|_| {
        let published = net.session.publish(channel, &publish, &Properties::new(), &body, net.now);
        published.unwrap().unwrap()
    });
    let tokens = tokens.collect();
    net.now = net.session.poll_timeout().expect("it dials again");
    net.session.handle_timeout(net.now);
    while net.session.outbox().len() < 4000 {
        assert!(net.step(), "nothing of the backlog is sent");
    }
    (net, tokens)
}

#[test]
fn what_is_sent_of_a_backlog_has_a_deadline_before_the_rest_is_sent() {
    let (mut net, tokens) = with_a_backlog();
    let end = net.now + Config::default().confirm_timeout;
    while net.now < end {
        net.now = net.session.poll_timeout().expect("two wait for a confirm");
        net.session.handle_timeout(net.now);
    }
    assert_eq!(net.now, end);
    net.run();
    let timed_out = |token| {
        let mut results = net.events.iter().filter_map(|event| match event {
            Event::Confirmed { token: t, result } if *t == token => Some(result),
            _ => None,
        });
        results.any(|result| matches!(result, Err(CallError::TimedOut)))
    };
    assert_eq!([0, 1, 2, 3].map(|n: usize| timed_out(tokens[n])), [true, true, false, false]);
    assert_eq!([2, 3].map(|n: usize| net.fate(tokens[n])), [Some(true); 2], "they were not sent before");
}

#[test]
fn what_is_kept_is_bounded_in_bytes() {
    let mut net = Net::new(Recovery { max_unconfirmed_bytes: 10_000, ..Recovery::default() });
    let channel = net.channel();
    net.confirms(channel);
    net.declare(channel, durable("q"));
    net.cut();
    let body = Bytes::from(vec![7; 1000]);
    let publish = Publish { routing_key: b"q", ..Publish::default() };
    let accepted = (0..100)
        .take_while(|_| net.session.publish(channel, &publish, &Properties::new(), &body, net.now).is_ok())
        .count();
    assert!((5..10).contains(&accepted), "{accepted}");
    net.events.clear();
    net.pass(Duration::from_secs(1));
    assert!(net.events.iter().any(|event| matches!(event, Event::Writable)), "{:?}", net.events);
    assert!(net.session.publish(channel, &publish, &Properties::new(), &body, net.now).is_ok());
}

/// The body of a publish that was given back, and why it was; nothing when the server may have it.
fn given_back(net: &Net, token: Token) -> Option<(Bytes, CloseReason)> {
    net.events.iter().find_map(|event| match event {
        Event::Confirmed { token: t, result: Ok(Confirmation::Unsent(unsent)) } if *t == token => {
            Some((unsent.body.clone(), (*unsent.reason).clone()))
        }
        _ => None,
    })
}

#[test]
fn what_was_held_and_never_sent_is_given_back() {
    let mut net = Net::new(Recovery { max_rounds: Some(2), ..Recovery::default() });
    let [channel, other] = [net.channel(), net.channel()];
    net.confirms(channel);
    net.confirms(other);
    net.declare(channel, durable("q"));
    let under_way = net.publish(channel, "q", "under way", WhenLost::Resend);
    net.up[0] = false;
    net.cut();
    let publish = Publish { routing_key: b"q", ..Publish::default() };
    let held = [1, 1000].map(|size| {
        let body = Bytes::from(vec![7; size]);
        let token = net.session.publish(channel, &publish, &Properties::new(), &body, net.now);
        (token.unwrap().unwrap(), body)
    });
    let of_a_channel = net.publish(other, "q", "of a channel", WhenLost::Hold);
    let _closing = net.session.close_channel(other, net.now).unwrap();
    net.run();
    let back = given_back(&net, of_a_channel);
    assert_eq!(back, Some(("of a channel".into(), CloseReason::Requested)), "{:?}", net.events);

    net.pass(Duration::from_secs(10));
    let lost = net.session.close_reason().expect("it has given up").clone();
    for (token, body) in held {
        assert_eq!(given_back(&net, token), Some((body, (*lost).clone())));
    }
    assert_eq!(given_back(&net, under_way), None);
    assert_eq!(net.fate(under_way), Some(false));
}
