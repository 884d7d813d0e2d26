//! Transactions: what follows a commit waits for its answer, and nothing else does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use hopmq_proto::amqp::{FieldTable, Properties, ShortStr, basic, channel, queue, tx};
use hopmq_proto::client::{CallError, Event, PeerMisbehaved, PublishError, Reply, Settle};
use hopmq_proto::{Engine, Want};
use support::{Client, Sent, channel_close, consume, deliver};

fn commit(client: &mut Client, id: hopmq_proto::client::ChannelId) -> hopmq_proto::client::Token {
    client.call(id, tx::Commit {})
}

#[test]
fn select_commit_and_rollback_are_calls() {
    let mut client = Client::open();
    let id = client.channel();
    let tokens = [client.call(id, tx::Select {}), client.call(id, tx::Rollback {}), commit(&mut client, id)];
    assert_eq!(
        client.sent(),
        [Sent::method(1, tx::Select {}), Sent::method(1, tx::Rollback {}), Sent::method(1, tx::Commit {})]
    );
    client.say(1, tx::SelectOk {});
    client.say(1, tx::RollbackOk {});
    client.say(1, tx::CommitOk {});
    let answered: Vec<_> = client
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Reply { token, result: Ok(Reply::Method(_)) } => token,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(answered, tokens);
}

#[test]
fn trap_37_nothing_follows_a_commit_until_it_is_answered() {
    let mut client = Client::open();
    let (id, other) = (client.channel(), client.channel());
    let _ = client.consumer(id, "c", false);
    client.say_content(1, deliver("c", 1), &Properties::new(), b"x");
    client.say_content(1, deliver("c", 2), &Properties::new(), b"x");
    let [one, two] = [0; 2].map(|_| match client.engine.poll_event() {
        Some(Event::Delivery { delivery, .. }) => delivery.id.unwrap(),
        other => panic!("{other:?}"),
    });
    let first = commit(&mut client, id);
    client.sent();
    let qos = client.call(id, basic::Qos::default());
    client.engine.settle(one, Settle::Ack { multiple: false }, client.now).unwrap();
    let second = commit(&mut client, id);
    client.engine.settle(two, Settle::Reject { requeue: true }, client.now).unwrap();
    assert_eq!(client.try_publish(id, "q", b"x"), Err(PublishError::Blocked));
    assert!(client.is_quiet(), "it is all held back");

    client.try_publish(other, "q", b"x").unwrap();
    let _ = client.call(other, consume("q"));
    assert_eq!(client.sent().len(), 4, "other channels go on");

    client.say(1, tx::CommitOk {});
    assert!(matches!(client.event(), Event::Reply { token, .. } if token == first));
    let ack = basic::Ack { delivery_tag: 1, multiple: false };
    assert_eq!(
        client.sent(),
        [Sent::method(1, basic::Qos::default()), Sent::method(1, ack), Sent::method(1, tx::Commit {})],
        "up to the next commit"
    );
    client.say(1, basic::QosOk {});
    assert!(matches!(client.event(), Event::Reply { token, .. } if token == qos));
    assert!(client.sent().is_empty());

    client.say(1, tx::CommitOk {});
    let events = client.events();
    assert!(
        matches!(&events[..], [Event::Writable, Event::Reply { token, .. }] if *token == second),
        "{events:?}"
    );
    assert_eq!(client.sent(), [Sent::method(1, basic::Reject { delivery_tag: 2, requeue: true })]);
    client.try_publish(id, "q", b"x").unwrap();
}

#[test]
fn what_is_held_back_has_its_deadline_and_ends_with_its_channel() {
    let mut client = Client::open();
    let id = client.channel();
    let first = commit(&mut client, id);
    let purge = queue::Purge { queue: ShortStr::from_static("q"), no_wait: false };
    let held = client.call(id, purge.clone());
    client.sent();
    client.pass(Duration::from_secs(30));
    let late: Vec<_> = client
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Reply { token, result: Err(CallError::TimedOut) } => token,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(late, [first, held]);
    client.say(1, tx::CommitOk {});
    assert_eq!(client.sent(), [Sent::method(1, purge)], "it is sent all the same");

    let _ = commit(&mut client, id);
    let _ = client.call(id, basic::Qos::default());
    client.sent();
    client.say(1, channel_close(406));
    assert_eq!(client.sent(), [Sent::method(1, channel::CloseOk {})]);
    assert_eq!(client.events().len(), 3);
}

#[test]
fn a_channel_can_be_closed_behind_a_commit() {
    let mut client = Client::open();
    let id = client.channel();
    let _ = commit(&mut client, id);
    let _ = client.call(id, basic::Qos::default());
    client.sent();
    let _ = client.engine.close_channel(id, client.now).unwrap();
    assert!(matches!(client.sent()[..], [Sent::Method(1, hopmq_proto::amqp::Method::ChannelClose(_))]));
    client.say(1, tx::CommitOk {});
    client.say(1, channel::CloseOk {});
    assert!(client.sent().is_empty());
}

#[test]
fn a_server_that_answers_no_commit_cannot_make_us_hold_back_without_end() {
    let mut client = Client::open();
    let id = client.channel();
    let _ = commit(&mut client, id);
    let many = support::content(1, deliver("?", 1), &Properties::new(), b"", 9).repeat(10_000);
    for _ in 0..100 {
        client.sent();
        client.feed(&many);
        if client.engine.want() == Want::Shutdown {
            assert!(matches!(client.misbehaved(506), PeerMisbehaved::AnswersUnread(_)));
            return;
        }
    }
    panic!("a million messages to put back were held");
}

#[test]
fn what_we_held_back_is_no_answer_that_the_server_does_not_read() {
    let mut client = Client::open();
    let id = client.channel();
    let _ = client.consumer(id, "c", false);
    let _ = commit(&mut client, id);
    let bind =
        queue::Bind { arguments: FieldTable::new().with("x", "x".repeat(100_000)), ..Default::default() };
    let calls = (0..50).map(|_| client.call(id, bind.clone())).count(); // 5 MB
    client.sent();
    // One message that nobody waits for, among what we held back, is put back.
    client.say_content(1, deliver("?", 1), &Properties::new(), b"x");
    assert_eq!(client.engine.want(), Want::ReadWrite);
    client.say(1, tx::CommitOk {});
    client.feed(&support::method(0, hopmq_proto::amqp::connection::Unblocked {}));
    assert_eq!(client.engine.want(), Want::ReadWrite, "{:?}", client.engine.close_reason());
    assert_eq!(client.sent().len(), calls + 1);
}
