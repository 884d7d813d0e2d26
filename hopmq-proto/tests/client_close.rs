//! The end of a connection, from either side and from neither.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hopmq_proto::amqp::{
    LongStr, Method, Properties, Publish, ReplyCode, Secret, ShortStr, basic, connection,
};
use hopmq_proto::client::{
    CallError, ChannelId, CloseReason, CommandError, Config, Connection, Event, Lost, PeerMisbehaved, Reply,
    ServerClose, Settle, Token,
};
use hopmq_proto::{Engine, Want};
use support::{Client, Sent, connection_close, consume, deliver};

fn bye() -> Sent {
    let reply_text = ShortStr::from_static("bye");
    Sent::method(0, connection::Close { reply_code: 200, reply_text, class_id: 0, method_id: 0 })
}

fn close(client: &mut Client) -> Token {
    let token = client.engine.close(client.now).unwrap();
    assert_eq!(client.sent(), [bye()]);
    assert_eq!(client.engine.want(), Want::ReadWrite);
    token
}

/// The close has ended as `result`, and the connection with it.
fn ended(client: &mut Client, close: Token) -> Result<Reply, CallError> {
    let mut events = client.events();
    let [Event::Reply { token, .. }, Event::Closed { reason }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((*token, &**reason), (close, &CloseReason::Requested));
    assert_eq!(client.engine.want(), Want::Shutdown);
    let Event::Reply { result, .. } = events.remove(0) else { panic!() };
    result
}

/// A client with work of every kind, and the tokens of it.
fn busy() -> (Client, ChannelId, Vec<Token>) {
    let mut client = Client::open();
    let id = client.confirming();
    let _ = client.consumer(id, "c", false);
    let mut tokens = vec![client.call(id, consume("q")), client.call(id, support::get("q"))];
    tokens.push(client.publish(id, "q", b"x"));
    tokens.push(client.engine.open_channel(client.now).unwrap().1);
    (client, id, tokens)
}

/// Every token is resolved with the one reason, which the last event has too.
fn all_end(client: &mut Client, mut tokens: Vec<Token>) -> CloseReason {
    let mut events = client.events();
    let Some(Event::Closed { reason }) = events.pop() else { panic!("{events:?}") };
    for event in events {
        let (token, why) = match event {
            Event::Reply { token, result: Err(CallError::Closed(why)) }
            | Event::Confirmed { token, result: Err(CallError::Closed(why)) } => (token, why),
            Event::ChannelClosed { reason: why, .. } => {
                assert_eq!(why, reason);
                continue;
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(why, reason);
        let _ = tokens.remove(tokens.iter().position(|t| *t == token).unwrap());
    }
    assert!(tokens.is_empty(), "{tokens:?}");
    (*reason).clone()
}

#[test]
fn a_close_is_answered_with_close_ok() {
    let mut client = Client::open();
    let token = close(&mut client);
    client.say(0, connection::CloseOk {});
    assert!(matches!(ended(&mut client, token), Ok(Reply::Closed)));
}

#[test]
fn a_close_comes_behind_everything_that_was_sent_before_it() {
    let mut client = Client::open();
    let id = client.channel();
    client.try_publish(id, "q", &[7; 300_000]).unwrap();
    let _ = client.engine.close(client.now).unwrap();
    let sent = client.sent();
    assert_eq!((sent.len(), sent.last()), (6, Some(&bye())));
}

#[test]
fn a_close_resolves_what_waits_at_once() {
    let (mut client, id, tokens) = busy();
    let close = client.engine.close(client.now).unwrap();
    let mut resolved = 0;
    for event in client.events() {
        match event {
            Event::Reply { token, result: Err(CallError::Closed(reason)) }
            | Event::Confirmed { token, result: Err(CallError::Closed(reason)) } => {
                assert!(tokens.contains(&token) && *reason == CloseReason::Requested);
                resolved += 1;
            }
            Event::ChannelClosed { channel, .. } => assert_eq!(channel, id),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(resolved, tokens.len());
    client.say(0, connection::CloseOk {});
    assert!(ended(&mut client, close).is_ok());
}

#[test]
fn trap_13_everything_but_the_close_is_dropped_while_it_is_under_way() {
    let (mut client, _, _) = busy();
    let token = client.engine.close(client.now).unwrap();
    client.sent();
    client.events();
    client.say_content(1, deliver("c", 1), &Properties::new(), b"x");
    client.say(1, support::ack(9, true));
    client.say(1, support::channel_close(404));
    client.say(77, basic::ConsumeOk::default());
    client.say(0, connection::Blocked::default());
    assert!(client.is_quiet());
    client.say(0, connection::CloseOk {});
    assert!(ended(&mut client, token).is_ok());
    client.say(0, connection::CloseOk {});
    client.feed(b"anything at all");
    assert!(client.is_quiet() && client.input.is_empty());
}

#[test]
fn trap_13_closes_that_cross_are_both_answered() {
    let mut client = Client::open();
    let token = close(&mut client);
    client.say(0, connection_close(320));
    assert_eq!(client.sent(), [Sent::method(0, connection::CloseOk {})]);
    assert!(client.events().is_empty());
    client.say(0, connection::CloseOk {});
    assert!(ended(&mut client, token).is_ok());
}

#[test]
fn a_close_is_done_when_the_stream_ends_or_turns_to_garbage() {
    let ends: [fn(&mut Client); 3] = [
        Client::eof,
        |client| client.engine.handle_transport_error("reset".into(), client.now),
        |client| client.feed(b"garbage"),
    ];
    for end in ends {
        let mut client = Client::open();
        let token = close(&mut client);
        end(&mut client);
        assert!(matches!(ended(&mut client, token), Ok(Reply::Closed)));
        assert!(client.is_quiet());
    }
}

#[test]
fn a_close_that_is_not_answered_times_out() {
    let mut client = Client::open();
    let token = close(&mut client);
    client.pass(Duration::from_millis(9999));
    assert!(client.events().is_empty());
    client.pass(Duration::from_millis(1));
    assert!(matches!(ended(&mut client, token), Err(CallError::TimedOut)));
    assert!(client.is_quiet() && client.engine.poll_timeout().is_none());
}

#[test]
fn a_close_reads_on_though_its_owner_has_paused() {
    let mut client = Client::open();
    client.engine.set_paused(true, client.now);
    assert_eq!(client.engine.want(), Want::Write);
    let _ = close(&mut client);
}

#[test]
fn pain_3_a_close_from_the_server_resolves_everything_with_its_reason() {
    let (mut client, _, tokens) = busy();
    client.sent();
    client.say(0, connection_close(320));
    assert_eq!(client.sent(), [Sent::method(0, connection::CloseOk {})]);
    let CloseReason::Server(close) = all_end(&mut client, tokens) else { panic!() };
    assert_eq!((close.code, close.text.as_str()), (ReplyCode::CONNECTION_FORCED, Ok("because")));
    assert_eq!(close.to_string(), "closed by the server: 320 CONNECTION_FORCED (because)");
}

#[test]
fn the_name_of_a_code_is_said_once() {
    let close = |code, text: &str| ServerClose {
        code: ReplyCode(code),
        text: ShortStr::try_from(text).unwrap(),
        class_id: 0,
        method_id: 0,
    };
    for (close, said) in [
        (close(404, "NOT_FOUND - no queue 'q'"), "404 NOT_FOUND - no queue 'q'"),
        (close(404, "no queue 'q'"), "404 NOT_FOUND (no queue 'q')"),
        (close(404, ""), "404 NOT_FOUND"),
        (close(999, "NOT_FOUND"), "999 (NOT_FOUND)"),
    ] {
        assert_eq!(close.to_string(), format!("closed by the server: {said}"));
    }
}

#[test]
fn close_ok_takes_the_place_of_what_has_not_been_begun() {
    let mut client = Client::open();
    let id = client.channel();
    let publish = Publish { routing_key: b"q", ..Default::default() };
    let body = Bytes::from(vec![7; 300_000]);
    client.engine.publish(id, &publish, &Properties::new(), &body, client.now).unwrap();
    let head = client.engine.outbox().chunks().next().unwrap().to_vec();
    let begun = head.len() + 1000;
    let mut written: Vec<u8> = client.engine.outbox().chunks().flatten().copied().take(begun).collect();
    client.engine.outbox().consume(begun);
    client.say(0, connection_close(320));
    written.extend(client.engine.outbox().chunks().flatten());
    let frames = support::decode(&mut bytes::BytesMut::from(&written[..]));
    assert_eq!(frames.len(), 4, "the method, the header, the body frame under way, and close-ok");
    assert_eq!(frames[3], Sent::method(0, connection::CloseOk {}));
}

#[test]
fn pain_3_the_end_of_the_stream_resolves_everything() {
    let (mut client, id, tokens) = busy();
    client.say_content(1, deliver("c", 1), &Properties::new(), b"x");
    let (_, delivery) = client.delivery();
    client.eof();
    assert_eq!(all_end(&mut client, tokens), CloseReason::Lost(Lost::Eof));
    assert!(client.sent().is_empty(), "nobody reads it");
    refuses_everything(&mut client, id, &CloseReason::Lost(Lost::Eof));
    let settled = client.engine.settle(delivery.id.unwrap(), Settle::Ack { multiple: false }, client.now);
    assert_eq!(
        settled.unwrap_err().to_string(),
        "the delivery's channel has ended: the connection was lost: the server closed the stream"
    );
}

#[test]
fn pain_3_a_transport_error_resolves_everything() {
    let (mut client, _, tokens) = busy();
    client.engine.handle_transport_error("reset by peer".into(), client.now);
    let reason = all_end(&mut client, tokens);
    assert_eq!(reason, CloseReason::Lost(Lost::Transport("reset by peer".into())));
}

#[test]
fn a_broken_protocol_resolves_everything() {
    let (mut client, _, tokens) = busy();
    client.sent();
    client.feed(b"GET / HTTP/1.1");
    assert_eq!(client.sent(), [Sent::method(0, support::violation(501))]);
    let reason = all_end(&mut client, tokens);
    assert!(matches!(reason, CloseReason::PeerMisbehaved(PeerMisbehaved::Wire(_))));
}

/// Pain 19: whatever is asked later, the answer is the first cause.
fn refuses_everything(client: &mut Client, id: ChannelId, reason: &CloseReason) {
    let refused = |error| assert!(matches!(error, CommandError::Closed(why) if *why == *reason));
    refused(client.engine.open_channel(client.now).unwrap_err());
    refused(client.engine.call(id, consume("q"), client.now).unwrap_err());
    refused(client.engine.close_channel(id, client.now).unwrap_err());
    refused(client.engine.close(client.now).unwrap_err());
    client.try_publish(id, "q", b"x").unwrap_err();
    client.engine.give_back(Reply::Channel(id), client.now);
    client.engine.handle_transport_error("later".into(), client.now);
    client.say(1, support::channel_close(404));
    client.pass(Duration::from_secs(1000));
    assert!(client.is_quiet());
    assert_eq!(client.engine.close_reason().map(|why| &**why), Some(reason));
}

#[test]
fn pain_19_the_first_cause_stays() {
    let mut client = Client::open();
    let id = client.channel();
    client.say(0, connection_close(541));
    client.sent();
    client.events();
    client.eof();
    let reason = client.engine.close_reason().map(|why| (**why).clone()).unwrap();
    assert!(matches!(&reason, CloseReason::Server(close) if close.code == ReplyCode::INTERNAL_ERROR));
    refuses_everything(&mut client, id, &reason);
}

#[test]
fn a_second_close_is_refused() {
    let mut client = Client::open();
    let _ = close(&mut client);
    let Err(CommandError::Closed(reason)) = client.engine.close(client.now) else { panic!() };
    assert_eq!(*reason, CloseReason::Requested);
    assert!(client.is_quiet());
}

#[test]
fn the_last_bytes_are_given_up_after_a_while() {
    let mut client = Client::open();
    client.say(0, connection_close(320));
    assert!(!client.engine.outbox().is_empty());
    client.pass(Duration::from_secs(10));
    assert!(client.engine.outbox().is_empty(), "the server does not read them");
    assert_eq!((client.engine.want(), client.engine.poll_timeout()), (Want::Shutdown, None));
}

#[test]
fn limits_of_the_types() {
    fn crosses_threads<T: Send + Sync + 'static>() {}
    crosses_threads::<Connection>();
    crosses_threads::<Event>();
    assert!(size_of::<Event>() <= 160, "{}", size_of::<Event>());
    assert_eq!(Method::from(connection::CloseOk {}).id(), (10, 51));
}

#[test]
fn an_abort_resolves_everything_and_says_nothing() {
    let (mut client, id, mut tokens) = busy();
    let secret = Secret::new(LongStr::from_static("s"));
    tokens.push(client.engine.update_secret(secret, ShortStr::empty(), client.now).unwrap());
    client.engine.abort(client.now);
    assert_eq!(all_end(&mut client, tokens), CloseReason::Aborted);
    assert!(client.sent().is_empty(), "what was queued is dropped");
    assert_eq!((client.engine.want(), client.engine.poll_timeout()), (Want::Shutdown, None));
    let refused = client.engine.call(id, support::get("q"), client.now).unwrap_err();
    assert_eq!(refused, CommandError::Closed(Arc::new(CloseReason::Aborted)));
    client.engine.abort(client.now);
    assert!(client.is_quiet(), "the terminal event comes once");
}

#[test]
fn an_abort_amid_the_handshake_or_after_the_end() {
    let mut client = Client::new(Config::default());
    client.engine.abort(client.now);
    assert_eq!(client.closed(), CloseReason::Aborted);
    assert!(client.sent().is_empty());

    let mut client = Client::open();
    client.say(0, connection_close(320));
    let CloseReason::Server(_) = client.closed() else { panic!() };
    client.engine.abort(client.now);
    assert!(client.is_quiet(), "not even the answer is written any more");
    assert!(matches!(client.engine.close_reason().map(|reason| &**reason), Some(CloseReason::Server(_))));
}

#[test]
fn an_abort_ends_a_close_that_is_not_answered() {
    let mut client = Client::open();
    let token = close(&mut client);
    client.engine.abort(client.now);
    let aborted = CallError::Closed(Arc::new(CloseReason::Aborted));
    assert_eq!(ended(&mut client, token).unwrap_err(), aborted);
    assert_eq!(client.engine.poll_timeout(), None);
}
