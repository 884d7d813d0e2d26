//! Quorum queues.

use hopmq::{DeadLetterStrategy, FieldValue, Overflow, SettleError};

use super::{Server, eventually, publish_each, ready};

/// A message that comes back for the third time is dead.
pub async fn delivery_limit(server: &Server) {
    let channel = server.channel().await;
    let name = server.name("queue");
    let dead = channel.declare_queue("").exclusive().await.unwrap();
    let declare = channel.declare_queue(&name).quorum().delivery_limit(2);
    declare.dead_letter_exchange("").dead_letter_routing_key(dead.name()).await.unwrap();
    publish_each(&channel, &name, ["poison"]).await;
    let mut consumer = channel.consume(&name).prefetch(1).await.unwrap();
    for n in 0..3_i64 {
        let delivery = consumer.next().await.unwrap();
        assert_eq!(delivery.redelivered(), n > 0);
        let headers = delivery.properties().unwrap().headers.unwrap_or_default();
        assert_eq!(headers.get("x-delivery-count").and_then(FieldValue::as_i64).unwrap_or(0), n);
        delivery.nack(true).unwrap();
    }
    eventually("it is dead", async || ready(&channel, dead.name()).await == 1).await;
    let letter = channel.get(dead.name()).await.unwrap().unwrap();
    let headers = letter.properties().unwrap().headers.unwrap();
    assert_eq!(headers.get("x-first-death-reason").unwrap().as_str(), Some("delivery_limit"));
    channel.delete_queue(&name).await.unwrap();
}

pub async fn at_least_once(server: &Server) {
    let channel = server.channel().await;
    let (name, dead) = (server.name("queue"), server.name("dead"));
    channel.declare_queue(&dead).quorum().await.unwrap();
    let declare = channel.declare_queue(&name).quorum().overflow(Overflow::RejectPublish);
    let declare = declare.dead_letter_strategy(DeadLetterStrategy::AtLeastOnce);
    declare.dead_letter_exchange("").dead_letter_routing_key(&dead).await.unwrap();
    publish_each(&channel, &name, ["1"]).await;
    channel.get(&name).await.unwrap().unwrap().reject(false).unwrap();
    eventually("it is dead", async || ready(&channel, &dead).await == 1).await;
    for queue in [name, dead] {
        channel.delete_queue(&queue).await.unwrap();
    }
}

/// As of other queues, the answer to a recover comes before what is delivered again.
pub async fn recover(server: &Server) {
    let channel = server.channel().await;
    let queue = server.name("queue");
    channel.declare_queue(&queue).quorum().await.unwrap();
    publish_each(&channel, &queue, ["again"]).await;
    let mut consumer = channel.consume(&queue).await.unwrap();
    let old = consumer.next().await.unwrap();
    channel.recover().await.unwrap();
    let again = consumer.next().await.unwrap();
    assert!(again.redelivered());
    assert_eq!(old.ack(), Err(SettleError::AlreadySettled));
    again.ack().unwrap();
    consumer.cancel().await.unwrap();
    assert_eq!(ready(&channel, &queue).await, 0);
    channel.delete_queue(&queue).await.unwrap();
}
