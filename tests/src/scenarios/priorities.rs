//! Who and what comes first: priorities of messages and of consumers, and the single active consumer.

use hopmq::{Confirms, Properties};

use super::{Server, drain, publish_each};

pub async fn of_messages(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().max_priority(5).await.unwrap();
    let publisher = channel.publisher().mandatory().await.unwrap();
    let mut confirms = Confirms::new();
    for (body, priority) in [("a", None), ("b", Some(1)), ("c", Some(5)), ("d", Some(9)), ("e", Some(1))] {
        let properties = priority.map_or_else(Properties::new, |p| Properties::new().with_priority(p));
        confirms.push(publisher.publish(queue.name(), body).properties(&properties).send().await.unwrap());
    }
    confirms.wait().await.unwrap();
    assert_eq!(drain(&channel, queue.name()).await, ["c", "d", "b", "e", "a"]);
}

/// The higher one gets all, for as long as its prefetch lets it.
pub async fn of_consumers(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut low = channel.consume(queue.name()).priority(-1).prefetch(10).await.unwrap();
    let mut usual = channel.consume(queue.name()).prefetch(2).await.unwrap();
    let mut high = channel.consume(queue.name()).priority(10).prefetch(2).await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2", "3", "4", "5"]).await;
    let mut deliveries = Vec::new();
    for (consumer, bodies) in [(&mut high, ["1", "2"]), (&mut usual, ["3", "4"])] {
        for body in bodies {
            let delivery = consumer.next().await.unwrap();
            assert_eq!(delivery.body(), body.as_bytes());
            deliveries.push(delivery);
        }
    }
    assert_eq!(low.next().await.unwrap().body(), b"5");
}

/// The first consumer gets all; when it ends, the next one does.
pub async fn single_active_consumer(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().single_active_consumer().await.unwrap();
    let mut first = channel.consume(queue.name()).await.unwrap();
    let mut second = channel.consume(queue.name()).await.unwrap();
    publish_each(&channel, queue.name(), ["1", "2"]).await;
    for body in ["1", "2"] {
        let delivery = first.next().await.unwrap();
        assert_eq!(delivery.body(), body.as_bytes());
        delivery.ack().unwrap();
    }
    first.cancel().await.unwrap();
    publish_each(&channel, queue.name(), ["3"]).await;
    assert_eq!(second.next().await.unwrap().body(), b"3");
}
