//! Declaring, deleting and counting queues.

use std::future::IntoFuture;

use hopmq::FieldTable;

use super::{Server, closes_channel, drain, eventually, publish_each, ready, routed};

pub async fn server_named(server: &Server) {
    let channel = server.channel().await;
    let one = channel.declare_queue("").exclusive().await.unwrap();
    let two = channel.declare_queue("").exclusive().await.unwrap();
    assert!(one.name().starts_with("amq.gen-"), "{one:?}");
    assert_ne!(one.name(), two.name());
    publish_each(&channel, one.name(), ["here"]).await;
    assert_eq!(drain(&channel, one.name()).await, ["here"]);
}

pub async fn names(server: &Server) {
    let channel = server.channel().await;
    let long = format!("{:x<255}", server.name("long"));
    let words = format!("Grüße an 'alle', {}", server.name("words"));
    for name in [&*long, &words] {
        let queue = channel.declare_queue(name).exclusive().await.unwrap();
        assert_eq!(queue.name(), name);
        publish_each(&channel, name, ["here"]).await;
        assert_eq!(drain(&channel, name).await, ["here"]);
    }
}

pub async fn passive_missing(server: &Server) {
    let channel = server.channel().await;
    let queue = server.name("missing");
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    closes_channel(&channel, channel.declare_queue(&queue).passive(), 404, &text).await;
}

pub async fn count(server: &Server) {
    let channel = server.channel().await;
    let name = server.name("queue");
    let new = channel.declare_queue(&name).exclusive().await.unwrap();
    assert_eq!((new.message_count(), new.consumer_count()), (0, 0));
    publish_each(&channel, &name, ["1", "2", "3"]).await;
    let got = channel.get(&name).await.unwrap().unwrap();
    let found = channel.declare_queue(&name).passive().await.unwrap();
    assert_eq!((found.message_count(), found.consumer_count()), (2, 0), "what is unacked is not ready");
    got.into_delivery().ack().unwrap();

    let consumers =
        (channel.consume(&name).prefetch(1).await.unwrap(), channel.consume(&name).await.unwrap());
    let again = channel.declare_queue(&name).exclusive().await.unwrap();
    assert_eq!((again.message_count(), again.consumer_count()), (0, 2));
    drop(consumers);
}

pub async fn purge(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2", "3"]).await;
    let first = channel.get(queue.name()).await.unwrap().unwrap().into_delivery();
    assert_eq!(channel.purge_queue(queue.name()).await.unwrap(), 2, "what is unacked stays");
    first.nack(true).unwrap();
    assert_eq!(drain(&channel, queue.name()).await, ["!1"]);
    let missing = server.name("missing");
    let text = format!("NOT_FOUND - no queue '{missing}' in vhost '/'");
    closes_channel(&channel, channel.purge_queue(&missing), 404, &text).await;
}

pub async fn last_declared(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let other = server.name("queue");
    channel.declare_queue(&other).exclusive().await.unwrap();
    let last = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, last.name(), ["1", "2"]).await;
    assert_eq!(channel.get("").await.unwrap().unwrap().body(), b"1");
    assert_eq!(channel.purge_queue("").await.unwrap(), 1);
    // With both names empty, the key is the queue's name.
    channel.bind_queue("", "amq.direct", "").await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    assert!(routed(&publisher, "amq.direct", last.name(), &Default::default()).await);
    assert_eq!(channel.delete_queue("").await.unwrap(), 1);

    const NONE: &str = "NOT_FOUND - no previously declared queue";
    let fresh = async || connection.open_channel().await.unwrap();
    let channel = fresh().await;
    closes_channel(&channel, channel.get(""), 404, NONE).await;
    let channel = fresh().await;
    closes_channel(&channel, channel.consume(""), 404, NONE).await;
    let channel = fresh().await;
    closes_channel(&channel, channel.bind_queue("", "amq.direct", ""), 404, NONE).await;
    let channel = fresh().await;
    closes_channel(&channel, channel.unbind_queue("", "amq.direct", "", FieldTable::new()), 404, NONE).await;
    let channel = fresh().await;
    closes_channel(&channel, channel.purge_queue(""), 404, NONE).await;
    let channel = fresh().await;
    closes_channel(&channel, channel.delete_queue(""), 404, NONE).await;
}

/// Calls behind a declare that is not answered yet mean its queue, too.
pub async fn last_declared_in_one_go(server: &Server) {
    let channel = server.channel().await;
    let other = server.name("queue");
    for named in [false, true] {
        let name = if named { server.name("queue") } else { String::new() };
        let other = channel.declare_queue(&other).exclusive().into_future();
        let declared = channel.declare_queue(&name).exclusive().into_future();
        let bound = channel.bind_queue("", "amq.direct", "");
        let keyed = channel.bind_queue("", "amq.topic", "some.key");
        let unkeyed = channel.unbind_queue("", "amq.topic", "some.key", FieldTable::new());
        let consumed = channel.consume("").no_ack().into_future();
        other.await.unwrap();
        let queue = declared.await.unwrap();
        for call in [bound, keyed, unkeyed] {
            call.await.unwrap();
        }
        let mut consumer = consumed.await.unwrap();
        let publisher = channel.publisher().await.unwrap();
        assert!(!routed(&publisher, "amq.topic", "some.key", &Default::default()).await);
        assert!(routed(&publisher, "amq.direct", queue.name(), &Default::default()).await);
        assert_eq!(consumer.next().await.unwrap().routing_key(), queue.name());
        channel.unbind_queue("", "amq.direct", "", FieldTable::new()).await.unwrap();
        assert!(!routed(&publisher, "amq.direct", queue.name(), &Default::default()).await);
    }
}

pub async fn reserved_names(server: &Server) {
    let channel = server.channel().await;
    let queue = format!("amq.{}", server.name("mine"));
    let text = format!("ACCESS_REFUSED - queue name '{queue}' contains reserved prefix 'amq.*'");
    closes_channel(&channel, channel.declare_queue(&queue).exclusive(), 403, &text).await;
}

pub async fn inequivalent(server: &Server) {
    let connection = server.connect().await;
    let queue = server.name("queue");
    let owner = connection.open_channel().await.unwrap();
    owner.declare_queue(&queue).durable().await.unwrap();
    owner.declare_queue(&queue).durable().await.unwrap();

    let wrong = |argument: &str| {
        format!(
            "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': received \
             '{}' but current is '{}'",
            argument == "auto_delete",
            argument == "durable"
        )
    };
    let channel = connection.open_channel().await.unwrap();
    closes_channel(&channel, channel.declare_queue(&queue).transient(), 406, &wrong("durable")).await;
    let channel = connection.open_channel().await.unwrap();
    let declare = channel.declare_queue(&queue).durable().auto_delete();
    closes_channel(&channel, declare, 406, &wrong("auto_delete")).await;
    let channel = connection.open_channel().await.unwrap();
    closes_channel(&channel, channel.declare_queue(&queue).exclusive(), 405, &locked(&queue)).await;
    owner.delete_queue(&queue).await.unwrap();
}

pub async fn inequivalent_arguments(server: &Server) {
    let connection = server.connect().await;
    let owner = connection.open_channel().await.unwrap();
    let queue = server.name("queue");
    let declared = FieldTable::new().with("x-message-ttl", 60_000).with("x-dead-letter-exchange", "one");
    owner.declare_queue(&queue).exclusive().arguments(declared.clone()).await.unwrap();
    // The width of an integer does not matter.
    let wider = declared.clone().with("x-message-ttl", 60_000_i64);
    owner.declare_queue(&queue).exclusive().arguments(wider).await.unwrap();

    let mut without = declared.clone();
    without.remove("x-message-ttl");
    for (arguments, name, received, current) in [
        (declared.clone().with("x-message-ttl", 7), "x-message-ttl", "'7'", "'60000'"),
        (declared.clone().with("x-dead-letter-exchange", "two"), "x-dead-letter-exchange", "'two'", "'one'"),
        (without, "x-message-ttl", "none", "the value '60000' of type 'signedint'"),
        (declared.with("x-expires", 7), "x-expires", "the value '7' of type 'signedint'", "none"),
    ] {
        let channel = connection.open_channel().await.unwrap();
        let declare = channel.declare_queue(&queue).exclusive().arguments(arguments);
        let text = format!(
            "PRECONDITION_FAILED - inequivalent arg '{name}' for queue '{queue}' in vhost '/': received {received} \
             but current is {current}"
        );
        closes_channel(&channel, declare, 406, &text).await;
    }
}

/// What RabbitMQ says of a queue that another connection has for itself.
fn locked(queue: &str) -> String {
    let text = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be \
         originally declared on another connection or the exclusive property value does not match that of the \
         original declaration."
    );
    if text.len() <= 255 { text } else { format!("{}...", &text[..252]) }
}

pub async fn exclusive(server: &Server) {
    let (owner, other) = (server.connect().await, server.connect().await);
    let queue = server.name("queue");
    let first = owner.open_channel().await.unwrap();
    first.declare_queue(&queue).exclusive().await.unwrap();
    let second = owner.open_channel().await.unwrap();
    assert_eq!(ready(&second, &queue).await, 0, "all channels of the connection may use it");

    let text = locked(&queue);
    let channel = other.open_channel().await.unwrap();
    closes_channel(&channel, channel.declare_queue(&queue).exclusive(), 405, &text).await;
    let channel = other.open_channel().await.unwrap();
    closes_channel(&channel, channel.declare_queue(&queue).passive(), 405, &text).await;
    let channel = other.open_channel().await.unwrap();
    closes_channel(&channel, channel.get(&queue), 405, &text).await;
    let channel = other.open_channel().await.unwrap();
    closes_channel(&channel, channel.consume(&queue), 405, &text).await;
    let channel = other.open_channel().await.unwrap();
    closes_channel(&channel, channel.purge_queue(&queue), 405, &text).await;
    let channel = other.open_channel().await.unwrap();
    closes_channel(&channel, channel.bind_queue(&queue, "amq.direct", "key"), 405, &text).await;
    let channel = other.open_channel().await.unwrap();
    closes_channel(&channel, channel.delete_queue(&queue), 405, &text).await;
}

pub async fn exclusive_goes_with_its_connection(server: &Server) {
    let (owner, other) = (server.connect().await, server.channel().await);
    let queue = server.name("queue");
    let channel = owner.open_channel().await.unwrap();
    channel.declare_queue(&queue).exclusive().await.unwrap();
    channel.close().await.unwrap();
    owner.close().await.unwrap();
    other.declare_queue(&queue).exclusive().await.unwrap();
}

pub async fn auto_delete(server: &Server) {
    let connection = server.connect().await;
    let watcher = connection.open_channel().await.unwrap();
    let publisher = watcher.publisher().await.unwrap();
    for way in ["cancel", "channel", "connection"] {
        let owner = server.connect().await;
        let channel = owner.open_channel().await.unwrap();
        let queue = server.name("queue");
        channel.declare_queue(&queue).transient().auto_delete().await.unwrap();
        let (one, two) = (channel.consume(&queue).await.unwrap(), channel.consume(&queue).await.unwrap());
        one.cancel().await.unwrap();
        assert_eq!(ready(&watcher, &queue).await, 0, "it stays while it has a consumer");
        match way {
            "cancel" => two.cancel().await.unwrap(),
            "channel" => channel.close().await.unwrap(),
            _ => owner.close().await.unwrap(),
        }
        eventually("the queue is gone", async || !routed(&publisher, "", &queue, &Default::default()).await)
            .await;
    }
}

pub async fn auto_delete_waits_for_a_first_consumer(server: &Server) {
    let channel = server.channel().await;
    let queue = server.name("queue");
    channel.declare_queue(&queue).exclusive().auto_delete().await.unwrap();
    publish_each(&channel, &queue, ["1"]).await;
    assert_eq!(drain(&channel, &queue).await, ["1"]);
    assert_eq!(ready(&channel, &queue).await, 0, "a get is no consumer");
}

pub async fn delete_missing(server: &Server) {
    let channel = server.channel().await;
    assert_eq!(channel.delete_queue(&server.name("missing")).await.unwrap(), 0);
    assert_eq!(channel.delete_queue_if_empty(&server.name("missing")).await.unwrap(), 0);
}

pub async fn delete_if_unused(server: &Server) {
    let connection = server.connect().await;
    let owner = connection.open_channel().await.unwrap();
    let queue = server.name("queue");
    owner.declare_queue(&queue).exclusive().await.unwrap();
    let consumer = owner.consume(&queue).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let text = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use");
    closes_channel(&channel, channel.delete_queue_if_unused(&queue), 406, &text).await;
    consumer.cancel().await.unwrap();
    assert_eq!(owner.delete_queue_if_unused(&queue).await.unwrap(), 0);
}

pub async fn delete_if_empty(server: &Server) {
    let connection = server.connect().await;
    let owner = connection.open_channel().await.unwrap();
    let queue = server.name("queue");
    owner.declare_queue(&queue).exclusive().await.unwrap();
    publish_each(&owner, &queue, ["1", "2"]).await;
    let channel = connection.open_channel().await.unwrap();
    let text = format!("PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty");
    closes_channel(&channel, channel.delete_queue_if_empty(&queue), 406, &text).await;
    assert_eq!(drain(&owner, &queue).await, ["1", "2"]);
    assert_eq!(owner.delete_queue_if_empty(&queue).await.unwrap(), 0);
}

pub async fn delete_with_unacked(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2", "3"]).await;
    let first = channel.get(queue.name()).await.unwrap().unwrap().into_delivery();
    assert_eq!(channel.delete_queue(queue.name()).await.unwrap(), 2, "only what was ready counts");
    first.ack().unwrap();
    channel.declare_queue("").exclusive().await.expect("the late ack is no error");
}

pub async fn delete_unbinds(server: &Server) {
    let channel = server.channel().await;
    let (queue, key) = (server.name("queue"), server.name("key"));
    channel.declare_queue(&queue).exclusive().await.unwrap();
    channel.bind_queue(&queue, "amq.direct", &key).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    assert!(routed(&publisher, "amq.direct", &key, &Default::default()).await);
    channel.delete_queue(&queue).await.unwrap();
    assert!(!routed(&publisher, "amq.direct", &key, &Default::default()).await);
    channel.declare_queue(&queue).exclusive().await.unwrap();
    assert!(!routed(&publisher, "amq.direct", &key, &Default::default()).await, "a new queue is a new queue");
}

/// Line ends are no part of a name where it is declared, bound or deleted; what reads a queue must be exact.
pub async fn trap_31_line_ends_are_stripped(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let name = server.name("queue");
    let broken = format!("\r\n{name}\n");
    let queue = channel.declare_queue(&broken).exclusive().await.unwrap();
    assert_eq!(queue.name(), name);
    channel.bind_queue(&broken, "amq.direct\n", &name).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    assert!(routed(&publisher, "amq.direct", &name, &Default::default()).await);

    let text = format!("NOT_FOUND - no queue '{broken}' in vhost '/'");
    let fresh = async || connection.open_channel().await.unwrap();
    let other = fresh().await;
    closes_channel(&other, other.get(&broken), 404, &text).await;
    let other = fresh().await;
    closes_channel(&other, other.consume(&broken), 404, &text).await;
    let other = fresh().await;
    closes_channel(&other, other.purge_queue(&broken), 404, &text).await;

    channel.unbind_queue(&broken, "\ramq.direct", &name, FieldTable::new()).await.unwrap();
    assert!(!routed(&publisher, "amq.direct", &name, &Default::default()).await);
    assert_eq!(channel.delete_queue(&broken).await.unwrap(), 1);
}
