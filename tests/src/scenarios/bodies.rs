//! Bodies around the size of a frame, and large ones.

use futures_util::future::join_all;
use hopmq::{Bytes, Channel, Config, Queue};

use super::Server;

/// The bytes of a frame that are not its payload.
const OVERHEAD: usize = 8;

/// No two bodies are alike, and no piece of one fits at another place.
fn body(size: usize, seed: usize) -> Bytes {
    (0..size).map(|n| u8::try_from((n * 7 + n / 251 + seed) % 251).unwrap()).collect()
}

#[track_caller]
fn assert_same(found: &[u8], sent: &[u8]) {
    assert!(found == sent, "a body of {} bytes came back changed, with {} bytes", sent.len(), found.len());
}

/// Sends bodies of these sizes and takes them back, by get and by consumer.
async fn round_trip(channel: &Channel, queue: &Queue, sizes: &[usize]) {
    let publisher = channel.publisher().mandatory().await.unwrap();
    for (seed, size) in sizes.iter().enumerate() {
        let sent = body(*size, seed);
        publisher.publish(queue.name(), sent.clone()).await.unwrap();
        let got = channel.get(queue.name()).await.unwrap().unwrap();
        assert_same(got.body(), &sent);
        assert_same(&got.body_bytes(), &sent);
        got.into_delivery().ack().unwrap();
    }
    let mut consumer = channel.consume(queue.name()).prefetch(3).await.unwrap();
    for (seed, size) in sizes.iter().enumerate() {
        publisher.publish(queue.name(), body(*size, seed)).await.unwrap();
    }
    for (seed, size) in sizes.iter().enumerate() {
        let delivery = consumer.next().await.unwrap();
        assert_same(delivery.body(), &body(*size, seed));
        delivery.ack().unwrap();
    }
    consumer.cancel().await.unwrap();
}

fn sizes(frame_max: u32) -> Vec<usize> {
    let full = frame_max as usize - OVERHEAD;
    vec![0, 1, 4095, 4096, full - 1, full, full + 1, 2 * full, 2 * full + 1, 1 << 20]
}

pub async fn of_every_size(server: &Server) {
    let connection = server.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    round_trip(&channel, &queue, &sizes(connection.server().frame_max)).await;
}

pub async fn in_small_frames(server: &Server) {
    let config = Config { frame_max: 8192, ..server.config() };
    let connection = server.try_connect(config).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    round_trip(&channel, &queue, &sizes(8192)).await;
}

/// Frames of different channels are mixed on the wire, in both directions.
pub async fn of_many_channels_at_once(server: &Server) {
    let connection = server.connect().await;
    let mut tasks = Vec::new();
    for task in 0..6 {
        let connection = connection.clone();
        tasks.push(server.spawn(async move {
            let channel = connection.open_channel().await.unwrap();
            let queue = channel.declare_queue("").exclusive().await.unwrap();
            round_trip(&channel, &queue, &[300_000 + task, 10 * task, 500_000 + 1000 * task]).await;
        }));
    }
    join_all(tasks).await;
}

/// A delivery is its own: it stays what it is while thousands of others come.
pub async fn that_share_no_bytes(server: &Server) {
    let channel = server.channel().await;
    let queue = channel.declare_queue("").exclusive().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let mut confirms = hopmq::Confirms::new();
    for n in 0..1000 {
        confirms.push(publisher.publish(queue.name(), body(n * 13, n)).send().await.unwrap());
    }
    confirms.wait().await.unwrap();
    let mut consumer = channel.consume(queue.name()).await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..1000 {
        kept.push(consumer.next().await.unwrap());
    }
    for (n, delivery) in kept.iter().enumerate() {
        assert_same(delivery.body(), &body(n * 13, n));
    }
}
