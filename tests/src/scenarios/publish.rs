//! What a publish does, and what it does to its channel.

use hopmq::{FieldTable, FieldValue, Properties};

use super::{Fate, Server, closes_channel, closes_connection, drain, fate, publish_each};

pub async fn in_order(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let bodies: Vec<_> = (0..500).map(|n| n.to_string()).collect();
    publish_each(&channel, queue.name(), &bodies).await;
    assert_eq!(drain(&channel, queue.name()).await, bodies);
}

pub async fn missing_exchange_ends_the_channel_only(server: &Server) {
    let connection = server.connect().await;
    let (channel, other) =
        (connection.open_channel().await.unwrap(), connection.open_channel().await.unwrap());
    let publisher = channel.publisher().await.unwrap();
    let exchange = server.name("missing");
    let result = publisher.publish("key", "lost").exchange(&exchange).await;
    assert_eq!(fate(result), Fate::Closed(404));
    let text = format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'");
    closes_channel(&channel, channel.get("whatever"), 404, &text).await;
    assert_eq!(fate(publisher.publish("key", "late").await), Fate::Closed(404));
    other.declare_queue("").exclusive().await.expect("the connection lives on");
    connection.open_channel().await.expect("the connection lives on");
}

pub async fn unroutable_is_confirmed(server: &Server) {
    let channel = server.channel().await;
    let publisher = channel.publisher().await.unwrap();
    publisher.publish(&server.name("nowhere"), "lost").await.unwrap();
    publisher.publish("", "lost").exchange("amq.direct").await.unwrap();
}

/// The lock is on reading.
pub async fn to_exclusive_queue_of_another(server: &Server) {
    let (owner, other) = (server.channel().await, server.channel().await);
    let queue = owner.declare_queue("").exclusive().await.unwrap();
    publish_each(&other, queue.name(), ["from outside"]).await;
    assert_eq!(drain(&owner, queue.name()).await, ["from outside"]);
}

pub async fn cc_and_bcc(server: &Server) {
    let channel = server.channel().await;
    let mut queues = Vec::new();
    for _ in 0..3 {
        queues.push(channel.declare_queue("").exclusive().await.unwrap().name().to_owned());
    }
    let keys = |name: &String| FieldValue::Array(vec![name.as_str().into()]);
    let headers = FieldTable::new().with("CC", keys(&queues[1])).with("BCC", keys(&queues[2])).with("n", 1);
    let publisher = channel.publisher().await.unwrap();
    let properties = Properties::new().with_headers(headers);
    publisher.publish(&queues[0], "copy").properties(&properties).mandatory().await.unwrap();
    for queue in &queues {
        let got = channel.get(queue).await.unwrap().unwrap();
        let headers = got.properties().unwrap().headers.unwrap();
        assert_eq!((got.body(), &*got.routing_key()), (&b"copy"[..], queues[0].as_str()));
        assert_eq!(headers, FieldTable::new().with("CC", keys(&queues[1])).with("n", 1), "BCC is blind");
    }
    let wrong = Properties::new().with_headers(FieldTable::new().with("CC", "no array"));
    let publish = publisher.publish(&queues[0], "refused").properties(&wrong);
    assert_eq!(fate(publish.await), Fate::Closed(406));
}

/// AMQP's flag, which RabbitMQ has given up (trap 33).
pub async fn trap_33_immediate_ends_the_connection(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    assert_eq!(fate(publisher.publish(queue.name(), "now").immediate().await), Fate::Closed(540));
    let text = "NOT_IMPLEMENTED - immediate=true";
    closes_connection(connection.open_channel(), 540, text).await;
}
