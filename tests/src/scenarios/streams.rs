//! Streams: consumers that begin anywhere, and take nothing out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hopmq::{Channel, Delivery, FieldTable, FieldValue, Properties, StreamOffset};

use super::{Server, Version, closes_connection, eventually, publish_each};

/// Where in its stream a message is.
fn offset(delivery: &Delivery) -> i64 {
    let headers = delivery.properties().unwrap().headers.unwrap();
    headers.get("x-stream-offset").and_then(FieldValue::as_i64).unwrap()
}

/// The first message that a consumer gets, which begins there.
async fn first(channel: &Channel, stream: &str, begin: StreamOffset) -> (i64, String) {
    let mut consumer = channel.consume(stream).prefetch(10).stream_offset(begin).await.unwrap();
    let delivery = consumer.next().await.unwrap();
    let found = (offset(&delivery), String::from_utf8_lossy(delivery.body()).into_owned());
    delivery.ack().unwrap();
    consumer.cancel().await.unwrap();
    found
}

pub async fn every_offset(server: &Server) {
    let channel = server.channel().await;
    let stream = server.name("stream");
    channel.declare_queue(&stream).stream().await.unwrap();
    // Each is a chunk of its own, for each is confirmed before the next is published.
    for n in 0..5 {
        publish_each(&channel, &stream, [n.to_string()]).await;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let found = |n: i64| (n, n.to_string());
    for (begin, n) in [
        (StreamOffset::First, 0),
        (StreamOffset::Last, 4),
        (StreamOffset::Offset(0), 0),
        (StreamOffset::Offset(3), 3),
        (StreamOffset::Timestamp(0), 0),
        (StreamOffset::Timestamp(now - 3600), 0),
        (StreamOffset::Ago(Duration::from_secs(3600)), 0),
    ] {
        assert_eq!(first(&channel, &stream, begin).await, found(n), "{begin:?}");
    }
    // What is to come: with the word for it, without a word, and beyond the end.
    let next = channel.consume(&stream).prefetch(10).stream_offset(StreamOffset::Next).await.unwrap();
    let unsaid = channel.consume(&stream).prefetch(10).await.unwrap();
    let ahead = StreamOffset::Timestamp(now + 3600);
    let ahead = channel.consume(&stream).prefetch(10).stream_offset(ahead).await.unwrap();
    publish_each(&channel, &stream, ["5"]).await;
    for mut consumer in [next, unsaid, ahead] {
        let delivery = consumer.next().await.unwrap();
        assert_eq!((offset(&delivery), delivery.body()), (5, &b"5"[..]));
    }
    assert_eq!(first(&channel, &stream, StreamOffset::First).await, found(0), "nothing was taken out");
    channel.delete_queue(&stream).await.unwrap();
}

pub async fn need_a_prefetch(server: &Server) {
    let channel = server.channel().await;
    let stream = server.name("stream");
    channel.declare_queue(&stream).stream().await.unwrap();
    let other = server.channel().await;
    let named = match server.version().await {
        Version::RabbitMq3 => format!("'queue '{stream}' in vhost '/''"),
        Version::RabbitMq4 | Version::Embedded => format!("stream queue '{stream}' in vhost '/'"),
    };
    let text = format!("PRECONDITION_FAILED - consumer prefetch count is not set for {named}");
    closes_connection(other.consume(&stream), 406, &text).await;
    channel.delete_queue(&stream).await.unwrap();
}

/// What is old goes, in whole segments.
pub async fn retention(server: &Server) {
    let channel = server.channel().await;
    let stream = server.name("stream");
    let declare = channel.declare_queue(&stream).stream().max_length_bytes(2000);
    declare.max_segment_size_bytes(1000).max_age(Duration::from_secs(3600)).await.unwrap();
    for n in 0..20 {
        publish_each(&channel, &stream, [format!("{n:0>500}")]).await;
    }
    eventually("the first message is gone", async || {
        let (offset, _) = first(&channel, &stream, StreamOffset::First).await;
        offset > 0
    })
    .await;
    channel.delete_queue(&stream).await.unwrap();
}

/// By the word that a message has for it; those before RabbitMQ 3.13 filter nothing.
pub async fn filters(server: &Server) {
    let channel = server.channel().await;
    let stream = server.name("stream");
    let (by_one, by_any) = match server.version().await {
        Version::RabbitMq3 => {
            channel.declare_queue(&stream).stream().await.unwrap();
            (["de", "fr", "none", "last"].as_slice(), ["de", "fr", "none", "last"].as_slice())
        }
        Version::RabbitMq4 | Version::Embedded => {
            channel.declare_queue(&stream).stream().filter_size_bytes(32).await.unwrap();
            (["fr", "last"].as_slice(), ["fr", "none", "last"].as_slice())
        }
    };
    let publisher = channel.publisher().await.unwrap();
    for (body, value) in [("de", Some("de")), ("fr", Some("fr")), ("none", None), ("last", Some("fr"))] {
        let headers = value.map(|value| FieldTable::new().with("x-stream-filter-value", value));
        let properties = Properties { headers, ..Properties::new() };
        publisher.publish(&stream, body).properties(&properties).await.unwrap(); // a chunk of its own
    }
    let consume =
        || channel.consume(&stream).prefetch(10).stream_offset(StreamOffset::First).stream_filter(["fr"]);
    for (consume, expected) in [(consume(), by_one), (consume().stream_match_unfiltered(), by_any)] {
        let mut consumer = consume.await.unwrap();
        for body in expected {
            let delivery = consumer.next().await.unwrap();
            assert_eq!(delivery.body(), body.as_bytes());
            delivery.ack().unwrap();
        }
        consumer.cancel().await.unwrap();
    }
    channel.delete_queue(&stream).await.unwrap();
}
