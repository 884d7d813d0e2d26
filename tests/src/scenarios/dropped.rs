//! Futures and handles that are dropped: the connection goes on, and what was granted to nobody is given back.

use std::future::IntoFuture;
use std::num::NonZeroU16;

use hopmq::{Channel, Config};

use super::{Server, drain, drop_after, drop_when_answered, eventually, publish_each, ready};

/// More than any of these futures needs.
const POLLS: usize = 6;

async fn queue_with(channel: &Channel, count: u32) -> String {
    let queue = channel.declare_queue("").exclusive().await.unwrap().name().to_owned();
    publish_each(channel, &queue, (0..count).map(|n| n.to_string())).await;
    queue
}

pub async fn connect_at_every_poll(server: &Server) {
    for polls in 0..20 {
        drop_after(server.try_connect(server.config()), polls).await;
    }
    server.channel().await; // and `finish` sees that none is left
}

pub async fn open_channel_at_every_poll(server: &Server) {
    let config = Config { channel_max: NonZeroU16::new(3).unwrap(), ..server.config() };
    let connection = server.try_connect(config).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    for round in 0..5 * POLLS {
        eventually("there is room for a channel", async || {
            drop_after(connection.open_channel(), round % POLLS).await;
            connection.open_channel().await.is_ok()
        })
        .await;
        let roundtrip = channel.declare_queue("").exclusive();
        drop_when_answered(connection.open_channel(), roundtrip.into_future()).await;
    }
    eventually("both are free", async || {
        let (one, two) = (connection.open_channel(), connection.open_channel());
        one.await.is_ok() && two.await.is_ok()
    })
    .await;
}

pub async fn consume_at_every_poll(server: &Server) {
    let channel = server.channel().await;
    let queue = queue_with(&channel, 3).await;
    for polls in 0..POLLS {
        drop_after(channel.consume(&queue).prefetch(2), polls).await;
    }
    for _ in 0..5 {
        drop_when_answered(channel.consume(&queue).prefetch(2), channel.set_prefetch(2)).await;
    }
    eventually("no consumer is left, and every message is back", async || {
        let found = channel.declare_queue(&queue).passive().await.unwrap();
        (found.consumer_count(), found.message_count()) == (0, 3)
    })
    .await;
    let mut consumer = channel.consume(&queue).prefetch(1).await.unwrap();
    for _ in 0..3 {
        consumer.next().await.unwrap().ack().unwrap();
    }
}

pub async fn get_at_every_poll(server: &Server) {
    let channel = server.channel().await;
    let queue = queue_with(&channel, 2).await;
    drop_when_answered(channel.get(&queue), channel.set_prefetch(0)).await;
    eventually("the message is back", async || ready(&channel, &queue).await == 2).await;
    for polls in 0..POLLS {
        if drop_after(channel.get(&queue), polls).await {
            break; // the message was dropped with the answer: it stays unacked
        }
        eventually("the message is back", async || ready(&channel, &queue).await == 2).await;
    }
    channel.recover().await.unwrap();
    eventually("both are back", async || ready(&channel, &queue).await == 2).await;
    let bodies = drain(&channel, &queue).await;
    assert!(bodies == ["!0", "!1"] || bodies == ["!0", "1"], "{bodies:?}");
}

/// Calls whose answer nobody awaits take effect, and later answers still find their calls.
pub async fn calls_in_flight(server: &Server) {
    let channel = server.channel().await;
    let queue = queue_with(&channel, 4).await;
    drop(channel.purge_queue(&queue));
    drop_after(channel.set_prefetch(1), 1).await;
    drop(channel.declare_queue("").exclusive().into_future());
    drop_after(channel.bind_queue(&queue, "amq.fanout", ""), 1).await;
    assert_eq!(ready(&channel, &queue).await, 0, "this answer is this call's");
    drop(channel.close());
    assert!(channel.get(&queue).await.is_err());
}

pub async fn consumers(server: &Server) {
    let channel = server.channel().await;
    let queue = queue_with(&channel, 10).await;
    let mut consumer = channel.consume(&queue).await.unwrap();
    let taken = consumer.next().await.unwrap();
    drop(consumer);
    eventually("what was not taken is back", async || ready(&channel, &queue).await == 9).await;
    taken.ack().unwrap();
    let mut bodies = drain(&channel, &queue).await;
    bodies.sort();
    let expected: Vec<_> = (1..10).map(|n| format!("!{n}")).collect();
    assert_eq!(bodies.len(), expected.len());
    assert!(bodies.iter().all(|body| expected.contains(&format!("!{}", body.trim_start_matches('!')))));
    assert_eq!(channel.declare_queue(&queue).passive().await.unwrap().consumer_count(), 0);
}

pub async fn deliveries_wait_for_their_channel(server: &Server) {
    let connection = server.connect().await;
    let watcher = connection.open_channel().await.unwrap();
    let queue = queue_with(&watcher, 2).await;
    let channel = connection.open_channel().await.unwrap();
    let got = channel.get(&queue).await.unwrap().unwrap();
    drop(got);
    channel.set_prefetch(0).await.unwrap();
    assert_eq!(ready(&watcher, &queue).await, 1, "a dropped delivery is unsettled");
    let held = channel.get(&queue).await.unwrap().unwrap().into_delivery();
    drop(channel);
    assert_eq!(ready(&watcher, &queue).await, 0, "the other delivery holds the channel");
    drop(held);
    eventually("both are back", async || ready(&watcher, &queue).await == 2).await;
    assert_eq!(drain(&watcher, &queue).await, ["!0", "!1"]);
}

pub async fn publishes(server: &Server) {
    let channel = server.channel().await;
    let queue = queue_with(&channel, 0).await;
    let publisher = channel.publisher().await.unwrap();
    for polls in 0..POLLS {
        drop_after(publisher.publish(&queue, polls.to_string()), polls).await;
    }
    publisher.publish(&queue, "last").await.unwrap();
    assert_eq!(drain(&channel, &queue).await, ["1", "2", "3", "4", "5", "last"], "polled is sent");
}
