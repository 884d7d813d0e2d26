//! Bounds: whoever is too fast waits, and nothing is lost.

use futures_util::future::join_all;
use hopmq::{Config, Confirms, Properties, PublishError};

use super::{Server, eventually, publish_each, ready, yield_now};

/// Publishers on many tasks, with room for a fraction of their messages.
pub async fn a_full_outbox_makes_publishers_wait(server: &Server) {
    let config = Config { max_outbox: 10_000, ..server.config() };
    let connection = server.try_connect(config).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let mut tasks = Vec::new();
    for task in 0..10 {
        let (channel, queue) = (channel.clone(), queue.name().to_owned());
        tasks.push(server.spawn(async move {
            for _ in 0..100 {
                let body = vec![task; 3000];
                channel.publish("", &queue, &Properties::new(), body).await.unwrap();
            }
        }));
    }
    join_all(tasks).await;
    eventually("all have come", async || ready(&channel, queue.name()).await == 1000).await;
}

pub async fn as_many_unconfirmed_as_allowed(server: &Server) {
    let config = Config { max_unconfirmed: 10, ..server.config() };
    let connection = server.try_connect(config).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let mut confirms = Confirms::new();
    let refused = loop {
        match publisher.publish(queue.name(), "at once").try_send() {
            Ok(confirm) => confirms.push(confirm),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, PublishError::Full { body: "at once".into() });
    assert!(confirms.len() >= 10, "{} were let through", confirms.len());
    for _ in 0..500 {
        confirms.push(publisher.publish(queue.name(), "later").send().await.unwrap());
    }
    let sent = confirms.len();
    confirms.wait().await.unwrap();
    assert_eq!(ready(&channel, queue.name()).await as usize, sent);
}

/// Far more comes than the client may hold.
pub async fn a_slow_consumer_gets_everything_in_order(server: &Server) {
    let watcher = server.channel().await;
    let queue = server.name("queue");
    watcher.declare_queue(&queue).durable().await.unwrap();
    let bodies: Vec<_> = (0..300).map(|n| format!("{n:>10000}")).collect();
    publish_each(&watcher, &queue, &bodies).await;
    let config = Config { max_event_bytes: 50_000, ..server.config() };
    let connection = server.try_connect(config).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let mut consumer = channel.consume(&queue).await.unwrap();
    for body in &bodies {
        yield_now().await;
        let delivery = consumer.next().await.unwrap();
        assert!(delivery.body() == body.as_bytes(), "out of order at {}", body.trim());
        delivery.ack().unwrap();
    }
    consumer.cancel().await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(watcher.delete_queue(&queue).await.unwrap(), 0);
}

/// Prefetch keeps each within the client's bound, so each can wait for the other.
pub async fn two_slow_consumers_do_not_block_each_other(server: &Server) {
    let config = Config { max_event_bytes: 50_000, ..server.config() };
    let connection = server.try_connect(config).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let mut consumers = Vec::new();
    for _ in 0..2 {
        let queue = channel.declare_queue("").exclusive().await.unwrap();
        publish_each(&channel, queue.name(), (0..100).map(|n| format!("{n:>1000}"))).await;
        consumers.push(channel.consume(queue.name()).prefetch(10).await.unwrap());
    }
    for consumer in consumers.iter_mut().rev() {
        for n in 0..100 {
            let delivery = consumer.next().await.unwrap();
            assert_eq!(delivery.body(), format!("{n:>1000}").as_bytes());
            delivery.ack().unwrap();
        }
    }
}
