//! Mandatory messages that come back, and whose they are: `basic.return` carries no tag (trap 26).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use hopmq_proto::amqp::{FieldTable, FieldValue, Properties, Publish, ReplyCode, confirm};
use hopmq_proto::client::{CallError, ChannelId, Confirmation, Event, Token};
use proptest::prelude::*;
use support::{Client, ack, nack, returned};

/// The server returns a message without properties.
fn back(client: &mut Client, key: &'static str, body: &[u8]) {
    client.say_content(1, returned(key), &Properties::new(), body);
}

/// Each resolved publish, with the body that came back for it.
fn outcomes(client: &mut Client) -> Vec<(Token, Option<Vec<u8>>)> {
    let outcome = |(token, result)| match result {
        Ok(Confirmation::Acked) => (token, None),
        Ok(Confirmation::Returned(returned)) => (token, Some(returned.message.body().to_vec())),
        other => panic!("{other:?}"),
    };
    client.confirms().into_iter().map(outcome).collect()
}

fn body(body: &[u8]) -> Option<Vec<u8>> {
    Some(body.to_vec())
}

/// Publishes with properties, mandatory.
fn publish_with(client: &mut Client, id: ChannelId, properties: &Properties, body: &'static [u8]) -> Token {
    let publish = Publish { routing_key: b"!k", mandatory: true, ..Default::default() };
    client.engine.publish(id, &publish, properties, &Bytes::from_static(body), client.now).unwrap().unwrap()
}

#[test]
fn trap_26_a_return_is_the_fate_of_its_publish() {
    let mut client = Client::open();
    let id = client.confirming();
    let token = client.publish(id, "!k", b"x");
    let properties = Properties::new().persistent();
    client.say_content(1, returned("!k"), &properties, b"x");
    assert!(client.events().is_empty(), "the ack tells");
    client.say(1, ack(1, false));
    let (resolved, Ok(Confirmation::Returned(back))) = client.confirms().remove(0) else { panic!() };
    assert_eq!((resolved, back.code, back.text.as_str()), (token, ReplyCode::NO_ROUTE, Ok("NO_ROUTE")));
    assert_eq!((back.message.exchange(), back.message.routing_key()), ("".into(), "!k".into()));
    assert_eq!((back.message.body(), back.message.properties()), (&b"x"[..], Ok(properties)));
}

#[test]
fn trap_26_other_acks_may_come_between_a_return_and_its_ack() {
    let mut client = Client::open();
    let id = client.confirming();
    let tokens = ["!a", "!b", "!c", "d"].map(|key| client.publish(id, key, key.as_bytes()));
    back(&mut client, "!c", b"!c");
    client.say(1, ack(1, false));
    client.say(1, ack(4, false));
    assert_eq!(outcomes(&mut client), [(tokens[0], None), (tokens[3], None)]);
    client.say(1, ack(3, false));
    client.say(1, ack(2, false));
    assert_eq!(outcomes(&mut client), [(tokens[2], body(b"!c")), (tokens[1], None)]);
}

#[test]
fn trap_26_returns_before_one_multiple_ack() {
    let mut client = Client::open();
    let id = client.confirming();
    let tokens = ["!a", "!b", "!c", "!b"].map(|key| client.publish(id, key, key.as_bytes()));
    back(&mut client, "!a", b"!a");
    back(&mut client, "!c", b"!c");
    client.say(1, ack(0, true));
    let expected = [(tokens[0], body(b"!a")), (tokens[1], None), (tokens[2], body(b"!c")), (tokens[3], None)];
    assert_eq!(outcomes(&mut client), expected);
}

#[test]
fn what_comes_back_before_confirms_are_on_is_of_no_publish_behind_them() {
    let mut client = Client::open();
    let id = client.channel();
    assert_eq!(client.try_publish(id, "!k", b"same"), Ok(None));
    let select = client.call(id, confirm::Select { no_wait: false });
    let token = publish_with(&mut client, id, &Properties::new().persistent(), b"same");
    back(&mut client, "!k", b"same");
    assert!(matches!(client.event(), Event::Returned { .. }));
    client.say(1, confirm::SelectOk {});
    client.reply(select).unwrap();
    back(&mut client, "!k", b"same");
    client.say(1, ack(1, false));
    assert_eq!(outcomes(&mut client), [(token, body(b"same"))]);
}

#[test]
fn messages_that_are_alike_come_back_oldest_first() {
    let mut client = Client::open();
    let id = client.confirming();
    let tokens = [0; 3].map(|_| client.publish(id, "!k", b"same"));
    back(&mut client, "!k", b"same");
    back(&mut client, "!k", b"same");
    client.say(1, ack(3, true));
    let came_back: Vec<_> =
        outcomes(&mut client).into_iter().map(|(token, back)| (token, back.is_some())).collect();
    assert_eq!(came_back, [(tokens[0], true), (tokens[1], true), (tokens[2], false)]);
}

#[test]
fn trap_26_returns_come_in_the_order_of_the_publishes() {
    let mut client = Client::open();
    let id = client.confirming();
    let tokens = ["!a", "!b", "!a"].map(|key| client.publish(id, key, b"same"));
    back(&mut client, "!b", b"same"); // so what follows was published after it
    back(&mut client, "!a", b"same");
    client.say(1, ack(3, true));
    assert_eq!(
        outcomes(&mut client),
        [(tokens[0], None), (tokens[1], body(b"same")), (tokens[2], body(b"same"))]
    );
}

#[test]
fn a_server_that_keeps_no_order_is_understood_where_messages_differ() {
    let mut client = Client::open();
    let id = client.confirming();
    let tokens = ["!a", "!b"].map(|key| client.publish(id, key, b"same"));
    back(&mut client, "!b", b"same");
    back(&mut client, "!a", b"same");
    client.say(1, ack(2, true));
    assert_eq!(outcomes(&mut client), [(tokens[0], body(b"same")), (tokens[1], body(b"same"))]);
}

#[test]
fn messages_that_differ_in_properties_only_are_told_apart() {
    let headers = |n: i32| Properties::new().with_headers(FieldTable::new().with("n", n));
    let mut client = Client::open();
    let id = client.confirming();
    let tokens = [1, 2, 3].map(|n| publish_with(&mut client, id, &headers(n), b"same"));
    client.say_content(1, returned("!k"), &headers(2), b"same");
    client.say(1, ack(3, true));
    assert_eq!(outcomes(&mut client), [(tokens[0], None), (tokens[1], body(b"same")), (tokens[2], None)]);
    let written_anew = Properties::new().with_headers(FieldTable::new().with("n", 4i64));
    let token = publish_with(&mut client, id, &headers(4), b"same");
    client.say_content(1, returned("!k"), &written_anew, b"same");
    client.say(1, ack(4, false));
    assert_eq!(outcomes(&mut client), [(token, body(b"same"))]);
}

#[test]
fn a_return_that_is_nobodys_is_an_event() {
    let mut client = Client::open();
    let id = client.confirming();
    let token = client.publish(id, "!k", b"mine");
    let _ = client.publish(id, "not mandatory", b"x");
    for (key, body) in [("!k", &b"other"[..]), ("!other", b"mine"), ("not mandatory", b"x")] {
        back(&mut client, key, body);
        let Event::Returned { channel, returned } = client.event() else { panic!() };
        assert_eq!((channel, returned.message.body()), (id, body));
    }
    back(&mut client, "!k", b"mine");
    assert!(client.events().is_empty());
    back(&mut client, "!k", b"mine");
    assert!(matches!(client.event(), Event::Returned { .. }), "once is enough");
    client.say(1, ack(1, false));
    assert_eq!(outcomes(&mut client), [(token, body(b"mine"))]);
}

#[test]
fn without_confirms_a_return_is_an_event() {
    let mut client = Client::open();
    let id = client.channel();
    assert_eq!(client.try_publish(id, "!k", b"x"), Ok(None));
    back(&mut client, "!k", b"x");
    assert!(matches!(client.event(), Event::Returned { channel, .. } if channel == id));
}

/// Whether each return that resolved a publish is said to be ambiguous.
fn ambiguous(client: &mut Client) -> Vec<bool> {
    let returned = |(_, result)| match result {
        Ok(Confirmation::Returned(returned)) => Some(returned.ambiguous),
        _ => None,
    };
    client.confirms().into_iter().filter_map(returned).collect()
}

#[test]
fn trap_26_only_identical_messages_in_flight_are_ambiguous() {
    let mut client = Client::open();
    let id = client.confirming();
    let script: [(&[&'static str], &[&'static str], &[bool]); 5] = [
        (&["!a"], &["!a"], &[false]),
        (&["!a", "!b"], &["!a", "!b"], &[false, false]),
        (&["!a", "!a"], &["!a"], &[true]),
        (&["!a", "!b", "!a"], &["!a", "!b", "!a"], &[true, false, false]),
        (&["!a", "a"], &["!a"], &[false]), // the other one is not mandatory
    ];
    let mut tag = 0;
    for (publishes, returns, expected) in script {
        for key in publishes {
            let _ = client.publish(id, key, b"same");
        }
        returns.iter().for_each(|key| back(&mut client, key, b"same"));
        tag += publishes.len() as u64;
        client.say(1, ack(tag, true));
        assert_eq!(ambiguous(&mut client), expected, "{publishes:?}");
    }
    let _ = client.publish(id, "!a", b"same");
    client.say(1, ack(tag + 1, false)); // what is confirmed cannot come back any more
    let _ = client.publish(id, "!a", b"same");
    back(&mut client, "!a", b"same");
    client.say(1, ack(tag + 2, false));
    assert_eq!(ambiguous(&mut client), [false]);
}

#[test]
fn trap_26_properties_that_were_written_anew_are_ambiguous_where_they_matter() {
    let headers = |n: FieldValue| Properties::new().with_headers(FieldTable::new().with("n", n));
    let mut client = Client::open();
    let id = client.confirming();
    for (ours, expected) in [(&[1, 2][..], true), (&[3], false)] {
        for n in ours {
            let _ = publish_with(&mut client, id, &headers((*n).into()), b"same");
        }
        client.say_content(1, returned("!k"), &headers(FieldValue::from(i64::from(ours[0]))), b"same");
        client.say(1, ack(0, true));
        assert_eq!(ambiguous(&mut client), [expected]);
    }
}

#[test]
fn what_timed_out_and_came_back_is_forgotten_with_its_late_confirm() {
    for confirms in
        [vec![ack(2, false), ack(1, false)], vec![ack(2, false), ack(1, true)], vec![ack(2, true)]]
    {
        let mut client = Client::open();
        let id = client.confirming();
        let late = client.publish(id, "!k", b"same");
        client.pass(Duration::from_secs(30));
        let _ = client.publish(id, "other", b"");
        client.pass(Duration::from_secs(30));
        assert_eq!(client.confirms(), [(late, Err(CallError::TimedOut))]);
        confirms.into_iter().for_each(|confirm| client.say(1, confirm));
        client.confirms();
        let token = client.publish(id, "!k", b"same");
        back(&mut client, "!k", b"same");
        client.say(1, ack(3, false));
        let confirms = client.confirms();
        assert!(
            matches!(&confirms[..], [(t, Ok(Confirmation::Returned(r)))] if *t == token && !r.ambiguous),
            "{confirms:?}"
        );
    }
}

/// A broker as PROTOCOL.md describes RabbitMQ: returns go out in the order of the publishes, each before its own ack;
/// acks are coalesced and come in any order.
#[derive(Debug, Clone)]
struct Told {
    /// Which of three messages it is, and whether a queue takes it.
    publishes: Vec<(u8, bool)>,
    /// How far routing has come when a batch of acks goes out, and which of the routed ones it confirms.
    acks: Vec<(u8, u16, bool)>,
}

fn told() -> impl Strategy<Value = Told> {
    let publishes = prop::collection::vec((0..3u8, any::<bool>()), 1..40);
    let acks = prop::collection::vec((1..8u8, any::<u16>(), any::<bool>()), 0..40);
    (publishes, acks).prop_map(|(publishes, acks)| Told { publishes, acks })
}

/// What became of each publish, as the client says it: whether it came back, and whether that is ambiguous.
fn hear(told: &Told) -> (Vec<Option<bool>>, Vec<bool>) {
    const KEYS: [&str; 3] = ["!a", "!b", "!c"];
    let mut client = Client::open();
    let id = client.confirming();
    let tokens: Vec<_> = told
        .publishes
        .iter()
        .map(|(kind, _)| client.publish(id, KEYS[usize::from(*kind)], b"same"))
        .collect();
    let (mut routed, mut unconfirmed) = (0, Vec::<usize>::new());
    let mut doubtful = vec![false; tokens.len()];
    let mut back_by_then = vec![false; tokens.len()];
    let end = (u8::MAX, 0, true);
    for (batch, choice, multiple) in told.acks.iter().copied().chain([end]) {
        let until = told.publishes.len().min(routed + usize::from(batch));
        for at in routed..until {
            unconfirmed.push(at);
            let (kind, taken) = told.publishes[at];
            if !taken {
                let open = unconfirmed.iter().copied().chain(at + 1..tokens.len());
                let twins = open.filter(|other| told.publishes[*other].0 == kind && !back_by_then[*other]);
                doubtful[at] = twins.count() > 1;
                back_by_then[at] = true;
                back(&mut client, KEYS[usize::from(kind)], b"same");
            }
        }
        routed = until;
        if unconfirmed.is_empty() {
            continue;
        }
        if multiple {
            client.say(1, ack(routed as u64, true));
            unconfirmed.clear();
        } else {
            let at = unconfirmed.remove(usize::from(choice) % unconfirmed.len());
            client.say(1, ack(at as u64 + 1, false));
        }
    }
    let mut fates = vec![None; tokens.len()];
    for (token, result) in client.confirms() {
        let at = tokens.iter().position(|t| *t == token).unwrap();
        fates[at] = match result {
            Ok(Confirmation::Acked) => None,
            Ok(Confirmation::Returned(returned)) => Some(returned.ambiguous),
            other => panic!("{other:?}"),
        };
    }
    (fates, doubtful)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// As many came back as did, of each kind; and unless a return is said to be ambiguous, it is told to the very
    /// publish that came back.
    #[test]
    fn trap_26_a_return_is_of_its_publish_or_said_to_be_ambiguous(told in told()) {
        let (fates, doubtful) = hear(&told);
        for kind in 0..3 {
            let of_kind = || (0..fates.len()).filter(|at| told.publishes[*at].0 == kind);
            let truth: Vec<_> = of_kind().filter(|at| !told.publishes[*at].1).collect();
            let heard: Vec<_> = of_kind().filter(|at| fates[*at].is_some()).collect();
            prop_assert_eq!(heard.len(), truth.len());
            if heard.iter().all(|at| fates[*at] == Some(false)) {
                prop_assert_eq!(&heard, &truth);
            }
            if truth.iter().all(|at| !doubtful[*at]) {
                prop_assert_eq!(&heard, &truth);
                prop_assert!(heard.iter().all(|at| fates[*at] == Some(false)), "nothing was ambiguous");
            }
        }
    }
}

#[test]
fn a_nack_after_a_return_is_a_nack() {
    let mut client = Client::open();
    let id = client.confirming();
    let token = client.publish(id, "!k", b"x");
    back(&mut client, "!k", b"x");
    client.say(1, nack(1, false));
    assert_eq!(client.confirms(), [(token, Ok(Confirmation::Nacked))]);
}

#[test]
fn a_return_after_the_timeout_is_not_a_later_publishs() {
    for late_ack in [ack(1, false), ack(1, true)] {
        let mut client = Client::open();
        let id = client.confirming();
        let late = client.publish(id, "!k", b"same");
        client.pass(Duration::from_secs(60));
        assert_eq!(client.confirms(), [(late, Err(CallError::TimedOut))]);
        client.say(1, late_ack.clone());
        let token = client.publish(id, "!k", b"same");
        back(&mut client, "!k", b"same");
        client.say(1, ack(2, false));
        assert_eq!(
            outcomes(&mut client),
            [(token, body(b"same"))],
            "and not of the one before, long confirmed"
        );

        let other = client.publish(id, "!k", b"same");
        client.pass(Duration::from_secs(60));
        client.confirms();
        let token = client.publish(id, "!k", b"same");
        back(&mut client, "!k", b"same"); // of `other`
        client.say(1, ack(4, true));
        assert_eq!(outcomes(&mut client), [(token, None)], "{other:?} took it");
    }
}

#[test]
fn a_large_window_of_different_messages_that_all_comes_back_costs_no_square() {
    let mut client = Client::open();
    let id = client.confirming();
    let bodies: Vec<_> = (0..60_000_u32).map(u32::to_be_bytes).collect();
    for body in &bodies {
        let _ = client.publish(id, "!k", body);
        client.sent();
    }
    bodies.iter().for_each(|body| back(&mut client, "!k", body));
    client.say(1, ack(0, true));
    assert!(
        outcomes(&mut client).into_iter().zip(&bodies).all(|((_, back), body)| back == Some(body.to_vec()))
    );
}

#[test]
fn a_large_window_that_all_comes_back_costs_no_square() {
    let mut client = Client::open();
    let id = client.confirming();
    for _ in 0..60_000 {
        let _ = client.publish(id, "!k", b"same");
        client.sent();
    }
    for _ in 0..60_000 {
        back(&mut client, "!k", b"same");
    }
    client.say(1, ack(0, true));
    assert!(outcomes(&mut client).iter().all(|(_, back)| back.is_some()));
}
