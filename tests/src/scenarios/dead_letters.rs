//! Dead letters: what is rejected, expires or has no room goes to another exchange.

use std::time::Duration;

use hopmq::{Channel, FieldValue, GotDelivery};

use super::{Server, eventually, publish_each, ready};

/// The next message of a queue, once it is there.
async fn arrived(channel: &Channel, queue: &str) -> GotDelivery {
    eventually("the dead letter is there", async || ready(channel, queue).await > 0).await;
    channel.get(queue).await.unwrap().unwrap()
}

/// Why it is dead, as the broker has written on it.
fn reason(letter: &GotDelivery) -> String {
    let headers = letter.properties().unwrap().headers.unwrap();
    headers.get("x-first-death-reason").and_then(FieldValue::as_str).unwrap().to_owned()
}

pub async fn by_rejection(server: &Server) {
    let channel = server.channel().await;
    let dead = channel.declare_queue("").exclusive().await.unwrap();
    channel.bind_queue(dead.name(), "amq.direct", dead.name()).await.unwrap();
    let declare = channel.declare_queue("").exclusive().dead_letter_exchange("amq.direct");
    let queue = declare.dead_letter_routing_key(dead.name()).await.unwrap();
    publish_each(&channel, queue.name(), ["nack", "reject", "requeue"]).await;
    channel.get(queue.name()).await.unwrap().unwrap().nack(false).unwrap();
    channel.get(queue.name()).await.unwrap().unwrap().reject(false).unwrap();
    channel.get(queue.name()).await.unwrap().unwrap().reject(true).unwrap();
    for body in ["nack", "reject"] {
        let letter = arrived(&channel, dead.name()).await;
        assert_eq!((letter.body(), &*reason(&letter)), (body.as_bytes(), "rejected"));
        assert_eq!(letter.exchange(), "amq.direct");
    }
    eventually("the third is back", async || ready(&channel, queue.name()).await == 1).await;
}

pub async fn by_expiry(server: &Server) {
    let channel = server.channel().await;
    let dead = channel.declare_queue("").exclusive().await.unwrap();
    let declare = channel.declare_queue("").exclusive().message_ttl(Duration::from_millis(20));
    let queue = declare.dead_letter_exchange("").dead_letter_routing_key(dead.name()).await.unwrap();
    publish_each(&channel, queue.name(), ["late"]).await;
    let letter = arrived(&channel, dead.name()).await;
    assert_eq!((letter.body(), &*reason(&letter)), (&b"late"[..], "expired"));
    assert_eq!(ready(&channel, queue.name()).await, 0);
}

pub async fn by_length(server: &Server) {
    let channel = server.channel().await;
    let dead = channel.declare_queue("").exclusive().await.unwrap();
    let declare = channel.declare_queue("").exclusive().max_length(1);
    let queue = declare.dead_letter_exchange("").dead_letter_routing_key(dead.name()).await.unwrap();
    publish_each(&channel, queue.name(), ["old", "new"]).await;
    let letter = arrived(&channel, dead.name()).await;
    assert_eq!((letter.body(), &*reason(&letter)), (&b"old"[..], "maxlen"));
}

/// Without a key of its own, a dead letter keeps the one it was published with.
pub async fn with_a_key_of_their_own(server: &Server) {
    let channel = server.channel().await;
    let dead = channel.declare_queue("").exclusive().await.unwrap();
    let queue = channel.declare_queue("").exclusive().dead_letter_exchange("amq.direct").await.unwrap();
    channel.bind_queue(dead.name(), "amq.direct", queue.name()).await.unwrap();
    publish_each(&channel, queue.name(), ["x"]).await;
    channel.get(queue.name()).await.unwrap().unwrap().reject(false).unwrap();
    let letter = arrived(&channel, dead.name()).await;
    assert_eq!((&*letter.exchange(), &*letter.routing_key()), ("amq.direct", queue.name()));
}
