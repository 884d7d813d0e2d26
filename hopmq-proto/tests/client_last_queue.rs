//! Trap 31: an empty queue name is the queue that was last declared on the channel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use hopmq_proto::amqp::{FieldTable, FieldValue, LongStr, Method, ShortStr, basic, queue};
use hopmq_proto::client::ChannelId;
use support::{Client, Sent};

fn name(name: &'static str) -> ShortStr {
    ShortStr::from_static(name)
}

fn declare(queue: &'static str) -> queue::Declare {
    queue::Declare { queue: name(queue), ..Default::default() }
}

fn declared(queue: &'static str) -> queue::DeclareOk {
    queue::DeclareOk { queue: name(queue), ..Default::default() }
}

/// Everything that names a queue, with a key for the bindings.
fn users(queue: &'static str, key: &'static str) -> [Method; 6] {
    let (queue, routing_key) = (name(queue), name(key));
    [
        queue::Bind { queue: queue.clone(), routing_key: routing_key.clone(), ..Default::default() }.into(),
        queue::Unbind { queue: queue.clone(), routing_key, ..Default::default() }.into(),
        queue::Purge { queue: queue.clone(), no_wait: false }.into(),
        queue::Delete { queue: queue.clone(), ..Default::default() }.into(),
        basic::Consume { queue: queue.clone(), ..Default::default() }.into(),
        basic::Get { queue, no_ack: false }.into(),
    ]
}

/// What is sent for an empty name.
fn assert_means(client: &mut Client, id: ChannelId, queue: &'static str) {
    client.sent();
    for (key, sent_key) in [("", queue), ("key", "key")] {
        for method in users("", key) {
            let _ = client.call(id, method);
        }
        let expected = users(queue, sent_key).map(|method| Sent::Method(id.number(), method));
        assert_eq!(client.sent(), expected);
    }
}

#[test]
fn trap_31_the_empty_name_is_sent_as_the_name_of_the_last_declared_queue() {
    let mut client = Client::open();
    let (id, other) = (client.channel(), client.channel());
    assert_eq!(client.engine.last_queue(id), None);
    for queue in ["one", "two", "one"] {
        let token = client.call(id, declare(queue));
        assert_eq!(client.engine.last_queue(id), Some(&name(queue)), "before it is answered");
        client.say(1, declared(queue));
        client.reply(token).unwrap();
        assert_eq!(client.engine.last_queue(id), Some(&name(queue)));
    }
    assert_means(&mut client, id, "one");
    assert_means(&mut client, other, ""); // each channel has its own
    for method in users("mine", "") {
        let _ = client.call(id, method.clone());
        assert_eq!(client.sent(), [Sent::Method(1, method)], "a name is a name");
    }
}

#[test]
fn trap_31_a_name_of_the_servers_choice_is_sent_once_it_is_known() {
    let mut client = Client::open();
    let id = client.channel();
    let first = client.call(id, declare("first"));
    let token = client.call(id, declare(""));
    assert_eq!(client.engine.last_queue(id), None);
    client.sent();
    // The server resolves in the order of the calls: an empty name behind the declare is this declare's queue.
    let bind = queue::Bind { routing_key: name("key"), ..Default::default() };
    let bound = client.call(id, bind.clone());
    assert_eq!(client.sent(), [Sent::method(1, bind)]);
    client.say(1, declared("first"));
    client.reply(first).unwrap();
    assert_eq!(client.engine.last_queue(id), None, "an earlier declare is not the last");
    client.say(1, declared("amq.gen-1"));
    client.reply(token).unwrap();
    client.say(1, queue::BindOk {});
    client.reply(bound).unwrap();
    assert_means(&mut client, id, "amq.gen-1");
}

#[test]
fn trap_31_a_declare_that_nobody_waits_for_counts() {
    let mut client = Client::open();
    let id = client.channel();
    let token = client.call(id, declare(""));
    client.engine.abandon(id, token);
    client.say(1, declared("amq.gen-1"));
    assert_means(&mut client, id, "amq.gen-1");

    let mut client = Client::open();
    let id = client.channel();
    let token = client.call(id, declare("one"));
    client.engine.send_no_wait(id, queue::Declare { no_wait: true, ..declare("two") }, client.now).unwrap();
    client.say(1, declared("one"));
    client.reply(token).unwrap();
    assert_means(&mut client, id, "two");
    let unnamed = queue::Declare { no_wait: true, ..declare("") };
    client.engine.send_no_wait(id, unnamed, client.now).unwrap();
    assert_means(&mut client, id, ""); // only the server knows
    let purge = queue::Purge { queue: name(""), no_wait: true };
    client.engine.send_no_wait(id, purge.clone(), client.now).unwrap();
    assert_eq!(client.sent(), [Sent::method(1, purge)]);
}

/// RabbitMQ takes line breaks out of names.
#[test]
fn trap_31_the_server_has_the_last_word_on_a_name() {
    let mut client = Client::open();
    let id = client.channel();
    let token = client.call(id, declare("a\r\nb"));
    assert_eq!(client.engine.last_queue(id), None);
    client.say(1, declared("ab"));
    client.reply(token).unwrap();
    assert_means(&mut client, id, "ab");
}

#[test]
fn trap_31_a_refused_declare_declares_nothing() {
    let mut client = Client::open();
    let id = client.channel();
    let _ = client.call(id, declare("one"));
    let bytes = FieldValue::Bytes(LongStr::new(vec![0; 200_000]).unwrap());
    let large = FieldTable::new().with("x", bytes);
    let refused = queue::Declare { arguments: large, ..declare("two") };
    assert!(client.engine.call(id, refused.clone(), client.now).is_err());
    assert!(client.engine.send_no_wait(id, queue::Declare { no_wait: true, ..refused }, client.now).is_err());
    assert_eq!(client.engine.last_queue(id), Some(&name("one")));
}
