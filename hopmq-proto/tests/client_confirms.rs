//! Publisher confirms: which publish an ack or nack is of, and until when it is waited for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use hopmq_proto::Engine;
use hopmq_proto::amqp::{Properties, Publish, ShortStr, WireError, confirm};
use hopmq_proto::client::{
    CallError, CommandError, Config, ConfirmFailures, Confirmation, Event, PeerMisbehaved, PublishError,
    Reply, Token,
};
use support::{Client, Sent, TUNE, ack, nack};

const ACKED: char = 'a';
const NACKED: char = 'n';

/// Publishes nine messages, lets the server confirm some of them, and tells which were resolved, in which order.
fn confirmed(script: &[(u64, bool, char)]) -> Vec<(usize, char)> {
    let mut client = Client::open();
    let id = client.confirming();
    let tokens: Vec<_> = (0..9).map(|_| client.publish(id, "q", b"x")).collect();
    for &(tag, multiple, kind) in script {
        match kind {
            ACKED => client.say(1, ack(tag, multiple)),
            _ => client.say(1, nack(tag, multiple)),
        }
    }
    let resolved = client.confirms().into_iter().map(|(token, result)| {
        let tag = tokens.iter().position(|t| *t == token).unwrap() + 1;
        (tag, if result == Ok(Confirmation::Acked) { ACKED } else { NACKED })
    });
    resolved.collect()
}

fn all(tags: impl IntoIterator<Item = usize>, kind: char) -> Vec<(usize, char)> {
    tags.into_iter().map(|tag| (tag, kind)).collect()
}

#[test]
fn trap_27_single_and_multiple_in_any_order() {
    assert_eq!(confirmed(&[(1, false, ACKED), (2, false, NACKED)]), [(1, ACKED), (2, NACKED)]);
    assert_eq!(confirmed(&[(5, true, ACKED)]), all(1..=5, ACKED));
    assert_eq!(confirmed(&[(9, false, ACKED), (3, false, ACKED)]), all([9, 3], ACKED));
    let holes = [(2, false, NACKED), (4, false, ACKED), (6, true, ACKED)];
    assert_eq!(confirmed(&holes), [(2, NACKED), (4, ACKED), (1, ACKED), (3, ACKED), (5, ACKED), (6, ACKED)]);
    assert_eq!(confirmed(&[(0, true, ACKED)]), all(1..=9, ACKED), "tag 0 is all of them");
    assert_eq!(confirmed(&[(7, true, ACKED), (0, true, NACKED)])[7..], [(8, NACKED), (9, NACKED)]);
    assert_eq!(confirmed(&[(3, true, NACKED)]), all(1..=3, NACKED));
    let alternating = [(2, true, ACKED), (3, false, NACKED), (5, true, ACKED), (9, true, NACKED)];
    assert_eq!(confirmed(&alternating).len(), 9);
}

#[test]
fn what_is_confirmed_twice_is_resolved_once() {
    assert_eq!(confirmed(&[(3, true, ACKED), (2, false, NACKED), (3, true, NACKED)]), all(1..=3, ACKED));
    assert_eq!(confirmed(&[(5, false, ACKED), (5, false, NACKED)]), [(5, ACKED)]);
    assert_eq!(confirmed(&[(0, true, ACKED), (0, true, ACKED)]).len(), 9);
}

#[test]
fn a_confirm_for_what_was_never_published_ends_the_connection() {
    for (tag, multiple) in [(10, false), (10, true), (u64::MAX, true), (0, false)] {
        let mut client = Client::open();
        let id = client.confirming();
        (0..9).for_each(|_| assert!(client.try_publish(id, "q", b"x").is_ok()));
        client.sent();
        client.say(1, ack(tag, multiple));
        assert_eq!(client.misbehaved(503), PeerMisbehaved::UnknownPublish { channel: 1, tag });
    }
    let mut client = Client::open();
    client.channel();
    client.say(1, ack(1, false));
    assert_eq!(client.misbehaved(503), PeerMisbehaved::UnknownPublish { channel: 1, tag: 1 });
}

#[test]
fn trap_28_tags_count_from_confirm_select() {
    let mut client = Client::open();
    let id = client.channel();
    assert_eq!(client.try_publish(id, "q", b"before"), Ok(None));
    let select = client.call(id, confirm::Select { no_wait: false });
    let first = client.publish(id, "q", b"first"); // does not wait for select-ok
    client.say(1, confirm::SelectOk {});
    client.reply(select).unwrap();
    let _ = client.call(id, confirm::Select { no_wait: false }); // changes nothing
    let second = client.publish(id, "q", b"second");
    client.say(1, ack(2, true));
    let tokens: Vec<_> = client.confirms().into_iter().map(|(token, _)| token).collect();
    assert_eq!(tokens, [first, second]);
}

#[test]
fn a_refused_publish_uses_no_tag() {
    let mut client = Client::open();
    let id = client.confirming();
    let long = "k".repeat(256);
    let refused = client.try_publish(id, &long, b"x");
    assert_eq!(refused, Err(PublishError::Command(CommandError::Wire(WireError::ShortStrTooLong(256)))));
    assert!(client.is_quiet());
    let token = client.publish(id, "q", b"x");
    client.say(1, ack(1, false));
    assert_eq!(client.confirms(), [(token, Ok(Confirmation::Acked))]);
}

#[test]
fn a_confirm_times_out_and_comes_too_late_for_anybody() {
    let mut client = Client::open();
    let id = client.confirming();
    let a = client.publish(id, "q", b"a");
    client.pass(Duration::from_secs(20));
    let b = client.publish(id, "q", b"b");
    client.pass(Duration::from_secs(40));
    assert_eq!(client.confirms(), [(a, Err(CallError::TimedOut))]);
    client.say(1, ack(1, false));
    assert!(client.events().is_empty());
    client.say(1, ack(2, false));
    assert_eq!(client.confirms(), [(b, Ok(Confirmation::Acked))]);
}

#[test]
fn every_publish_has_a_deadline_whatever_became_of_those_before_it() {
    let mut client = Client::open();
    let id = client.confirming();
    for round in 0..3 {
        let a = client.publish(id, "q", b"a");
        client.pass(Duration::from_secs(1));
        let b = client.publish(id, "q", b"b");
        if round == 1 {
            client.say(1, ack(3, false)); // `a` of this round; those of the first stay open
            assert_eq!(client.confirms(), [(a, Ok(Confirmation::Acked))]);
        }
        client.pass(Duration::from_secs(60));
        let confirms = client.confirms();
        assert_eq!(confirms.last(), Some(&(b, Err(CallError::TimedOut))), "round {round}");
        assert_eq!(confirms.len(), if round == 1 { 1 } else { 2 });
        assert_eq!(client.engine.poll_timeout(), None);
    }
}

#[test]
fn a_full_window_refuses_until_its_oldest_is_confirmed() {
    let config = Config { max_unconfirmed: 3, ..Config::default() };
    let mut client = Client::open_with(config, TUNE);
    let id = client.confirming();
    let tokens: Vec<_> = (0..3).map(|_| client.publish(id, "q", b"x")).collect();
    client.sent();
    assert_eq!(client.try_publish(id, "q", b"x"), Err(PublishError::Full));
    assert_eq!(client.try_publish(id, "q", b"x"), Err(PublishError::Full));
    client.say(1, ack(2, false));
    assert_eq!(client.confirms(), [(tokens[1], Ok(Confirmation::Acked))], "the oldest is still open");
    assert!(client.sent().is_empty());
    client.say(1, ack(1, false));
    let events = client.events();
    assert!(matches!(events[..], [Event::Confirmed { .. }, Event::Writable]), "{events:?}");
    let token = client.publish(id, "q", b"x");
    client.say(1, ack(4, true));
    assert_eq!(client.confirms(), [(tokens[2], Ok(Confirmation::Acked)), (token, Ok(Confirmation::Acked))]);
    assert!(client.events().is_empty(), "Writable once");
}

#[test]
fn a_limit_of_nothing_is_a_limit_of_one() {
    let config = Config { max_unconfirmed: 0, max_calls: 0, max_outbox: 0, ..Config::default() };
    let mut client = Client::open_with(config, TUNE);
    let id = client.confirming();
    let _ = client.publish(id, "q", b"x");
    assert_eq!(client.try_publish(id, "q", b"x"), Err(PublishError::Full));
    client.sent();
    client.pass(Duration::ZERO);
    client.say(1, ack(1, false));
    client.events();
    let _ = client.publish(id, "q", b"x");
}

#[test]
fn a_large_window_of_publishes_that_time_out_one_by_one_costs_no_square() {
    let mut client = Client::open();
    let id = client.confirming();
    let publish = Publish { routing_key: b"q", ..Default::default() };
    let (none, body) = (Default::default(), Default::default());
    for _ in 0..65_536 {
        client.now = client.now + Duration::from_nanos(1);
        client.engine.publish(id, &publish, &none, &body, client.now).unwrap();
        client.sent();
    }
    client.pass(Duration::from_secs(60)); // one deadline each
    assert_eq!(client.confirms().len(), 65_536);
}

#[test]
fn the_frames_of_a_publish_are_its_method_header_and_body() {
    let mut client = Client::open();
    let id = client.confirming();
    let _ = client.publish(id, "!key", b"body");
    let publish = hopmq_proto::amqp::basic::Publish {
        exchange: ShortStr::empty(),
        routing_key: ShortStr::from_static("!key"),
        mandatory: true,
        immediate: false,
    };
    let frames =
        [Sent::method(1, publish), Sent::Header(1, 4, Default::default()), Sent::Body(1, b"body".to_vec())];
    assert_eq!(client.sent(), frames);
}

/// The only event: everything is resolved, and so much has failed.
fn all_confirmed(client: &mut Client, wait: Token) -> ConfirmFailures {
    match client.reply(wait) {
        Ok(Reply::Confirmed { failures, .. }) => failures,
        other => panic!("{other:?}"),
    }
}

#[test]
fn waiting_for_all_waits_for_all_and_not_the_last() {
    let mut client = Client::open();
    let id = client.confirming();
    for _ in 0..4 {
        let _ = client.publish(id, "q", b"x");
    }
    let wait = client.engine.await_confirms(id).unwrap();
    let _ = client.publish(id, "q", b"behind it");
    for tag in [4, 3, 1, 5] {
        client.say(1, ack(tag, false));
        assert_eq!(client.confirms().len(), 1, "{tag}");
    }
    client.say(1, ack(2, false));
    let events = client.events();
    assert!(
        matches!(&events[..], [Event::Confirmed { .. }, Event::Reply { token, .. }] if *token == wait),
        "{events:?}"
    );
    let again = client.engine.await_confirms(id).unwrap();
    assert_eq!(all_confirmed(&mut client, again), ConfirmFailures::default(), "at once");
}

#[test]
fn waiting_for_all_tells_what_failed_since_the_last_time() {
    let mut client = Client::open();
    let id = client.confirming();
    for key in ["q", "q", "!gone", "q", "q"] {
        let _ = client.publish(id, key, b"x");
    }
    client.say(1, nack(2, true));
    client.say_content(1, support::returned("!gone"), &Properties::new(), b"x");
    client.say(1, ack(4, true));
    client.confirms();
    let waits = [0; 2].map(|_| client.engine.await_confirms(id).unwrap());
    assert!(client.events().is_empty());
    client.pass(Duration::from_secs(60));
    let events = client.events();
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Reply { token, result: Ok(Reply::Confirmed { failures, .. }) } => {
                Some((*token, *failures))
            }
            _ => None,
        })
        .collect();
    let failed = ConfirmFailures { nacked: 2, returned: 1, lost: 1 };
    assert_eq!(
        told,
        [(waits[0], failed), (waits[1], ConfirmFailures::default())],
        "each failure is told once"
    );
    assert_eq!(failed.count(), 4);
}

#[test]
fn who_waits_for_all_is_told_of_the_end_and_may_leave() {
    let mut client = Client::open();
    let id = client.confirming();
    let publish = client.publish(id, "q", b"x");
    let [one, two] = [0; 2].map(|_| client.engine.await_confirms(id).unwrap());
    client.engine.abandon(id, one);
    client.say(1, support::channel_close(404));
    let events = client.events();
    let ended = |event: &Event, of: Token| match event {
        Event::Confirmed { token, result: Err(CallError::Closed(_)) }
        | Event::Reply { token, result: Err(CallError::Closed(_)) } => *token == of,
        _ => false,
    };
    assert!(ended(&events[0], publish) && ended(&events[1], two), "{events:?}");
    assert_eq!(events.len(), 3);
    assert!(matches!(client.engine.await_confirms(id), Err(CommandError::Closed(_))));
    let plain = client.channel();
    let wait = client.engine.await_confirms(plain).unwrap();
    assert_eq!(
        all_confirmed(&mut client, wait),
        ConfirmFailures::default(),
        "without confirms there are none"
    );
}

#[test]
fn failures_that_nobody_was_told_are_told_to_whoever_asks_next() {
    let mut client = Client::open();
    let id = client.confirming();
    for _ in 0..2 {
        let _ = client.publish(id, "q", b"x");
    }
    let wait = client.engine.await_confirms(id).unwrap();
    client.say(1, nack(2, true));
    client.events().into_iter().for_each(|event| {
        if let Event::Reply { token, result: Ok(reply) } = event {
            assert_eq!(token, wait);
            client.engine.give_back(reply, client.now); // whoever waited has gone
        }
    });
    let _ = client.publish(id, "q", b"x");
    client.say(1, nack(3, false));
    client.events();
    let again = client.engine.await_confirms(id).unwrap();
    assert_eq!(all_confirmed(&mut client, again), ConfirmFailures { nacked: 3, returned: 0, lost: 0 });
}

#[test]
fn only_so_many_may_wait_for_all() {
    let mut client = Client::open_with(Config { max_calls: 2, ..Config::default() }, TUNE);
    let id = client.confirming();
    let _ = client.publish(id, "q", b"x");
    let first = client.engine.await_confirms(id).unwrap();
    let _ = client.engine.await_confirms(id).unwrap();
    client.engine.abandon(id, first);
    assert!(matches!(client.engine.await_confirms(id), Err(CommandError::TooManyCalls)));
    client.say(1, ack(1, false));
    assert_eq!(client.events().len(), 2);
    let _ = client.engine.await_confirms(id).unwrap();
}

#[test]
fn a_publisher_may_allow_itself_less() {
    let mut client = Client::open();
    let id = client.confirming();
    for _ in 0..3 {
        client.engine.check_unconfirmed(id, 3).unwrap();
        let _ = client.publish(id, "q", b"x");
    }
    assert_eq!(client.engine.check_unconfirmed(id, 3), Err(PublishError::Full));
    assert_eq!(client.engine.check_unconfirmed(id, 2), Err(PublishError::Full));
    client.engine.check_unconfirmed(id, 4).unwrap();
    client.say(1, ack(2, false)); // a hole is room
    let events = client.events();
    assert!(matches!(&events[..], [Event::Confirmed { .. }, Event::Writable]), "{events:?}");
    client.engine.check_unconfirmed(id, 3).unwrap();
    assert_eq!(client.engine.check_unconfirmed(id, 2), Err(PublishError::Full));
    client.pass(Duration::from_secs(60));
    assert!(matches!(client.events().last(), Some(Event::Writable)), "what is lost makes room too");
    client.engine.check_unconfirmed(id, 1).unwrap();
}
