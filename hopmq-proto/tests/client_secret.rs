//! `connection.update-secret`: a call on channel 0.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use hopmq_proto::amqp::{LongStr, Method, Secret, ShortStr, WireError, connection};
use hopmq_proto::client::{
    CallError, CloseReason, CommandError, Config, Event, PeerMisbehaved, Reply, Token,
};
use support::{Client, Sent, TUNE, connection_close};

fn secret(length: usize) -> Secret {
    Secret::new(LongStr::new(vec![b's'; length]).unwrap())
}

fn update(client: &mut Client) -> Token {
    let token = client.engine.update_secret(secret(3), ShortStr::from_static("why"), client.now).unwrap();
    let sent = connection::UpdateSecret { new_secret: secret(3), reason: ShortStr::from_static("why") };
    assert_eq!(client.sent(), [Sent::method(0, sent)]);
    token
}

fn is_ok(reply: Result<Reply, CallError>) -> bool {
    matches!(reply, Ok(Reply::Method(method)) if matches!(*method, Method::ConnectionUpdateSecretOk(_)))
}

#[test]
fn trap_36_the_answers_come_in_order() {
    let mut client = Client::open();
    let tokens = [update(&mut client), update(&mut client)];
    for token in tokens {
        client.say(0, connection::UpdateSecretOk {});
        assert!(is_ok(client.reply(token)));
    }
    assert_eq!(client.engine.close_reason(), None);
    client.say(0, connection::UpdateSecretOk {});
    let fault = PeerMisbehaved::UnexpectedMethod { method: "connection.UpdateSecretOk", channel: 0 };
    assert_eq!(client.misbehaved(503), fault, "nobody asked");
}

#[test]
fn trap_36_a_refusal_closes_the_connection() {
    let mut client = Client::open();
    let token = update(&mut client);
    client.say(0, connection_close(530));
    let events = client.events();
    let [Event::Reply { token: resolved, result: Err(CallError::Closed(why)) }, Event::Closed { reason }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*resolved, why), (token, reason));
    assert!(matches!(&**reason, CloseReason::Server(close) if close.code.0 == 530));
}

#[test]
fn an_answer_that_comes_late_is_not_taken_for_the_next() {
    let config = Config { call_timeout: Duration::from_secs(5), ..Config::default() };
    let mut client = Client::open_with(config, TUNE);
    let first = update(&mut client);
    client.pass(Duration::from_secs(3));
    let second = update(&mut client);
    client.pass(Duration::from_secs(2));
    assert_eq!(client.reply(first).unwrap_err(), CallError::TimedOut);
    client.say(0, connection::UpdateSecretOk {});
    assert!(client.events().is_empty(), "it answers the first, for which nobody waits");
    client.say(0, connection::UpdateSecretOk {});
    assert!(is_ok(client.reply(second)));
    client.pass(Duration::from_secs(60));
    assert!(client.events().is_empty());
}

#[test]
fn a_secret_that_fits_no_frame_and_too_many_at_once_are_refused() {
    let config = Config { max_calls: 1, ..Config::default() };
    let mut client = Client::open_with(config, TUNE);
    let too_long = client.engine.update_secret(secret(200_000), ShortStr::empty(), client.now);
    assert!(matches!(too_long, Err(CommandError::Wire(WireError::FrameTooLarge { .. }))), "{too_long:?}");
    let token = update(&mut client);
    let second = client.engine.update_secret(secret(1), ShortStr::empty(), client.now);
    assert_eq!(second, Err(CommandError::TooManyCalls));
    assert!(client.sent().is_empty());
    client.say(0, connection::UpdateSecretOk {});
    assert!(is_ok(client.reply(token)));
}
