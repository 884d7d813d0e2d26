//! Queues that are full, and queues that nobody uses.

use std::time::Duration;

use hopmq::{Overflow, PublishError};

use super::{Server, drain, eventually, publish_each, routed};

pub async fn drop_head(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().max_length(3).await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2", "3", "4", "5"]).await;
    assert_eq!(drain(&channel, queue.name()).await, ["3", "4", "5"]);
}

pub async fn bytes(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().max_length_bytes(10).await.unwrap();
    publish_each(&channel, queue.name(), ["12345", "67890", "abc"]).await;
    assert_eq!(drain(&channel, queue.name()).await, ["67890", "abc"]);
}

pub async fn reject_publish(server: &Server) {
    let channel = server.channel().await;
    let declare = channel.declare_queue("").exclusive().max_length(1);
    let queue = declare.overflow(Overflow::RejectPublish).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    publisher.publish(queue.name(), "1").await.unwrap();
    let refused = publisher.publish(queue.name(), "2").await;
    assert!(matches!(refused, Err(PublishError::Nacked)), "trap 27: {refused:?}");
    assert_eq!(drain(&channel, queue.name()).await, ["1"]);
    publisher.publish(queue.name(), "3").await.unwrap();
}

pub async fn reject_publish_dead_letters(server: &Server) {
    let channel = server.channel().await;
    let dead = channel.declare_queue("").exclusive().await.unwrap();
    let declare = channel.declare_queue("").exclusive().max_length(1);
    let declare = declare.overflow(Overflow::RejectPublishDlx).dead_letter_exchange("");
    let queue = declare.dead_letter_routing_key(dead.name()).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    publisher.publish(queue.name(), "1").await.unwrap();
    let refused = publisher.publish(queue.name(), "2").await;
    assert!(matches!(refused, Err(PublishError::Nacked)), "{refused:?}");
    let got = drain(&channel, dead.name()).await;
    assert_eq!((drain(&channel, queue.name()).await, got), (vec!["1".to_owned()], vec!["2".to_owned()]));
}

pub async fn queue_expiry(server: &Server) {
    let channel = server.channel().await;
    let name = server.name("queue");
    channel.declare_queue(&name).durable().expires(Duration::from_millis(100)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    // A publish is no use of the queue.
    eventually("the queue is gone", async || !routed(&publisher, "", &name, &Default::default()).await).await;
}
